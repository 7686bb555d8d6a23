"""Watches a dashboard page in a headless Chromium: how busy its main thread is, and how old what it shows is."""

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, sync_playwright

from benchmarks.figures import percentile
from benchmarks.http_client import begin

CHROMIUM: Final = "/usr/bin/chromium"
WARM_UP: Final = 1.0
_ARGUMENTS: Final = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_COUNTED: Final = (
    "TaskDuration",
    "ScriptDuration",
    "LayoutDuration",
    "RecalcStyleDuration",
    "ThreadTime",
    "ProcessTime",
)
#: A socket that never opens: the page that polls must not be told anything besides.
_NO_SOCKET: Final = """
window.WebSocket = class extends EventTarget {
  static CONNECTING = 0; static OPEN = 1; readyState = 0; send() {} close() {}
};
"""
_POLL: Final = """(region) => {
  let asked = false;
  setInterval(async () => {
    if (asked) return;
    asked = true;
    try { await htmx.ajax("GET", location.href, { target: region, select: `${region} > *`, swap: "innerHTML" }); }
    finally { asked = false; }
  }, 200);
}"""
#: Counts frames and changes of bars, and takes the age of each message once the frame with it is through.
_WATCH: Final = """(inFrame) => {
  const watch = (window.benchmark = { frames: 0, paints: 0, ages: [] });
  const tick = () => { watch.frames++; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
  const seen = new Map(), channel = new MessageChannel();
  let due = false;
  channel.port1.onmessage = () => {
    due = false;
    const now = (performance.timeOrigin + performance.now()) / 1000;
    for (const row of document.querySelectorAll("main [data-job]")) {
      const told = row.querySelector("[data-note]")?.textContent;
      if (told && seen.get(row.dataset.job) !== told) {
        watch.paints++;
        const at = parseFloat(told);
        if (seen.has(row.dataset.job) && at > 1e9) watch.ages.push([now, (now - at) * 1000]);
        seen.set(row.dataset.job, told);
      }
    }
  };
  const soon = () => channel.port2.postMessage(0);
  new MutationObserver(() => {
    if (!due) inFrame ? soon() : requestAnimationFrame(soon);
    due = true;
  }).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true, attributes: true });
}"""


class Watched:
    """One open page, and what its browser counts."""

    def __init__(self, page: Page, tools: CDPSession) -> None:
        self.page = page
        self.tools = tools
        self.messages = self.bytes = 0
        tools.on("Network.webSocketFrameReceived", self._count)
        for domain in ("Performance", "Network"):
            tools.send(f"{domain}.enable")

    def _count(self, event: Any) -> None:
        self.messages += 1
        self.bytes += len(event["response"]["payloadData"].encode())

    def _now(self) -> dict[str, float]:
        found = {one["name"]: one["value"] for one in self.tools.send("Performance.getMetrics")["metrics"]}
        return {"at": time.monotonic(), **{name: found.get(name, 0.0) for name in _COUNTED}}

    def busy(self, seconds: float) -> dict[str, float]:
        """Return the shares of the main thread's time, in percent, and what the socket brought each second."""
        before, messages, size = self._now(), self.messages, self.bytes
        self.page.wait_for_timeout(seconds * 1000)
        after = self._now()
        took = after["at"] - before["at"]
        shares = {name: 100 * (after[name] - before[name]) / took for name in _COUNTED}
        return {**shares, "messages": (self.messages - messages) / took, "bytes": (self.bytes - size) / took}

    def seen(self, seconds: float, *, polls: bool) -> dict[str, Any]:
        """Return frames and changed bars a second, and the age in ms of what was shown, early on and at the end.

        Not while `busy` measures: to count frames makes the browser draw sixty a second.
        """
        self.page.evaluate(_WATCH, not polls)
        self.page.wait_for_timeout(seconds * 1000)
        found = self.page.evaluate("benchmark")
        ages = [age for _, age in found["ages"]]
        third = max(1, len(ages) // 3)
        told = {} if not ages else {
            "p50": percentile(ages, 0.5), "p95": percentile(ages, 0.95),
            "early": statistics.median(ages[:third]), "late": statistics.median(ages[-third:]),
        }  # fmt: skip
        return {"frames": found["frames"] / seconds, "paints": found["paints"] / seconds, **told}


@contextlib.contextmanager
def watched(
    browser: Browser, address: str, height: int, *, polls: str | None = None, slower: int = 1
) -> Iterator[Watched]:
    """Open a page in a context of its own, settled; `polls` names the region that it fetches anew instead."""
    context = browser.new_context(viewport=ViewportSize(width=1360, height=height))
    try:
        if polls is not None:
            context.add_init_script(_NO_SOCKET)
        page = context.new_page()
        one = Watched(page, context.new_cdp_session(page))
        page.goto(address)
        if polls is not None:
            page.evaluate(_POLL, polls)
        else:
            page.locator("[data-live=live]").wait_for()
        one.tools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.wait_for_timeout(WARM_UP * 1000)
        yield one
    finally:
        context.close()


def watch(
    address: str, *, seconds: float, height: int = 860, polls: str | None = None, slower: int = 1, ages: bool = True
) -> dict[str, Any]:
    """Return what a page costs, and how live it is."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            with watched(browser, address, height, polls=polls, slower=slower) as one:
                shown = one.page.locator("main [data-job] [data-bar]").count()
                found: dict[str, Any] = {"bars": shown, **one.busy(seconds)}
                return found | (one.seen(seconds, polls=polls is not None) if ages else {})
        finally:
            browser.close()


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin(None)
    if not Path(CHROMIUM).exists():
        raise SystemExit(f"There is no {CHROMIUM}.")
    print(json.dumps(watch(**order)))


if __name__ == "__main__":
    main()
