"""A look at the dashboard in Firefox, where it is installed: `make firefox`. It speaks WebDriver BiDi by itself.

Every page is opened in a shop that works: it has to become live, bars have to move, the browser may not complain.
"""

import asyncio
import itertools
import json
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from tests.browser.conftest import Kitchen
from tests.browser.every import every_page
from tests.support import eventually

PATIENCE: Final = 30.0
#: Clicks would move the page on; a look at it needs none.
BARS: Final = "JSON.stringify([...document.querySelectorAll('progress[value]')].map((bar) => bar.value))"
LIVE: Final = "document.querySelector('[data-live]')?.dataset.live ?? ''"
SIDEWAYS: Final = "String(document.documentElement.scrollWidth - document.documentElement.clientWidth)"
DIALOG: Final = """new Promise((done) => {
    document.dispatchEvent(new KeyboardEvent('keydown', {key: '?', bubbles: true}));
    setTimeout(() => done(document.querySelector('dialog[open] h1')?.textContent ?? 'no dialog'), 1000);
})"""


class Firefox:
    """One tab of one browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.context = ""
        self.complaints: list[str] = []

    async def start(self) -> None:
        """Open a session, and hear what the browser complains of."""
        await self.say("session.new", capabilities={})
        await self.say("session.subscribe", events=["log.entryAdded"])
        tree = await self.say("browsingContext.getTree")
        self.context = tree["contexts"][0]["context"]

    async def say(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return what it leads to."""
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(PATIENCE):
            while True:
                message = json.loads(await self._socket.recv())
                if message.get("method") == "log.entryAdded" and message["params"]["level"] in {"error", "warn"}:
                    self.complaints.append(str(message["params"].get("text")))
                if message.get("id") == number:
                    assert message["type"] == "success", message
                    return dict(message["result"])

    async def open(self, address: str) -> None:
        """Go to a page, and wait until it is live."""
        await self.say("browsingContext.navigate", context=self.context, url=address, wait="complete")
        await self.until(LIVE, lambda state: state == "live")

    async def text(self, script: str) -> str:
        """Return what an expression is in the page."""
        found = await self.say(
            "script.evaluate", expression=script, target={"context": self.context}, awaitPromise=True
        )
        return str(found["result"].get("value", ""))

    async def until(self, script: str, wanted: Callable[[str], bool]) -> None:
        """Wait until an expression is what is wanted."""

        async def there() -> bool | None:
            return wanted(await self.text(script)) or None

        await eventually(there)


@asynccontextmanager
async def firefox(program: str, profile: Path) -> AsyncIterator[Firefox]:
    """Start a Firefox without a window; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0", "about:blank",
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            address = None
            while address is None:
                address = re.search(r"ws://\S+", (await process.stderr.readline()).decode())
        async with connect(f"{address[0]}/session", max_size=None) as socket:
            browser = Firefox(socket)
            await browser.start()
            yield browser
    finally:
        process.terminate()
        await process.wait()


async def look(browser: Firefox, kitchen: Kitchen) -> list[str]:
    """Open every page; return what is wrong."""
    wrong = []
    for path in await every_page(kitchen):
        await browser.open(kitchen.url + path)
        if int(await browser.text(SIDEWAYS)) > 0:
            wrong.append(f"{path} scrolls sideways")
        print(f"  {path}")
    await browser.open(f"{kitchen.url}/jobs?state=running")
    before = await browser.text(BARS)
    await browser.until(BARS, lambda bars: bars != before)
    if (said := await browser.text(DIALOG)) != "Help":
        wrong.append(f"the key for help: {said}")
    return wrong + browser.complaints


async def main() -> int:
    """Look at every page in Firefox; return the exit code."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        print("Firefox is missing; install it with: apt-get install firefox-esr", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kitchen = Kitchen(Path(folder), "--database", "sqlite://")
        try:
            async with firefox(program, Path(folder)) as browser:
                wrong = await look(browser, kitchen)
        finally:
            kitchen.process.close()
    print("\n".join(["In Firefox something is wrong:", *wrong]) if wrong else "Every page is live in Firefox.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
