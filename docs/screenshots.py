"""Takes the pictures in docs/img from the running demo; needs chromium and the extras `demo` and `dev`."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

IMAGES = Path(__file__).with_name("img")
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}


@contextmanager
def demo() -> Iterator[str]:
    """Serve the demo from memory on a free port; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "jalebi", "demo", "--port", "0", "--database", "sqlite://"],
            cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ, "JALEBI_GRACE": "0"},
        )  # fmt: skip
        try:
            assert server.stdout is not None
            found = re.search(r"(http://\S+)/", server.stdout.readline())
            assert found is not None, "the demo did not start"
            yield found[1]
        finally:
            server.terminate()
            server.wait(40)


def submit(url: str, kind: str, **body: Any) -> str:
    """Submit a job and return its id."""
    content = json.dumps({"kind": kind, **body}).encode()
    request = urllib.request.Request(f"{url}/v1/jobs", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["id"])


def orders(url: str) -> str:
    """Submit what a busy morning brings; return the job that is shown closely."""
    for sweet in ("jalebi", "rasgulla", "barfi"):
        submit(url, "token", args={"sweet": sweet, "seconds": 0.5})
    submit(url, "token", args={"sweet": "kulfi", "seconds": 2, "fail": "always"}, max_attempts=1)
    submit(url, "report", args={"title": "Sales of last year", "pages": 40}, tags=["quarter:4"])
    submit(url, "token", args={"sweet": "peda", "seconds": 40}, tags=["counter:2"])
    submit(url, "token", args={"sweet": "laddu", "seconds": 26})
    submit(url, "mailing", args={"subject": "Fresh {favourite} for you", "per_second": 6}, tags=["campaign:diwali"])
    submit(url, "survey", args={"per_second": 2})
    submit(url, "report", args={"title": "Monthly report"}, delay=3600)
    submit(url, "report", args={"title": "Sales, town by town", "pages": 2000}, tags=["tenant:7"])
    return submit(url, "token", args={"sweet": "gulab jamun", "seconds": 30}, tags=["counter:1", "tenant:7"])


async def shoot(page: Page, url: str, path: str, name: str) -> None:
    """Open a page, wait until it is live, and keep what it looks like."""
    await page.goto(url + path)
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await page.screenshot(path=IMAGES / f"{name}.png")


async def all_pictures(browser: Browser, url: str, job: str) -> None:
    """Take every picture, light and dark."""
    looker = await browser.new_page(viewport=DESKTOP)
    await looker.goto(f"{url}/jobs/{job}")
    await expect(looker.locator("[data-reached]")).to_have_text(re.compile(r"^[2-9]\d %$"), timeout=60_000)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        ending = "" if scheme == "light" else "-dark"
        page = await browser.new_page(viewport=DESKTOP, color_scheme=scheme)
        for path, name in (("/", "dashboard"), ("/jobs", "jobs"), (f"/jobs/{job}", "job"), ("/kinds/token", "form")):
            await shoot(page, url, path, name + ending)
        await page.close()
        page = await browser.new_page(viewport=PHONE, color_scheme=scheme)
        await shoot(page, url, "/jobs", "phone" + ending)
        await page.close()


async def main() -> None:
    """Serve the demo, give it work, and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with demo() as url:
        job = orders(url)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            await all_pictures(browser, url, job)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
