"""The queries of a log: pages by line, by level and by text, none of which looks further than it must."""

from functools import partial
from typing import Any

import pytest

from jalebi.jobs import Job
from jalebi.store import Store, logs
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, put

COUNT = 60


@pytest.fixture
async def job(store: Store, clock: Clock) -> Job:
    """A running job with sixty lines, every tenth of which is a warning."""
    await put(store, fresh(clock))
    [running] = await store.claim(claim())
    await say(store, clock, running, 1, COUNT)
    return running


async def say(store: Store, clock: Clock, job: Job, first: int, last: int, keep: int = 10_000) -> None:
    for number in range(first, last + 1):
        level = "warning" if number % 10 == 0 else "info"
        await store.record_log(job.id, job.attempt, level, f"Líne {number}.", at=clock.now, keep_lines=keep)


async def page(store: Store, job: Job, level: str = "debug", text: str = "", **place: Any) -> logs.Page:
    options = {"keep": 10_000, "most": 5, **place}
    return await store.read(partial(logs.page, job_id=job.id, wanted=logs.Wanted(level, text), **options))


def numbers(found: logs.Page) -> list[int]:
    return [line.line for line in found.lines]


async def test_the_newest_lines_come_where_no_place_is_asked_for(store: Store, job: Job) -> None:
    found = await page(store, job)
    assert (numbers(found), found.end, found.earlier, found.later) == ([56, 57, 58, 59, 60], 60, 56, None)


@pytest.mark.parametrize("level", ["debug", "warning"])
async def test_pages_backwards_and_forwards_hold_every_line_once(store: Store, job: Job, level: str) -> None:
    wanted = [n for n in range(1, COUNT + 1) if level == "debug" or n % 10 == 0]
    back: list[int] = []
    before: int | None = None
    while before != 0:
        found = await page(store, job, level, before=before, most=4)
        back = numbers(found) + back
        before = found.earlier or 0
    ahead: list[int] = []
    after: int | None = 0
    while after is not None:
        found = await page(store, job, level, after=after, most=4)
        ahead += numbers(found)
        after = found.later
    assert back == ahead == wanted


async def test_a_text_is_found_in_upper_case_and_lower(store: Store, job: Job) -> None:
    assert numbers(await page(store, job, text="lÍNE 7.")) == [7]
    assert numbers(await page(store, job, level="warning", text="5")) == [50]
    assert numbers(await page(store, job, level="error")) == []
    assert numbers(await page(store, job, text="%")) == []


async def test_a_range_between_two_lines_ends_before_the_second(store: Store, job: Job) -> None:
    found = await page(store, job, after=10, before=14, most=10)
    assert (numbers(found), found.earlier, found.later) == ([11, 12, 13], 11, 13)


async def test_places_outside_of_the_log_are_empty_pages(store: Store, job: Job) -> None:
    assert numbers(await page(store, job, after=60)) == []
    assert numbers(await page(store, job, after=10**14)) == []
    assert numbers(await page(store, job, before=1)) == []
    assert numbers(await page(store, job, before=0)) == []
    assert numbers(await page(store, job, before=10**14)) == [56, 57, 58, 59, 60]


async def test_a_job_without_lines_has_an_empty_page(store: Store, clock: Clock) -> None:
    [waiting] = await put(store, fresh(clock))
    assert await page(store, waiting) == logs.Page([], 0)


async def test_lines_that_are_not_kept_any_more_are_passed_over(store: Store, clock: Clock, job: Job) -> None:
    await say(store, clock, job, COUNT + 1, 500, keep=100)
    found = await page(store, job, after=0, keep=100)
    assert (numbers(found), found.earlier, found.later) == ([401, 402, 403, 404, 405], None, 405)


async def test_one_query_looks_at_so_many_lines_and_says_where_to_go_on(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CHUNK", 7)
    monkeypatch.setattr(logs, "MOST_LOOKED_AT", 20)
    found = await page(store, job, text="Líne 3.")
    assert (numbers(found), found.earlier) == ([], 41)
    found = await page(store, job, text="Líne 3.", before=41)
    assert (numbers(found), found.earlier) == ([], 21)
    found = await page(store, job, text="Líne 3.", before=21)
    assert (numbers(found), found.earlier) == ([3], None)
    found = await page(store, job, text="Líne 30.", after=0)
    assert (numbers(found), found.later) == ([], 20)
