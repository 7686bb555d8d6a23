"""A real server and a real Chromium, one of each for the tests of a module."""

import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from tests.support import ServerProcess, eventually

SHOP = Path(__file__).with_name("shop.py")
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

expect.set_options(timeout=15_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    if not Path(CHROMIUM).exists():
        missing = f"{CHROMIUM} is missing; install it with: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


class Kitchen:
    """A served shop, and the API for what a test needs done behind the page's back."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None, shop: Path = SHOP) -> None:
        shutil.copy(shop, folder / "shop.py")
        self.folder = folder
        self._arguments = ("serve", "shop.py", *arguments)
        self._env = {"JALEBI_GRACE": "0", "JALEBI_CONCURRENCY": "50", **(env or {})}
        self.start(0)

    def start(self, port: int) -> None:
        """Start the server on a port."""
        self.process = ServerProcess(*self._arguments, "--port", str(port), cwd=self.folder, env=self._env)
        self.url = self.process.ready()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def api(self) -> httpx2.Client:
        """Return a client of the API."""
        return httpx2.Client(base_url=self.url, timeout=20)

    def submit(self, kind: str, **body: Any) -> str:
        """Submit a job and return its id."""
        with self.api() as client:
            answer = client.post("/v1/jobs", json={"kind": kind, **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job once it is over."""

        async def over() -> dict[str, Any] | None:
            with self.api() as client:
                found = client.get(f"/v1/jobs/{job_id}").json()
            return found if found["state"] in {"completed", "failed", "cancelled"} else None

        return await eventually(over)

    def open_gate(self, name: str) -> None:
        """Let the jobs that wait at a gate go through."""
        (self.folder / name).touch()


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path_factory.mktemp("kitchen"), "--database", "sqlite://")
    yield made
    made.process.close()


@dataclass
class Seen:
    """What a browser did and complained of."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@dataclass
class Reader:
    """One page of one browser, looking at one server."""

    kitchen: Kitchen
    page: Page
    seen: Seen

    async def open(self, path: str, *, live: bool = True) -> Page:
        """Go to a page, and wait until it is live."""
        await self.page.goto(self.kitchen.url + path)
        if live:
            await expect(self.page.locator("[data-live]")).to_have_attribute("data-live", "live")
        return self.page


async def watch(context: BrowserContext, kitchen: Kitchen) -> Reader:
    """Return a page whose requests and complaints are kept."""
    page, seen = await context.new_page(), Seen()

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            seen.complaints.append(message.text)

    def on_request(request: Request) -> None:
        seen.requests.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", on_request)
    return Reader(kitchen, page, seen)


@pytest.fixture
async def reader(chromium: Browser, kitchen: Kitchen) -> AsyncIterator[Reader]:
    """A page at desktop width; it may not complain of anything, a violated CSP least of all."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 900})
    made = await watch(context, kitchen)
    yield made
    complaints = list(made.seen.complaints)
    await context.close()
    assert complaints == []


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
