"""The log of a job in a real browser: a window of a long log, filters, gaps, lines that are not safe."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import Kitchen, Reader, watch
from tests.browser.test_jobs_list import row
from tests.support import eventually

LINES = Path(__file__).with_name("lines.py")
MOST = 2000


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path_factory.mktemp("lines"), "--database", "sqlite://", shop=LINES)
    yield made
    made.process.close()


@pytest.fixture(scope="module")
async def long(kitchen: Kitchen) -> str:
    """A job with ten thousand lines."""
    job = kitchen.submit("talk", args={"lines": 10_000})
    await kitchen.job(job)
    return job


@pytest.fixture
async def scriptless(chromium: Browser, kitchen: Kitchen) -> AsyncIterator[Reader]:
    """A page that runs no scripts."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=False)
    yield await watch(context, kitchen)
    await context.close()


def lines(page: Page) -> Locator:
    return page.locator("#log [data-line]")


async def numbers(page: Page) -> list[int]:
    """Return the numbers of the lines in the page."""
    return [int(one) for one in await lines(page).evaluate_all("all => all.map(one => one.dataset.line)")]


async def scroll(page: Page, top: int) -> None:
    await page.locator("#log").evaluate("(log, top) => { log.scrollTop = top }", top)


async def written(kitchen: Kitchen, job: str, count: int) -> None:
    """Wait until a job has so many lines."""

    async def there() -> bool | None:
        with kitchen.api() as client:
            return True if client.get(f"/v1/jobs/{job}/logs", params={"after": count - 1}).text else None

    await eventually(there)


