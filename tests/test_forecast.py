"""What an opened shop tells its jobs: from the histories of its kinds, its line, and what runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jalebi import Jalebi, forecast
from jalebi.estimates import MARKS
from jalebi.events import Event, Outlook
from jalebi.histories import MOST_KINDS, SHORTEST, Histories, Trace
from jalebi.jobs import Job, Progress, State
from jalebi.queue import Order, Queue
from jalebi.store import reads
from tests.support import finished, opened, reached
from tests.targets.quick import quick_shop
from tests.test_jobs import a_job

ERROR = 5.0  # seconds that a test may lose on a busy machine


@pytest.fixture
async def shop() -> AsyncIterator[Jalebi]:
    """A shop of two slots in which jobs of `hold` take 100 s and those of `echo` 10 s, as far as it knows."""
    async with opened(quick_shop(concurrency=2)) as made:
        remember(await queue_of(made), hold=100.0, echo=10.0)
        yield made


async def queue_of(shop: Jalebi) -> Queue:
    return (await shop.open()).queue


def remember(queue: Queue, **kinds: float) -> None:
    for kind, seconds in kinds.items():
        queue.forecast.histories.of(kind).fill((f"earlier-{n}", seconds) for n in range(20))


async def busy(shop: Jalebi, count: int, **more: Any) -> list[Job]:
    queue = await queue_of(shop)
    made = [await queue.submit(Order(kind="hold", args={}, **more)) for _ in range(count)]
    return [await reached(shop, job, State.RUNNING) for job in made]


async def seen(shop: Jalebi, job: Job) -> Outlook:
    return (await (await queue_of(shop)).get_with_outlook(job.id))[1]


async def in_seconds(shop: Jalebi, job: Job) -> tuple[float | None, float | None]:
    """Return in how many seconds a job probably starts and finishes."""
    outlook = await seen(shop, job)
    now = (await shop.open()).store.clock()
    return (
        None if outlook.start is None else outlook.start.median - now,
        None if outlook.finish is None else outlook.finish.median - now,
    )


async def test_jobs_in_line_know_when_they_start_and_finish(shop: Jalebi) -> None:
    await busy(shop, 2)
    waiting = [await shop.submit("echo") for _ in range(3)]
    for job, times in zip(waiting, [(100, 110), (100, 110), (110, 120)], strict=True):
        assert await in_seconds(shop, job) == pytest.approx(times, abs=ERROR)
    outlook = await seen(shop, waiting[2])
    assert (outlook.position, outlook.samples, outlook.basis) == (3, 20, "history")
    [running] = [job for job, _ in (await (await queue_of(shop)).page(reads.Filter(states=("running",)), limit=1))[0]]
    assert (await seen(shop, running)).basis == "history"  # its bar is too young to tell


async def test_a_page_of_jobs_tells_the_same_as_each_of_them(shop: Jalebi) -> None:
    await busy(shop, 2)
    waiting = [await shop.submit("echo") for _ in range(4)]
    page, _ = await (await queue_of(shop)).page(reads.Filter(states=("queued",)), limit=10)
    for (job, outlook), wanted in zip(page, reversed(waiting), strict=True):
        alone = await seen(shop, wanted)
        assert job.id == wanted.id
        assert outlook.position == alone.position
        assert outlook.start is not None
        assert alone.start is not None
        assert outlook.start.median == pytest.approx(alone.start.median, abs=ERROR)


async def test_nothing_is_told_without_a_history(shop: Jalebi) -> None:
    await busy(shop, 2)
    job = await shop.submit("steps")
    outlook = await seen(shop, job)
    assert (outlook.start is None, outlook.finish, outlook.basis) == (False, None, "history")
    behind = await shop.submit("echo")
    assert await seen(shop, behind) == Outlook(position=2)


async def test_nothing_is_told_where_nothing_will_start() -> None:
    async with opened(quick_shop(workers=False)) as idle:
        remember(await queue_of(idle), echo=10.0)
        job = await idle.submit("echo")
        assert await seen(idle, job) == Outlook(position=1)


async def test_nothing_is_told_while_the_worker_or_the_queue_is_paused(shop: Jalebi) -> None:
    rooms = await shop.open()
    await busy(shop, 2)
    job = await shop.submit("echo")
    assert (await seen(shop, job)).start is not None
    await rooms.queue.pause("default")
    assert await seen(shop, job) == Outlook(position=1)
    await rooms.queue.resume("default")
    assert (await seen(shop, job)).start is not None
    assert rooms.worker is not None
    await rooms.worker.pause()
    assert await seen(shop, job) == Outlook(position=1)
    rooms.worker.resume()
    assert (await seen(shop, job)).start is not None


async def test_a_queue_that_is_full_holds_up_its_own_jobs_only(shop: Jalebi) -> None:
    queue = await queue_of(shop)
    await queue.limit("narrow", 1)
    await busy(shop, 1, queue="narrow")
    held = await queue.submit(Order(kind="echo", args={}, queue="narrow"))
    assert await in_seconds(shop, held) == pytest.approx((100, 110), abs=ERROR)


async def test_a_scheduled_job_starts_at_its_time_or_later(shop: Jalebi) -> None:
    queue = await queue_of(shop)
    await busy(shop, 2)
    soon = await queue.submit(Order(kind="echo", args={}, run_at=queue.store.clock() + 30))
    late = await queue.submit(Order(kind="echo", args={}, run_at=queue.store.clock() + 3600))
    assert await in_seconds(shop, soon) == pytest.approx((100, 110), abs=ERROR)
    assert await in_seconds(shop, late) == pytest.approx((3600, 3610), abs=ERROR)


async def test_a_long_line_is_reckoned_with_about_the_same_answer(
    shop: Jalebi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await busy(shop, 2)
    waiting = [await shop.submit("echo") for _ in range(40)]
    short = await in_seconds(shop, waiting[-1])
    monkeypatch.setattr(forecast, "PLAYED", 10)
    long = await in_seconds(shop, waiting[-1])
    assert short == pytest.approx((290, 300), abs=ERROR)
    assert long == pytest.approx((295, 305), abs=2 * ERROR)
    queue = await queue_of(shop)
    late = await queue.submit(Order(kind="echo", args={}, run_at=queue.store.clock() + 3600))
    assert (await in_seconds(shop, late))[0] == pytest.approx(3600, abs=ERROR)


async def test_what_is_over_or_being_stopped_expects_nothing(shop: Jalebi) -> None:
    over = await finished(shop, await shop.submit("echo"))
    assert await seen(shop, over) == Outlook()


async def test_the_store_is_asked_once_for_the_durations_of_a_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = reads.durations

    def counted(connection: Any, kind: str) -> Any:
        asked.append(kind)
        return original(connection, kind)

    monkeypatch.setattr(reads, "durations", counted)
    settings = {"database_url": f"sqlite:///{tmp_path / 'jobs.db'}", "concurrency": 1}
    async with opened(quick_shop(**settings)) as first:
        for _ in range(6):
            await finished(first, await first.submit("echo"))
        queue = await queue_of(first)
        assert len((await queue.forecast.durations(["echo"]))["echo"]) == 6
        await finished(first, await first.submit("echo"))
        assert len((await queue.forecast.durations(["echo"]))["echo"]) == 7
    async with opened(quick_shop(**settings)) as second:
        await busy(second, 1)
        asked.clear()
        job = await second.submit("echo")
        for _ in range(3):
            await seen(second, job)
        assert asked.count("echo") == 1
        assert len((await queue_of(second)).forecast.histories.of("echo").durations) == 7


async def test_the_histories_of_what_runs_are_there_before_anybody_asks(tmp_path: Path) -> None:
    async with opened(quick_shop(database_url=f"sqlite:///{tmp_path / 'jobs.db'}")) as made:
        await busy(made, 1)
        queue = await queue_of(made)
        await queue.forecast.fill()
        assert not queue.forecast.histories.lacks("hold")


async def test_one_that_takes_longer_than_all_before_it_does_not_hide_when_the_next_one_starts(shop: Jalebi) -> None:
    first, second = await busy(shop, 2)
    queue = await queue_of(shop)
    store, real = queue.store, queue.store.clock
    store.clock = lambda: real() + 150.0  # by now both should be over
    waiting = await shop.submit("echo")
    assert await seen(shop, first) == await seen(shop, second) == Outlook()
    found = (await seen(shop, waiting)).start
    assert found is not None
    assert store.clock() <= found.earliest < found.median < found.latest < store.clock() + 200.0


async def test_a_line_of_own_jobs_is_nothing_to_wait_for(shop: Jalebi) -> None:
    rooms = await shop.open()
    rooms.queue.forecast.histories.running["own"] = a_job(State.RUNNING, id="own", kind="jalebi.bulk", started_at=0.0)
    await busy(shop, 1)
    job = await shop.submit("hold")
    await reached(shop, job, State.RUNNING)
    waiting = await shop.submit("echo")
    assert (await in_seconds(shop, waiting))[0] == pytest.approx(100, abs=ERROR)


async def test_many_askers_at_once_get_an_answer_each(shop: Jalebi) -> None:
    await busy(shop, 2)
    waiting = [await shop.submit("echo") for _ in range(10)]
    found = await asyncio.gather(*(seen(shop, job) for job in waiting))
    assert [outlook.position for outlook in found] == list(range(1, 11))
    assert all(outlook.start is not None for outlook in found)


def test_no_more_kinds_are_remembered_than_there_is_room_for() -> None:
    histories = Histories()
    for number in range(MOST_KINDS + 10):
        histories.of(f"kind{number}").fill([])
    assert histories.lacks("kind0")
    assert not histories.lacks(f"kind{MOST_KINDS}")


def test_a_job_that_ended_while_its_kind_was_looked_up_counts_once() -> None:
    history = Histories().of("report")
    history.add("c", 3.0)
    history.fill([("a", 1.0), ("b", 2.0), ("c", 3.0)])
    history.fill([("d", 9.0)])
    assert history.durations == [1.0, 2.0, 3.0]


def test_the_bars_of_jobs_that_complete_are_learned() -> None:
    histories, running = Histories(), a_job(State.RUNNING, attempt=1, started_at=100.0)
    histories.note(Event(1, "started", 100.0, running))
    for at, done in [(101.0, 5.0), (104.0, 9.0)]:
        histories.advance(running, Progress(done, 10.0, updated_at=at))
    over = a_job(
        State.COMPLETED, attempt=1, started_at=100.0, finished_at=110.0, progress=Progress(10.0, 10.0, updated_at=109.0)
    )
    histories.note(Event(2, "completed", 110.0, over))
    [shape] = histories.of("report").shapes
    assert [shape.share(fraction) for fraction in (0.0, 0.25, 0.5, 0.9, 1.0)] == pytest.approx(
        [0.0, 0.05, 0.1, 0.4, 0.9]
    )
    assert histories.of("report").durations == [10.0]
    assert not histories.running


def test_a_failed_job_tells_nothing_of_the_next_one() -> None:
    histories, running = Histories(), a_job(State.RUNNING, attempt=1, started_at=100.0)
    histories.note(Event(1, "started", 100.0, running))
    histories.note(Event(2, "failed", 110.0, a_job(State.FAILED, started_at=100.0, finished_at=110.0)))
    assert histories.of("report").durations == []


def test_a_bar_that_goes_back_is_no_measure() -> None:
    trace = Trace(0.0)
    for at, done in [(1.0, 5.0), (2.0, 1.0), (3.0, 6.0)]:
        trace.advance(Progress(done, 10.0, updated_at=at))
    assert trace.shape(10.0) is None
    assert trace.bar(Progress(6.0, 10.0, updated_at=3.0), 3.0) is None


def test_a_bar_knows_since_when_it_stands_still_also_where_its_message_changes() -> None:
    trace = Trace(0.0)
    for at, done in [(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]:
        trace.advance(Progress(done, 10.0, updated_at=at))
    bar = trace.bar(Progress(5.0, 10.0, updated_at=3.0), 4.0)
    assert bar is not None
    assert (bar.fraction, bar.elapsed, bar.silent) == (0.5, 1.0, 3.0)


def test_bars_of_short_jobs_and_without_a_total_are_not_kept() -> None:
    trace = Trace(0.0)
    trace.advance(Progress(5.0, None, updated_at=1.0))
    assert trace.shape(10.0) is None
    trace.advance(Progress(5.0, 10.0, updated_at=1.0))
    assert trace.shape(SHORTEST - 0.1) is None
    found = trace.shape(SHORTEST)
    assert found is not None
    assert len(found.shares) == len(MARKS)
