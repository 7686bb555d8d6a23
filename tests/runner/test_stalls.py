"""Stuck is not slow: a job whose progress stops for many times its usual interval is marked, and more if it wants."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jalebi import Jalebi, JobContext
from jalebi.jobs import Job, State
from jalebi.store import reads
from tests.runner.test_bad_luck import worker_of
from tests.support import eventually, finished, opened


async def looked_at(shop: Jalebi, job: Job, wanted: Callable[[Job], bool]) -> Job:
    """Return the job once it is as wanted, looking for stalls meanwhile."""

    async def look() -> Job | None:
        await worker_of(shop)._save()
        found = await (await shop.open()).queue.get(job.id)
        return found if wanted(found) else None

    return await eventually(look)


def stuck_shop(**options: Any) -> tuple[Jalebi, asyncio.Event]:
    """Return a shop with a kind that reports a few times, stands still until the event, and goes on."""
    shop = Jalebi(database_url="sqlite://", stall_after=0.05, cancel_grace=0.2)
    goes_on = asyncio.Event()

    @shop.job(backoff=0.01, **options)
    async def stuck(ctx: JobContext) -> int:
        for done in range(6):
            ctx.progress(done, 10)
        if ctx.attempt == 1:
            await goes_on.wait()
            ctx.progress(7, 10)
            await asyncio.Event().wait()
        return ctx.attempt

    return shop, goes_on


async def test_a_job_that_stands_still_is_marked_until_it_goes_on() -> None:
    shop, goes_on = stuck_shop()
    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("stuck")
        marked = await looked_at(shop, job, lambda job: bool(job.progress and job.progress.stalled))
        assert marked.progress is not None
        assert (marked.state, marked.progress.done) == (State.RUNNING, 5)
        with rooms.hub.subscribe(job.id) as mailbox:
            goes_on.set()
            [news] = await anext(mailbox)
        assert getattr(news, "progress").stalled is False  # noqa: B009 - an event has none
        await rooms.queue.cancel(job.id)
        assert (await finished(shop, job)).state is State.CANCELLED


async def test_a_job_that_ends_is_not_stalled_any_more() -> None:
    shop, _ = stuck_shop()
    async with opened(shop):
        job = await shop.submit("stuck")
        await looked_at(shop, job, lambda job: bool(job.progress and job.progress.stalled))
        await (await shop.open()).queue.cancel(job.id)
        over = await finished(shop, job)
        assert over.progress is not None
        assert not over.progress.stalled


async def test_a_job_that_reports_seldom_or_never_is_not_stalled() -> None:
    shop = Jalebi(database_url="sqlite://", stall_after=0.001)

    @shop.job
    async def quiet(ctx: JobContext) -> None:
        ctx.progress(1, 2)  # once is no interval
        await asyncio.Event().wait()

    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit(quiet)
        await looked_at(shop, job, lambda job: job.progress is not None)
        attempt = worker_of(shop)._attempts[job.id]
        assert not attempt.stalls(attempt._reported_at + 1e6)
        await rooms.queue.cancel(job.id)
        await finished(shop, job)


async def test_a_kind_may_ask_to_be_warned() -> None:
    shop, _ = stuck_shop(on_stall="warn")
    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("stuck")
        await looked_at(shop, job, lambda job: job.seq == 3)
        [line] = await rooms.store.read(lambda connection: reads.log_lines(connection, job.id))
        assert line.level == "warning"
        assert "No progress for" in line.message
        await rooms.queue.cancel(job.id)
        await finished(shop, job)


@pytest.mark.parametrize(("wish", "state"), [("cancel", State.CANCELLED), ("retry", State.COMPLETED)])
async def test_a_kind_may_ask_to_be_cancelled_or_retried(wish: str, state: State) -> None:
    shop, _ = stuck_shop(on_stall=wish)
    async with opened(shop):
        job = await shop.submit("stuck")
        over = await looked_at(shop, job, lambda job: job.terminal)
        assert (over.state, over.attempt) == (state, 2 if wish == "retry" else 1)
        if wish == "cancel":
            assert "No progress for" in (over.error or {})["message"]