async def hide(page: Page, hidden: bool) -> None:
    """Let the page believe that its tab is hidden, or seen again."""
    script = """hidden => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      const state = () => hidden ? "hidden" : "visible";
      Object.defineProperty(document, "visibilityState", { configurable: true, get: state });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await page.evaluate(script, hidden)


async def test_of_ten_thousand_lines_the_page_holds_few_and_fetches_the_others(reader: Reader, long: str) -> None:
    page = await reader.open(f"/jobs/{long}")
    await expect(lines(page)).to_have_count(500)
    await page.locator("#log").scroll_into_view_if_needed()
    await expect(lines(page).last).to_be_in_viewport()
    counts: list[int] = []
    while (first := (await numbers(page))[0]) > 1:
        await scroll(page, 0)
        await expect(lines(page).first).not_to_have_attribute("data-line", str(first))
        found = await numbers(page)
        assert found == list(range(found[0], found[0] + len(found)))
        counts.append(len(found))
    assert max(counts) == MOST
    await expect(lines(page).first).to_contain_text("stirring 1 of syrup")
    await expect(page.locator("#earlier")).to_be_hidden()
    ranges = [parse_qs(urlsplit(one).query) for one in reader.seen.requests if "/log?" in one]
    assert len(ranges) == 19
    assert [one["before"] for one in ranges[:2]] == [["9501"], ["9001"]]
    await scroll(page, 10**7)
    await expect(lines(page).last).to_have_attribute("data-line", "2500")
    assert len(await numbers(page)) == MOST
    await page.get_by_role("button", name="Follow the end").click()
    await expect(lines(page).last).to_have_attribute("data-line", "10000")
    await expect(lines(page).last).to_be_in_viewport()
    await expect(page.get_by_role("button", name="Follow the end")).to_be_hidden()


async def test_earlier_lines_come_above_without_moving_what_is_read(reader: Reader, long: str) -> None:
    page = await reader.open(f"/jobs/{long}")
    await page.locator("#log").scroll_into_view_if_needed()
    await scroll(page, 250)
    seen = page.locator('[data-line="9520"]')
    await expect(lines(page).first).to_have_attribute("data-line", "9001")
    await expect(seen).to_be_in_viewport()


async def test_the_start_is_one_click_away(reader: Reader, long: str) -> None:
    page = await reader.open(f"/jobs/{long}")
    await page.locator("#log").scroll_into_view_if_needed()
    await page.get_by_role("link", name="start", exact=True).click()
    await expect(lines(page).first).to_have_attribute("data-line", "1")
    await expect(lines(page).first).to_be_in_viewport()
    await expect(page).to_have_url(re.compile(f"/jobs/{long}$"))
    await expect(page.locator("#log")).to_be_focused()


async def test_the_log_is_announced_to_nobody_and_can_be_scrolled_by_keys(reader: Reader, long: str) -> None:
    page = await reader.open(f"/jobs/{long}")
    log = page.get_by_role("log", name="Log")
    await expect(log).to_have_attribute("aria-live", "off")
    await log.focus()
    await page.keyboard.press("Home")
    await expect(page.get_by_role("button", name="Follow the end")).to_be_visible()


async def test_lines_that_come_while_an_older_part_is_read_are_counted_and_there_at_the_end(reader: Reader) -> None:
    job = reader.kitchen.submit("talk", args={"lines": 5000, "gate": "older", "more": 300})
    await written(reader.kitchen, job, 5000)
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_role("link", name="start", exact=True).click()
    await expect(lines(page).first).to_have_attribute("data-line", "1")
    reader.kitchen.open_gate("older")
    jump = page.get_by_role("button", name="Follow the end")
    await expect(jump).to_contain_text(re.compile(r"\d+ new"))
    await expect(lines(page).last).to_have_attribute("data-line", "500")
    await written(reader.kitchen, job, 5300)
    await jump.click()
    await expect(lines(page).last).to_have_attribute("data-line", "5300")
    found = await numbers(page)
    assert found == list(range(found[0], 5301))
    reader.kitchen.open_gate("older-ends")


async def test_filters_live_in_the_address_and_hold_for_what_comes(reader: Reader) -> None:
    job = reader.kitchen.submit("talk", args={"lines": 1000, "gate": "filter", "more": 1000})
    await written(reader.kitchen, job, 1000)
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_label("Level").select_option("warning and above")
    await page.get_by_label("Text").fill("STIRRING")
    await page.get_by_role("button", name="Apply").click()
    await expect(page).to_have_url(re.compile(r"\?level=warning&q=STIRRING#log-panel$"))
    await expect(page.locator("[data-live]")).to_have_attribute("data-live", "live")
    await expect(page.get_by_label("Level")).to_have_value("warning")
    assert await numbers(page) == list(range(100, 1001, 100))
    reader.kitchen.open_gate("filter")
    await expect(lines(page)).to_have_count(20)
    assert await numbers(page) == list(range(100, 2001, 100))
    await expect(page.locator("#others")).to_contain_text("990 newer lines do not match")
    await page.get_by_label("Level").select_option("error")
    await page.get_by_role("button", name="Apply").click()
    await expect(lines(page)).to_have_count(2)
    await page.get_by_label("Text").fill("nothing like it")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.locator("#log")).to_contain_text("No line matches.")
    await page.get_by_role("link", name="Clear").click()
    await expect(lines(page)).to_have_count(500)
    reader.kitchen.open_gate("filter-ends")


async def test_a_text_is_found_far_back(reader: Reader, long: str) -> None:
    page = await reader.open(f"/jobs/{long}?q=stirring+77+of")
    await expect(lines(page)).to_have_count(1)
    await expect(lines(page)).to_contain_text("stirring 77 of syrup")


async def test_a_cut_leaves_a_mark_that_fetches_what_is_left_out(reader: Reader) -> None:
    job = reader.kitchen.submit("talk", args={"lines": 100, "gate": "cut", "more": 700})
    await written(reader.kitchen, job, 100)
    page = await reader.open(f"/jobs/{job}")
    await expect(lines(page)).to_have_count(100)
    await hide(page, hidden=True)
    await expect(page.locator("[data-live]")).not_to_have_attribute("data-live", "live")
    reader.kitchen.open_gate("cut")
    await written(reader.kitchen, job, 800)
    await hide(page, hidden=False)
    gap = page.locator("#log .gap")
    await expect(gap).to_contain_text("500 lines are left out here.")
    found = await numbers(page)
    assert found == [*range(1, 101), *range(601, 801)]
    await gap.get_by_role("link").click()
    await expect(gap).to_have_count(0)
    assert await numbers(page) == list(range(1, 801))
    reader.kitchen.open_gate("cut-ends")


async def test_lines_are_shown_as_text_whatever_is_in_them(reader: Reader) -> None:
    job = reader.kitchen.submit("odd")
    await reader.kitchen.job(job)
    page = await reader.open(f"/jobs/{job}")
    shown = await lines(page).locator("span").all_text_contents()
    assert shown[0] == "red hot"
    assert shown[1] == "one\ntwo\nthree\nfour"
    assert shown[2] == "bell\\x07 \\u202eback"
    assert shown[3] == "<script>alert(1)</script> & more"
    assert re.fullmatch(r"x{4000}… \([\d,]+ more characters\)", shown[4])
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_without_scripts_the_log_is_paged_and_filtered_by_links_and_forms(scriptless: Reader, long: str) -> None:
    page = await scriptless.open(f"/jobs/{long}", live=False)
    await expect(lines(page)).to_have_count(500)
    await page.get_by_role("link", name="Earlier lines").click()
    shown = page.locator("[data-line]")
    await expect(shown.first).to_have_attribute("data-line", "9001")
    await expect(shown.last).to_have_attribute("data-line", "9500")
    await page.get_by_role("link", name="Start").first.click()
    await expect(shown.first).to_have_attribute("data-line", "1")
    await page.get_by_role("link", name="Later lines").first.click()
    await expect(shown.first).to_have_attribute("data-line", "501")
    await page.get_by_label("Level").select_option("error")
    await page.get_by_role("button", name="Apply").click()
    await expect(shown).to_have_count(10)
    await page.get_by_role("link", name="Clear").click()
    await expect(shown.last).to_have_attribute("data-line", "10000")


async def test_the_page_stays_quick_with_a_full_window(reader: Reader) -> None:
    job = reader.kitchen.submit("talk", args={"lines": 2500, "gate": "full", "more": 1500})
    page = await reader.open(f"/jobs/{job}")
    await written(reader.kitchen, job, 2500)
    reader.kitchen.open_gate("full")
    await expect(lines(page).last).to_have_attribute("data-line", "4000")
    assert await page.locator("#log > *").count() <= MOST + 2
    await expect(lines(page).last).to_be_in_viewport()
    reader.kitchen.open_gate("full-ends")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
