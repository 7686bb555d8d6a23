"""The page of a share link, and the element in a page of another site: live, through cuts, to the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_axe import serious

BAR = "jalebi-progress [role=progressbar]"


def share(kitchen: Kitchen, job: str) -> str:
    with kitchen.api() as client:
        return str(client.post(f"/v1/jobs/{job}/share").json()["url"])


async def test_a_link_is_made_by_a_button_and_its_page_is_live_to_the_end(reader: Reader) -> None:
    job = reader.kitchen.submit("gate", args={"name": "shared"})
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_role("button", name="Share").click()
    link = page.locator("#share-link")
    await expect(link).to_contain_text("/share/")
    await page.goto(await link.inner_text())
    bar = page.get_by_role("progressbar", name="Progress of gate")
    await expect(bar).to_have_attribute("aria-valuenow", "50")
    await expect(page).to_have_title("gate: 50 %")
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    reader.kitchen.open_gate("shared")
    await expect(bar).to_have_attribute("aria-valuenow", "100")
    await expect(page.locator("[data-job]")).to_have_attribute("data-state", "completed")
    await expect(page).to_have_title("gate: completed")
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "finished")
    assert not [url for url in reader.seen.requests if "/ws/live" in url and "/share/" in url]


@asynccontextmanager
async def elsewhere(html: str) -> AsyncIterator[str]:
    """Serve one page from another origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = html.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def test_the_element_lives_in_a_page_of_another_site_through_a_restart(
    chromium: Browser, tmp_path_factory: Any
) -> None:
    kitchen = Kitchen(tmp_path_factory.mktemp("shared"), "--database", "sqlite:///jobs.db")
    context = await chromium.new_context()
    try:
        job = kitchen.submit("gate", args={"name": "far"}, max_attempts=5)
        link = share(kitchen, job)
        html = f"""<!doctype html><script src="{kitchen.url}/static/jalebi-progress.js" defer></script>
            <script>addEventListener("jalebi:finished", (event) => document.title = event.detail.state)</script>
            <jalebi-progress src="{link}" label="my report"></jalebi-progress>"""
        async with elsewhere(html) as url:
            page = (await watch(context, kitchen)).page
            await page.goto(url)
            element = page.locator("jalebi-progress")
            await expect(page.get_by_role("progressbar", name="Progress of my report")).to_have_attribute(
                "aria-valuenow", "50"
            )
            port = kitchen.port
            kitchen.process.close()
            await expect(element).to_have_attribute("data-live", "reconnecting")
            kitchen.start(port)
            kitchen.open_gate("far")
            await expect(element).to_have_attribute("data-state", "completed", timeout=40_000)
            await expect(element).to_have_attribute("data-live", "finished")
            await expect(page).to_have_title("completed")
    finally:
        await context.close()
        kitchen.process.close()


async def test_the_element_polls_where_streams_do_not_come_through(chromium: Browser, kitchen: Kitchen) -> None:
    context = await chromium.new_context()
    page = (await watch(context, kitchen)).page
    await page.route("**/share/*/events*", lambda route: route.abort())
    job = kitchen.submit("gate", args={"name": "polled"})
    await page.goto(share(kitchen, job))
    element = page.locator("jalebi-progress")
    await expect(element).to_have_attribute("data-live", "reconnecting")
    kitchen.open_gate("polled")
    await kitchen.job(job)
    await expect(element).to_have_attribute("data-state", "completed", timeout=40_000)
    await context.close()


async def test_the_element_follows_its_source_and_says_when_there_is_nothing_to_see(
    chromium: Browser, kitchen: Kitchen
) -> None:
    context = await chromium.new_context()
    page = (await watch(context, kitchen)).page
    held = kitchen.submit("gate", args={"name": "other"})
    done = kitchen.submit("nap")
    await kitchen.job(done)
    await page.goto(share(kitchen, held))
    element = page.locator("jalebi-progress")
    await expect(element).to_have_attribute("data-state", "running")
    await element.evaluate("(it, src) => { it.setAttribute('src', src); }", f"{kitchen.url}/v1/jobs/{done}")
    await expect(element).to_have_attribute("data-state", "completed")
    await element.evaluate("(it) => { it.setAttribute('src', '/share/' + 'A'.repeat(52)); }")
    await expect(element).to_have_attribute("data-live", "gone")
    assert await element.evaluate("(it) => it.shadowRoot.textContent") == "no longer to be seen"
    gone = await page.goto(f"{kitchen.url}/share/{'A' * 52}")
    assert gone is not None
    assert gone.status == 403
    await context.close()


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page that may move nothing while it is looked at."""
    context = await chromium.new_context(reduced_motion="reduce")
    yield await context.new_page()
    await context.close()


async def test_axe_finds_nothing_serious_on_the_page_of_a_link(page: Page, kitchen: Kitchen) -> None:
    held = kitchen.submit("gate", args={"name": "axe"})
    await page.goto(share(kitchen, held))
    await expect(page.locator(BAR)).to_have_attribute("aria-valuenow", "50")
    assert await serious(page, "share") == []
