"""Takes the pictures in docs/images from the running demo; needs chromium and the extras `demo` and `dev`."""

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
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

IMAGES = Path(__file__).with_name("images")
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
#: All pictures together; they come along with every clone.
MOST_BYTES = 2_500_000


@contextmanager
def demo() -> Iterator[str]:
    """Serve the demo from memory on a free port; yields its address."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
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
    for number, sweet in enumerate(("jalebi", "rasgulla", "barfi", "sandesh", "kheer", "modak") * 4):
        submit(url, "token", args={"sweet": sweet, "seconds": 0.2 + number / 3}, tags=[f"counter:{number % 3}"])
    for sweet in ("kulfi", "kulfi", "halva", "kulfi"):
        submit(url, "token", args={"sweet": sweet, "seconds": 2, "fail": "always"}, max_attempts=1)
    submit(url, "report", args={"title": "Sales of last year", "pages": 40}, tags=["quarter:4"])
    submit(url, "token", args={"sweet": "peda", "seconds": 70}, tags=["counter:2"])
    submit(url, "token", args={"sweet": "laddu", "seconds": 50, "fail": "once"})
    submit(url, "mailing", args={"subject": "Fresh {favourite} for you", "per_second": 6}, tags=["campaign:diwali"])
    submit(url, "survey", args={"per_second": 2})
    submit(url, "report", args={"title": "Monthly report"}, delay=3600)
    submit(url, "report", args={"title": "Sales, town by town", "pages": 2000}, tags=["tenant:7"])
    return submit(url, "token", args={"sweet": "gulab jamun", "seconds": 60}, tags=["counter:1", "tenant:7"])


def keep(content: bytes, name: str) -> None:
    """Write a picture with a palette, which is a third of its size and looks the same."""
    picture = Image.open(BytesIO(content)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)


async def shoot(page: Page, address: str, name: str) -> None:
    """Open a page, wait until it is live and all there, and keep what it looks like."""
    answer = await page.goto(address)
    assert answer is not None
    assert answer.ok, address
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await page.evaluate("document.fonts.ready")
    keep(await page.screenshot(), name)


async def first_link(page: Page, address: str, start: str) -> str | None:
    """Return where the first link of a page leads that starts with a path, if there is one."""
    await page.goto(address)
    found: str | None = await page.evaluate(
        "start => document.querySelector(`main a[href^='${start}']`)?.getAttribute('href') ?? null", start
    )
    return found


async def all_pictures(browser: Browser, url: str, job: str) -> None:
    """Take every picture; those that the README shows in light and dark."""
    looker = await browser.new_page(viewport=DESKTOP)
    await looker.goto(f"{url}/jobs/{job}")
    await expect(looker.locator("[data-reached]").first).to_have_text(re.compile(r"^[2-9]\d %$"), timeout=60_000)
    both = [("/", "dashboard"), ("/jobs", "jobs"), (f"/jobs/{job}", "job"), ("/kinds/token", "form")]
    once = [(f"/{name}", name) for name in ("kinds", "queues", "workers", "schedules", "errors", "system", "help")]
    for shape, name in (("/queues/", "queue"), ("/errors/", "error")):
        if link := await first_link(looker, f"{url}{shape.rstrip('/')}", shape):
            once.append((link, name))
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        ending = "" if scheme == "light" else "-dark"
        page = await browser.new_page(viewport=DESKTOP, color_scheme=scheme)
        for path, name in both if scheme == "dark" else both + once:
            await shoot(page, url + path, name + ending)
        await page.close()
        page = await browser.new_page(viewport=PHONE, color_scheme=scheme)
        for path, name in (("/jobs", "phone"), (f"/jobs/{job}", "phone-job")):
            await shoot(page, url + path, name + ending)
        await page.close()


async def main() -> None:
    """Serve the demo, give it work, take the pictures, and say how big they are."""
    IMAGES.mkdir(exist_ok=True)
    with demo() as url:
        job = orders(url)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            await all_pictures(browser, url, job)
            await browser.close()
    size = sum(path.stat().st_size for path in IMAGES.glob("*.png"))
    print(f"{len(list(IMAGES.glob('*.png')))} pictures in {IMAGES}, {size / 1e6:.1f} MB")
    assert size <= MOST_BYTES, "too big to come along with every clone"


if __name__ == "__main__":
    asyncio.run(main())
