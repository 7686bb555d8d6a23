"""Times in a real browser: local, UTC, or how long ago; the whole of each in its title; remembered."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Kitchen, Reader, watch

MOMENT = "2026-03-05T14:03:07Z"


@pytest.fixture
async def page(chromium: Browser, kitchen: Kitchen) -> AsyncIterator[Page]:
    """A page in a zone five and a half hours ahead of UTC, with a time of our own on it."""
    context = await chromium.new_context(timezone_id="Asia/Kolkata", locale="en-GB")
    reader = await watch(context, kitchen)
    yield await reader.open("/jobs")
    assert reader.seen.complaints == []
    await context.close()


async def put(page: Page, moment: str, attributes: str = "") -> None:
    """Let a time come by a swap, as one from the server does."""
    script = """([moment, name]) => {
        const time = document.createElement("time");
        time.dateTime = time.title = moment;
        time.id = "probe";
        time.textContent = "as the server wrote it";
        if (name) time.setAttribute(name, "");
        document.querySelector("#probe")?.remove();
        document.querySelector("main").append(time);
        dispatchEvent(new CustomEvent("htmx:after:swap"));
    }"""
    await page.evaluate(script, [moment, attributes])


async def test_times_are_local_then_utc_then_how_long_ago_and_the_title_has_the_whole(page: Page) -> None:
    probe, button = page.locator("#probe"), page.get_by_role("button", name="Times")
    await put(page, MOMENT)
    await expect(probe).to_have_text("5 Mar, 19:33")
    await expect(probe).to_have_attribute("title", MOMENT)
    await button.click()
    await expect(button).to_have_accessible_name("Times: UTC")
    await expect(probe).to_have_text("5 Mar, 14:03 UTC")
    await button.click()
    await expect(probe).to_have_text(re.compile(r"^\d+ ?d(ays)? ago$"))
    await expect(probe).to_have_attribute("title", MOMENT)
    await button.click()
    await expect(probe).to_have_text("5 Mar, 19:33")


async def test_the_choice_is_remembered_and_holds_for_what_comes_later(page: Page) -> None:
    await page.get_by_role("button", name="Times").click()
    await page.reload()
    await expect(page.get_by_role("button", name="Times")).to_have_accessible_name("Times: UTC")
    await put(page, MOMENT, "data-exact")
    await expect(page.locator("#probe")).to_have_text("14:03:07.0 UTC")


async def test_how_long_ago_is_said_in_steps_and_in_both_directions(page: Page) -> None:
    await page.get_by_role("button", name="Times").click()
    await page.get_by_role("button", name="Times").click()
    now = datetime.now(UTC)
    for seconds, said in ((2, "now"), (125, "2 min ago"), (-7300, "in 2 hrs?"), (3 * 86400 + 60, "3 days? ago|3d ago")):
        await put(page, (now - timedelta(seconds=seconds)).isoformat())
        await expect(page.locator("#probe")).to_have_text(re.compile(f"^({said})$"))


async def test_what_goes_on_is_counted_only_while_the_page_is_live(page: Page) -> None:
    await put(page, (datetime.now(UTC) - timedelta(seconds=3700)).isoformat(), "data-since")
    probe = page.locator("#probe")
    await expect(probe).to_have_text(re.compile(r"^for 1:01:[45]\d$"))
    await page.locator("[data-live]").evaluate("chip => { chip.dataset.live = 'reconnecting' }")
    await put(page, (datetime.now(UTC) - timedelta(seconds=60)).isoformat(), "data-since")
    await expect(probe).to_have_text("as the server wrote it")


async def test_without_scripts_times_are_in_utc_and_say_so(chromium: Browser, kitchen: Kitchen) -> None:
    kitchen.submit("nap", delay=900)
    context = await chromium.new_context(java_script_enabled=False, timezone_id="Asia/Kolkata")
    page = (await watch(context, kitchen)).page
    await page.goto(f"{kitchen.url}/jobs")
    await expect(page.locator(".job time").first).to_have_text(re.compile(r"^\d+ \w{3} \d\d:\d\d:\d\d UTC$"))
    await expect(page.locator(".job time").first).to_have_attribute("title", re.compile(r"^\d{4}-.*Z$"))
    await expect(page.get_by_role("button", name="Times")).to_have_count(0)
    await context.close()


async def test_a_running_job_says_for_how_long_and_a_finished_one_when_it_ended(reader: Reader) -> None:
    job = reader.kitchen.submit("gate", args={"name": "since"})
    page = await reader.open(f"/jobs/{job}")
    await expect(page.locator("#facts")).to_contain_text(re.compile(r"running for \d\d:\d\d"))
    reader.kitchen.open_gate("since")
    await expect(page.locator("#facts")).not_to_contain_text("running")
