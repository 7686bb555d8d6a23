"""The page's connection: paused, blocked, hidden, a session that is over; each is said, and the truth comes back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, WebSocketRoute, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_jobs_list import moved, row

PATIENCE = 40_000


@pytest.fixture
async def rough(chromium: Browser, kitchen: Kitchen) -> AsyncIterator[Reader]:
    """A page that may complain of what is in its way."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 900})
    yield await watch(context, kitchen)
    await context.close()


async def test_a_paused_page_stays_as_it_is_and_has_the_truth_afterwards(reader: Reader) -> None:
    job = reader.kitchen.submit("gate", args={"name": "paused"}, tags=["paused"])
    page = await reader.open("/jobs?tag=paused")
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "50")
    await page.get_by_role("button", name="Pause live").click()
    chip = page.locator("[data-live]")
    await expect(chip).to_have_text("Paused")
    reader.kitchen.open_gate("paused")
    await reader.kitchen.job(job)
    other = reader.kitchen.submit("nap", tags=["paused"])
    await reader.kitchen.job(other)
    # Nothing can come: the server knows of no page any more.
    await expect(row(page, job)).to_have_attribute("data-state", "running")
    await expect(page.locator("#pill")).to_be_hidden()
    await expect(page.locator("#banner")).to_be_hidden()
    await page.get_by_role("button", name="Pause live").click()
    await expect(chip).to_have_attribute("data-live", "live")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    await expect(page.locator("#pill")).to_have_text("1 new job — show")


async def test_where_websockets_are_blocked_the_page_is_refreshed_and_says_so(rough: Reader) -> None:
    page = rough.page

    async def refuse(route: WebSocketRoute) -> None:
        await route.close(code=1011)

    await page.route_web_socket("**/ws/live*", refuse)
    job = rough.kitchen.submit("gate", args={"name": "blocked"}, tags=["blocked"])
    await rough.open("/jobs?tag=blocked", live=False)
    chip = page.locator("[data-live]")
    await page.get_by_label("Search").fill("half a wo")
    await expect(chip).to_have_text("Refreshing every 10 s", timeout=PATIENCE)
    await expect(chip).to_have_attribute("data-live", "live")
    rough.kitchen.open_gate("blocked")
    await expect(row(page, job)).to_have_attribute("data-state", "completed", timeout=PATIENCE)
    await expect(page.get_by_label("Search")).to_have_value("half a wo")
    await expect(page.get_by_label("Search")).to_be_focused()
    await page.unroute_all()


async def test_a_hidden_tab_holds_no_socket_and_catches_up_when_it_is_seen_again(rough: Reader) -> None:
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        const state = hidden ? "hidden" : "visible";
        Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    job = rough.kitchen.submit("gate", args={"name": "hidden"}, tags=["hidden"])
    page = await rough.open("/jobs?tag=hidden")
    await page.evaluate(hide, arg=True)
    ready = "document.querySelector('#live')._htmx.ws.connection.socket?.readyState ?? 3"
    while await page.evaluate(ready) < 2:
        pass
    rough.kitchen.open_gate("hidden")
    await rough.kitchen.job(job)
    await expect(row(page, job)).to_have_attribute("data-state", "running")
    await page.evaluate(hide, arg=False)
    await expect(row(page, job)).to_have_attribute("data-state", "completed", timeout=PATIENCE)
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")


async def test_a_session_that_is_over_leads_to_the_login_and_back(chromium: Browser, tmp_path: Path) -> None:
    own = Kitchen(tmp_path, "--database", "sqlite://", env={"JALEBI_TOKEN": "sesame"})
    context = await chromium.new_context()
    try:
        page = (await watch(context, own)).page
        await page.goto(f"{own.url}/jobs?tag=x")
        await page.get_by_label("Token").fill("sesame")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
        await context.clear_cookies()
        await page.evaluate("document.querySelector('#live')._htmx.ws.connection.socket.close()")
        await expect(page.get_by_label("Token")).to_be_visible(timeout=PATIENCE)
        await page.get_by_label("Token").fill("sesame")
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{own.url}/jobs?tag=x")
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    finally:
        await context.close()
        own.process.close()


async def test_bars_go_on_after_a_pause(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", args={"turns": 4000}, tags=["again"])
    page = await reader.open("/jobs?tag=again")
    for _ in range(2):
        await page.get_by_role("button", name="Pause live").click()
    await moved(row(page, job).locator("progress"), 2)
