"""What a page looks and sounds like: the spiral, what is said, small screens, forced colours, print, jumps."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ViewportSize, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_jobs_list import row
from tests.support import eventually

BUSY = Path(__file__).with_name("busy.py")


async def test_the_spiral_fills_as_the_running_bars_advance_and_is_whole_where_none_runs(reader: Reader) -> None:
    page = await reader.open("/jobs?tag=spiral")
    spiral = page.locator("#spiral")
    await expect(spiral).not_to_have_attribute("stroke-dasharray", re.compile("."))
    job = reader.kitchen.submit("gate", args={"name": "spiral"}, tags=["spiral"])
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "50")
    await expect(spiral).to_have_attribute("stroke-dasharray", "50 200")
    reader.kitchen.open_gate("spiral")
    await expect(spiral).to_have_attribute("stroke-dasharray", "100 200")


async def test_what_the_reader_did_is_shown_and_said(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", delay=900, tags=["said"])
    # All that the region has said: on a busy machine, that the page is live again may come after it.
    await reader.page.add_init_script("""document.addEventListener("DOMContentLoaded", () => {
        const region = document.querySelector("#say");
        window.said = [];
        new MutationObserver(() => said.push(region.textContent)).observe(region, {childList: true});
    })""")
    page = await reader.open("/jobs?tag=said")
    await row(page, job).get_by_role("button", name="Cancel").click()
    await expect(page.locator("#done")).to_have_text("Cancelled.")

    async def said() -> bool | None:
        return await page.evaluate("said.includes('Cancelled.')") or None

    await eventually(said)
    await page.reload()
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await expect(page.locator("#done")).to_have_count(0)


async def test_a_job_that_fails_is_said_and_a_bar_that_moves_is_not(reader: Reader) -> None:
    reader.kitchen.submit("stir", args={"turns": 4000}, tags=["loud"])
    job = reader.kitchen.submit("spill", delay=1, tags=["loud"])
    page = await reader.open("/jobs?tag=loud")
    await expect(row(page, job)).to_have_attribute("data-state", "failed")
    await expect(page.locator("#say")).to_have_text(re.compile("A job on this page has failed"))
    loud = page.locator("[aria-live=polite]:visible, [aria-live=assertive]:visible, [role=status]:visible").filter(
        has=page.locator("progress")
    )
    await expect(loud).to_have_count(0)


async def test_what_is_said_comes_one_at_a_time_and_own_news_at_once(reader: Reader) -> None:
    await reader.page.clock.install()
    page = await reader.open("/kinds")
    said = await page.evaluate("""async () => {
        const heard = [], region = document.querySelector("#say");
        new MutationObserver(() => heard.push(region.textContent)).observe(region, {childList: true});
        const say = (text, own) => document.dispatchEvent(new CustomEvent("jalebi:say", {detail: {text, own}}));
        say("own one", true);
        await null;
        for (let number = 0; number < 50; number++) say(`other ${number}`);
        say("own two", true);
        await null;
        return heard;
    }""")
    assert said == ["own one", "own two"]
    await page.clock.fast_forward(6000)
    await expect(page.locator("#say")).to_have_text("other 49")


async def test_on_a_phone_the_page_one_is_on_is_in_sight_in_the_row_of_pages(reader: Reader) -> None:
    await reader.page.set_viewport_size({"width": 390, "height": 844})
    page = await reader.open("/workers")
    await expect(page.get_by_role("navigation").get_by_role("link", name="Workers")).to_be_in_viewport(ratio=1)


async def test_every_choice_can_be_made_on_the_help_page(reader: Reader) -> None:
    page = await reader.open("/help")
    await page.get_by_role("group", name="Look").get_by_label("Dark").check()
    await expect(page.locator("html")).to_have_attribute("data-look", "dark")
    await page.get_by_role("group", name="Times").get_by_label("UTC").check()
    page = await reader.open("/jobs")
    await expect(page.locator("html")).to_have_attribute("data-look", "dark")
    await expect(page.get_by_role("button", name="Times")).to_have_accessible_name("Times: UTC")
    await page.locator("#theme").click()
    await expect(page.locator("html")).not_to_have_attribute("data-look", "dark")


async def test_with_forced_colours_a_bar_and_a_badge_have_an_edge(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", args={"turns": 4000}, tags=["forced"])
    await reader.page.emulate_media(forced_colors="active")
    page = await reader.open("/jobs?tag=forced")
    for part in ("progress", ".badge"):
        await expect(row(page, job).locator(part)).to_have_css("border-top-style", "solid")
    here = page.get_by_role("navigation").get_by_role("link", name="Jobs")
    await expect(here).to_have_css("outline-style", "solid")


async def test_with_reduced_motion_nothing_moves_by_itself(reader: Reader) -> None:
    reader.kitchen.submit("nap", args={"seconds": 60}, tags=["still"])
    await reader.page.emulate_media(reduced_motion="reduce")
    page = await reader.open("/jobs?tag=still")
    await expect(page.locator(".job")).to_have_count(1)
    assert await page.evaluate("document.getAnimations().length") == 0


async def test_on_paper_there_is_what_is_read_and_no_button(reader: Reader) -> None:
    job = reader.kitchen.submit("spill", tags=["paper"])
    await reader.kitchen.job(job)
    await reader.page.emulate_media(media="print", color_scheme="dark")
    page = await reader.open(f"/jobs/{job}")
    await expect(page.get_by_role("button")).to_have_count(0)
    await expect(page.get_by_role("navigation")).to_have_count(0)
    await expect(page.locator("#outcome")).to_contain_text("it <b>spilled</b>")
    await expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    """A shop in which 24 bars move, and change what they say."""
    made = Kitchen(tmp_path_factory.mktemp("busy"), "--database", "sqlite://", shop=BUSY)
    for number in range(24):
        # The overview shows the eight that run longest.
        made.submit("simmer" if number < 8 else "fry", args={"seed": number})
    yield made
    made.process.close()


SHIFTS = """async () => {
    const shifts = [];
    new PerformanceObserver((list) => shifts.push(...list.getEntries().map((one) => [one.value, one.startTime,
        one.sources.map((part) => part.node?.outerHTML?.slice(0, 120) ?? String(part.node?.data))])))
        .observe({type: "layout-shift", buffered: false});
    await new Promise((done) => setTimeout(done, 8000));
    return shifts;
}"""


async def shifts(browser: Browser, busy: Kitchen, path: str, size: ViewportSize) -> list[Any]:
    """Return by how much a page was pushed about in eight seconds of live traffic, and what of it."""
    context = await browser.new_context(viewport=size)
    reader = await watch(context, busy)
    page = await reader.open(path)
    await expect(page.locator("progress[value]").nth(3)).to_be_attached()
    found: list[Any] = await page.evaluate(SHIFTS)
    await context.close()
    assert reader.seen.complaints == []
    return [round(sum(value for value, *_ in found), 5), path, size["width"], *found]


async def test_nothing_jumps_while_24_bars_move(chromium: Browser, busy: Kitchen) -> None:
    sizes: list[ViewportSize] = [{"width": 1360, "height": 900}, {"width": 390, "height": 844}]
    looked = [shifts(chromium, busy, path, size) for path in ("/jobs", "/") for size in sizes]
    found = await asyncio.gather(*looked)
    assert [one for one in found if one[0] >= 0.001] == []
