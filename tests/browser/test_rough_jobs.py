"""Jobs that stand still, will not stop, or die, in a real browser: their pages say so while it happens."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Kitchen, Reader
from tests.browser.test_jobs_list import row

ROUGH = Path(__file__).with_name("rough.py")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    env = {"JALEBI_STALL_AFTER": "0.3", "JALEBI_CANCEL_GRACE": "3"}
    made = Kitchen(tmp_path_factory.mktemp("rough"), "--database", "sqlite://", env=env, shop=ROUGH)
    yield made
    made.process.close()


async def begun(page: Page, job: str) -> None:
    await expect(row(page, job).locator("progress")).to_have_attribute("value", "25")


def cancel(kitchen: Kitchen, job: str) -> None:
    with kitchen.api() as client:
        assert client.post(f"/v1/jobs/{job}/cancel").status_code == 202


def steps(page: Page) -> Locator:
    return page.get_by_role("list", name="Cancellation").get_by_role("listitem")


async def test_the_receipts_of_a_cancellation_come_one_by_one(reader: Reader) -> None:
    job = reader.kitchen.submit("tidy", args={"name": "tidied"})
    page = await reader.open(f"/jobs/{job}")
    await begun(page, job)
    await expect(page.get_by_text("Cancellation")).to_have_count(0)
    asked = len(reader.seen.requests)
    cancel(reader.kitchen, job)
    await expect(row(page, job)).to_have_attribute("data-state", "cancelling")
    times = [
        re.compile(r"requested\s+\d+:\d\d:\d\d[.,]\d"),
        re.compile(r"delivered\s+\+"),
        re.compile(r"acknowledged\s+\+"),
    ]
    await expect(steps(page)).to_have_text([*times, re.compile(r"stopped\s+pending")])
    reader.kitchen.open_gate("tidied")
    await expect(steps(page)).to_have_text([*times, re.compile(r"stopped\s+\+")])
    await expect(row(page, job)).to_have_attribute("data-state", "cancelled")
    assert reader.seen.requests[asked:] == []


async def test_a_job_that_does_not_hear_is_shown_to_be_killed(reader: Reader) -> None:
    job = reader.kitchen.submit("stubborn")
    page = await reader.open(f"/jobs/{job}")
    await begun(page, job)
    cancel(reader.kitchen, job)
    told = [re.compile("requested"), re.compile(r"delivered\s+\+")]
    await expect(steps(page)).to_have_text(
        [*told, re.compile(r"acknowledged\s+pending"), re.compile(r"stopped\s+pending")]
    )
    end = re.compile(r"killed\s+\+[3-9]\.\d s")
    await expect(steps(page)).to_have_text([*told, re.compile("not acknowledged"), end])
    await page.reload()
    await expect(steps(page)).to_have_text([*told, re.compile("not acknowledged"), end])


async def test_a_cancelled_job_that_never_started_has_no_one_to_tell(reader: Reader) -> None:
    job = reader.kitchen.submit("stubborn", delay=500)
    page = await reader.open(f"/jobs/{job}")
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await expect(steps(page)).to_have_text([re.compile("requested"), re.compile(r"stopped\s+\+0 ms")])


@pytest.mark.parametrize("path", ["/jobs?tag=still", "/", "/workers", "/jobs/{job}"])
@pytest.mark.parametrize("total", [100, None])
async def test_a_job_that_stands_still_is_marked_until_it_moves(reader: Reader, path: str, total: int | None) -> None:
    gate = "moves" + re.sub(r"\W", "-", f"{path}{total}")
    job = reader.kitchen.submit("stand", args={"name": gate, "total": total}, tags=["still"])
    page = await reader.open(path.format(job=job))
    mark = row(page, job).get_by_text("Stalled")
    await expect(row(page, job)).to_have_attribute("data-stalled", "")
    await expect(mark).to_be_visible()
    still = await look_of_the_bar(row(page, job))
    reader.kitchen.open_gate(gate)
    await expect(row(page, job)).not_to_have_attribute("data-stalled", "")
    await expect(mark).to_be_hidden()
    await expect(row(page, job)).to_have_attribute("data-state", "running")
    assert await look_of_the_bar(row(page, job)) != still
    reader.kitchen.open_gate(f"{gate}-ends")
    assert (await reader.kitchen.job(job))["stalled"] is False


async def look_of_the_bar(shown: Locator) -> str:
    """Return what a bar is drawn with, whichever way it is."""
    bar = shown.locator("progress")
    look = "bar => getComputedStyle(bar).getPropertyValue('--fill') + getComputedStyle(bar).animationName"
    return str(await bar.evaluate(look))


async def test_a_page_that_is_opened_late_shows_the_mark_and_since_when(reader: Reader) -> None:
    job = reader.kitchen.submit("stand", args={"name": "late"})
    await expect(row(await reader.open(f"/jobs/{job}"), job)).to_have_attribute("data-stalled", "")
    page = await reader.open(f"/jobs/{job}")
    await expect(row(page, job)).to_contain_text(re.compile(r"Stalled since\s+\d+:\d\d:\d\d.*on the way", re.S))
    await expect(page.locator("#log")).to_contain_text("No progress for")
    reader.kitchen.open_gate("late")
    reader.kitchen.open_gate("late-ends")
    await expect(row(page, job)).to_have_attribute("data-state", "completed")
    await expect(row(page, job)).not_to_contain_text("Stalled")


async def test_a_job_that_kills_itself_leaves_its_last_words(reader: Reader) -> None:
    job = reader.kitchen.submit("die")
    page = await reader.open(f"/jobs/{job}")
    await expect(row(page, job)).to_have_attribute("data-state", "failed")
    words = page.locator("#last-words")
    await expect(words).to_contain_text("SIGSEGV")
    await expect(words).to_contain_text(re.compile(r"Peak memory\s*[\d.]+ MB"))
    await expect(words).to_contain_text(re.compile(r"CPU time\s*[\d.]+ s"))
    await expect(page.get_by_label("Its last log lines")).to_contain_text("<b>too much sugar</b>")
    await expect(page.locator("#stack pre")).to_be_hidden()
    await page.get_by_text("Where it was").click()
    await expect(page.locator("#stack pre")).to_contain_text("in die")
