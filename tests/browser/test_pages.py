"""Every page in a real browser: phones, dark mode, no scripts, a prefix, a token, and no complaint from the browser."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request, Route, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.browser import shop as kinds
from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.every import every_page
from tests.browser.test_jobs_list import moved, row
from tests.support import serving


async def test_no_page_complains_and_each_says_once_how_live_it_is(reader: Reader) -> None:
    await reader.page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`))"
    )
    for path in await every_page(reader.kitchen):
        page = await reader.open(path)
        await expect(page.locator("[data-live]")).to_have_count(1)
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
        await expect(page.get_by_role("main")).to_have_count(1)
        await expect(page.get_by_role("navigation", name="Pages")).to_have_count(1)
    assert reader.seen.complaints == []


async def sideways(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


#: What a finger has to hit; a link in a sentence is as high as its line.
TARGETS = ", ".join(
    f"{target}:visible"
    for target in ("button", ".button", "nav a", "input", "select", "summary", "label:has(input[type=radio])")
)
SMALL = """all => all.filter((one) => !["checkbox", "radio"].includes(one.type))
    .filter((one) => one.getBoundingClientRect().height < 43.9).map((one) => one.outerHTML.slice(0, 120))"""


async def test_on_a_phone_nothing_scrolls_sideways_and_every_control_is_big_enough(reader: Reader) -> None:
    for path in await every_page(reader.kitchen):
        await reader.page.set_viewport_size({"width": 390, "height": 844})
        page = await reader.open(path)
        assert await sideways(page) <= 0, path
        assert await page.locator(TARGETS).evaluate_all(SMALL) == [], path
        await page.set_viewport_size({"width": 320, "height": 844})
        assert await sideways(page) <= 0, path


async def background(page: Page) -> tuple[int, ...]:
    colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return tuple(int(part) for part in colour[4:-1].split(","))


async def test_the_look_follows_the_system_until_the_reader_chooses_one(reader: Reader) -> None:
    await reader.page.emulate_media(color_scheme="dark")
    page = await reader.open("/jobs")
    assert max(await background(page)) < 60
    await page.locator("#theme").click()
    assert min(await background(page)) > 200
    await page.reload()
    assert min(await background(page)) > 200
    await page.locator("#theme").click()
    assert max(await background(page)) < 60


async def test_without_scripts_pages_render_and_forms_post(chromium: Browser, kitchen: Kitchen) -> None:
    context = await chromium.new_context(java_script_enabled=False)
    try:
        page = (await watch(context, kitchen)).page
        await page.goto(f"{kitchen.url}/kinds/stir")
        await page.get_by_label("title", exact=True).fill("no scripts")
        await page.get_by_role("button", name="Submit").click()
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "stale")
        await expect(page.get_by_text("Not live")).to_be_visible()
        job = page.url.rpartition("/")[2]
        await expect(row(page, job)).to_have_attribute("data-state", "running")
        await page.get_by_role("button", name="Cancel", exact=True).click()
        await kitchen.job(job)
        await page.goto(f"{kitchen.url}/jobs")
        await row(page, job).get_by_role("button", name="Retry").click()
        await expect(page).to_have_url(f"{kitchen.url}/jobs")
        await expect(row(page, job)).to_have_attribute("data-state", "running")
        await expect(page.get_by_text("Started over.")).to_be_visible()
        await page.goto(f"{kitchen.url}/jobs/{job}")
        await page.get_by_role("button", name="Cancel", exact=True).click()
        await kitchen.job(job)
        await page.goto(f"{kitchen.url}/jobs/{job}/delete")
        await page.get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("The job is deleted.")).to_be_visible()
        await expect(row(page, job)).to_have_count(0)
    finally:
        await context.close()


async def test_without_scripts_every_page_renders_and_has_no_button_that_does_nothing(
    chromium: Browser, kitchen: Kitchen
) -> None:
    context = await chromium.new_context(java_script_enabled=False)
    try:
        page = (await watch(context, kitchen)).page
        for path in await every_page(kitchen):
            answer = await page.goto(kitchen.url + path)
            assert answer is not None
            assert answer.status == 200, path
            await expect(page.get_by_role("heading", level=1)).to_be_visible()
            idle = page.locator("button:not(form button):not([form]):visible")
            assert await idle.all_text_contents() == [], path
        await page.goto(f"{kitchen.url}/jobs")
        await page.get_by_role("link", name="Help").click()
        await expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    finally:
        await context.close()


async def test_a_page_is_live_however_late_its_scripts_come(reader: Reader) -> None:
    others = asyncio.Event()

    async def hold(route: Route) -> None:
        await others.wait()
        await route.continue_()

    def on_finished(request: Request) -> None:
        if "/live.js" in request.url:
            others.set()

    await reader.page.route("**/hx-ws-*.js*", hold)
    reader.page.on("requestfinished", on_finished)
    await reader.open("/jobs")


async def test_a_page_that_does_not_exist_says_so_to_people(reader: Reader) -> None:
    answer = await reader.page.goto(f"{reader.kitchen.url}/jobs/none")
    assert answer is not None
    assert answer.status == 404
    await expect(reader.page.get_by_role("link", name="All jobs")).to_be_visible()
    reader.seen.complaints.clear()  # the browser reports the 404


@pytest.fixture
async def mounted(chromium: Browser) -> AsyncIterator[tuple[Page, str, list[str]]]:
    """A page in front of the shop, mounted in another application under a prefix."""
    shop = kinds.shop
    shop.configure(database_url="sqlite://", grace=0)
    app = Starlette(routes=[Mount("/tools/jobs", shop)], lifespan=shop.lifespan)
    async with serving(app, shop, "/tools/jobs") as live:
        context = await chromium.new_context()
        page, asked = await context.new_page(), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda opened: asked.append(opened.url.replace("ws://", "http://")))
        yield page, live.url, asked
        await context.close()


async def test_under_a_prefix_everything_stays_under_it(mounted: tuple[Page, str, list[str]]) -> None:
    page, url, asked = mounted
    await page.goto(f"{url}/")
    for name in ("Jobs", "Kinds", "Queues", "Workers", "Overview", "Kinds"):
        await page.get_by_role("navigation").get_by_role("link", name=name).click()
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await page.get_by_role("link", name="stir").click()
    await page.get_by_role("button", name="Submit").click()
    job = page.url.rpartition("/")[2]
    await moved(row(page, job).locator("progress"), 3)
    await page.get_by_role("button", name="Cancel").click()
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete").click()
    await expect(page).to_have_url(f"{url}/jobs")
    assert [one for one in asked if not one.startswith(f"{url}/")] == []


async def test_with_a_token_the_dashboard_asks_for_it_once(chromium: Browser, tmp_path: Path) -> None:
    own = Kitchen(tmp_path, "--database", "sqlite://", env={"JALEBI_TOKEN": "sesame"})
    context = await chromium.new_context()
    try:
        reader = await watch(context, own)
        page = reader.page
        await page.goto(f"{own.url}/kinds")
        await page.get_by_label("Token").fill("pepper")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_text("That is not the token.")).to_be_visible()
        await page.get_by_label("Token").fill("sesame")
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{own.url}/kinds")
        await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
        [cookie] = await context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert "sesame" not in cookie["value"]
        assert [one for one in reader.seen.complaints if "401" not in one] == []
    finally:
        await context.close()
        own.process.close()


async def test_trouble_with_the_storage_is_told_while_it_lasts(
    mounted: tuple[Page, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, url, _ = mounted
    store = (await kinds.shop.open()).store
    await page.goto(f"{url}/kinds/nap")
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await page.get_by_label("seconds").fill("0.125")
    alert = page.get_by_role("alert").filter(has_text="The disk is full: nothing new is accepted")
    await expect(alert).to_have_count(0)
    monkeypatch.setattr(type(store), "trouble", "the disk is full")
    await expect(alert).to_be_visible()
    await page.reload()
    await expect(alert).to_be_visible()
    await page.get_by_label("seconds").fill("0.125")
    monkeypatch.setattr(type(store), "trouble", None)
    await expect(alert).to_have_count(0)
    await expect(page.get_by_label("seconds")).to_have_value("0.125")
