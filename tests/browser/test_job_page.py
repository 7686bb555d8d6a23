"""One job's page in a real browser: everything on it is live, and its buttons do what they say."""

import re

from playwright.async_api import Page, expect

from tests.browser.conftest import Reader
from tests.browser.test_jobs_list import moved, row


async def test_everything_on_the_page_comes_by_itself(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", args={"title": "by itself", "turns": 60, "pause": 0.03})
    page = await reader.open(f"/jobs/{job}")
    asked = len(reader.seen.requests)
    await moved(row(page, job).locator("progress"), 3)
    await expect(row(page, job)).to_contain_text(re.compile(r"\d+ of 60 turns · [\d.]+ turns/s"))
    await expect(page.locator("#log [data-line]").nth(4)).to_contain_text("turn 20 of by itself")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "100")
    await expect(page.locator("#outcome")).to_contain_text('"title": "by itself"')
    await expect(page.locator("#log [data-line]")).to_have_count(12)
    await expect(page.locator("#history li").last).to_contain_text("completed")
    assert reader.seen.requests[asked:] == []
    async with page.expect_download() as download:
        await page.get_by_role("link", name="recipe.txt").click()
    assert (await (await download.value).path()).read_bytes() == b"recipe"


async def test_the_log_follows_its_end_only_while_the_reader_is_there(reader: Reader) -> None:
    job = reader.kitchen.submit("stir", args={"turns": 5000, "pause": 0.004})
    page = await reader.open(f"/jobs/{job}")
    log, lines = page.locator("#log"), page.locator("#log [data-line]")
    await expect(lines.nth(40)).to_be_attached()
    await expect(lines.last).to_be_in_viewport()
    await log.evaluate("log => { log.scrollTop = 0 }")
    await expect(page.get_by_role("button", name="Follow the end")).to_be_visible()
    count = await lines.count()
    await expect(lines.nth(count + 5)).to_be_attached()
    assert await log.evaluate("log => log.scrollTop") == 0
    await page.get_by_role("button", name="Follow the end").click()
    await expect(lines.last).to_be_in_viewport()
    numbers = [int(text) for text in await lines.evaluate_all("all => all.map(one => one.dataset.line)")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_cancel_stops_a_running_job(reader: Reader) -> None:
    job = reader.kitchen.submit("stir")
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    assert (await reader.kitchen.job(job))["state"] == "cancelled"


async def test_retry_starts_a_failed_job_over(reader: Reader) -> None:
    job = reader.kitchen.submit("spill", args={"message": "<i>again</i>"})
    await reader.kitchen.job(job)
    page = await reader.open(f"/jobs/{job}")
    await expect(page.locator("#outcome")).to_contain_text("<i>again</i>")
    await page.get_by_text("Traceback", exact=True).click()
    await expect(page.locator("#traceback pre")).to_contain_text("raise ValueError(message)")
    await page.get_by_role("button", name="Retry", exact=True).click()
    await expect(page.locator("#history li.failed")).to_have_count(2)
    await expect(page.locator("#facts")).to_contain_text("2 (at most 1")


async def test_delete_asks_first_and_then_the_job_is_gone(reader: Reader) -> None:
    job = reader.kitchen.submit("nap")
    await reader.kitchen.job(job)
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("heading")).to_have_text("Delete this job?")
    await page.get_by_role("link", name="Keep it").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page).to_have_url(re.compile("/jobs$"))
    with reader.kitchen.api() as client:
        assert client.get(f"/v1/jobs/{job}").status_code == 404


async def test_a_page_of_a_job_that_somebody_deletes_says_so(reader: Reader) -> None:
    job = reader.kitchen.submit("nap", delay=500)
    page = await reader.open(f"/jobs/{job}")
    with reader.kitchen.api() as client:
        assert client.delete(f"/v1/jobs/{job}").status_code == 204
    await expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
    reader.seen.complaints.clear()  # the browser reports the 404 that the page asked for


async def test_an_action_that_comes_too_late_says_why_on_the_page(reader: Reader) -> None:
    job = reader.kitchen.submit("gate", args={"name": "too-late"})
    page = await reader.open(f"/jobs/{job}")
    await hold_still(page)
    reader.kitchen.open_gate("too-late")
    await reader.kitchen.job(job)
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("alert").first).to_contain_text("The job is completed already.")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    reader.seen.complaints.clear()  # the browser reports the 409


async def hold_still(page: Page) -> None:
    """Let nothing come to the page any more, as if its line were slow."""
    await page.evaluate("document.querySelector('#live')._htmx.ws.connection.abortController.abort()")


async def test_a_job_in_line_tells_its_place_and_moves_up(reader: Reader) -> None:
    ahead = [reader.kitchen.submit("counter", args={"name": "counter"}) for _ in range(2)]
    last = reader.kitchen.submit("counter", args={"name": "counter"})
    page = await reader.open(f"/jobs/{last}")
    await expect(row(page, last)).to_contain_text("2nd in line")
    with reader.kitchen.api() as client:
        client.post(f"/v1/jobs/{ahead[1]}/cancel")
    await expect(row(page, last)).to_contain_text("1st in line")
    reader.kitchen.open_gate("counter")
    await expect(row(page, last)).to_have_attribute("data-state", "completed")
