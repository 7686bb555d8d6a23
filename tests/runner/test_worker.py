"""Slots, limits, leases, rescue and drain."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jalebi import Jalebi, JobContext
from jalebi.errors import Draining, StorageUnavailable
from jalebi.jobs import Job, State
from jalebi.runner.rates import Bucket
from jalebi.store import missed, reads
from tests.support import eventually, finished, opened, reached
from tests.targets import kinds


async def test_no_more_jobs_run_at_once_than_there_are_slots() -> None:
    shop = Jalebi(database_url="sqlite://", concurrency=3)
    running, most = 0, 0

    @shop.job
    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    async with opened(shop):
        jobs = [await shop.submit(count) for _ in range(12)]
        for job in jobs:
            assert (await finished(shop, job)).state is State.COMPLETED
    assert most == 3


async def test_a_kind_keeps_to_its_own_limit_and_does_not_hold_up_others() -> None:
    shop = Jalebi(database_url="sqlite://", concurrency=5)
    running: dict[str, int] = {"one": 0, "other": 0}
    most = dict(running)

    async def work(kind: str) -> None:
        running[kind] += 1
        most[kind] = max(most[kind], running[kind])
        await asyncio.sleep(0.01)
        running[kind] -= 1

    @shop.job(max_running=1)
    async def one() -> None:
        await work("one")

    @shop.job
    async def other() -> None:
        await work("other")

    async with opened(shop):
        jobs = [await shop.submit(one) for _ in range(6)] + [await shop.submit(other) for _ in range(6)]
        for job in jobs:
            await finished(shop, job)
    assert most["one"] == 1
    assert most["other"] > 1


async def test_a_kind_keeps_to_its_rate() -> None:
    shop = Jalebi(database_url="sqlite://")
    starts: list[float] = []

    @shop.job(rate_limit="20/s")
    async def limited() -> None:
        starts.append(asyncio.get_running_loop().time())

    async with opened(shop):
        jobs = [await shop.submit(limited) for _ in range(25)]
        for job in jobs:
            await finished(shop, job)
    assert len(starts) == 25
    # Twenty at once are allowed; the five more have to wait for a twentieth of a second each.
    assert starts[-1] - starts[0] > 0.2


def test_a_bucket_fills_evenly_up_to_its_size() -> None:
    bucket = Bucket(2, 1.0)
    for _ in range(2):
        bucket.take(100.0)
    assert bucket.wait(100.0) == pytest.approx(0.5)
    assert bucket.level(100.5) == pytest.approx(1.0)
    assert bucket.level(200.0) == 2.0


async def test_jobs_of_a_server_that_died_are_taken_back_when_the_next_one_starts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    # A worker that is gone without a word: claimed, never settled.
    dead = kinds.make_shop(database_url=url, workers=False)
    async with opened(dead):
        from tests.store.test_verbs import claim

        job = await dead.submit("echo", value=1)
        rooms = await dead.open()
        assert len(await rooms.store.claim(claim(kinds=["echo"]))) == 1
    async with opened(kinds.make_shop(database_url=url)) as shop:
        over = await finished(shop, job)
        assert (over.state, over.attempt) == (State.COMPLETED, 2)


async def test_an_attempt_keeps_its_lease_as_long_as_it_runs(tmp_path: Path) -> None:
    shop = kinds.make_shop(database_url="sqlite://", lease=0.15)
    async with opened(shop):
        flag = tmp_path / "flag"
        job = await shop.submit("wait_for", path=str(flag))
        first = await reached(shop, job, State.RUNNING)
        rooms = await shop.open()

        async def renewed() -> bool | None:
            now = await rooms.queue.get(job.id)
            assert now.lease_until is not None
            assert first.lease_until is not None
            return True if now.lease_until > first.lease_until + 0.2 else None

        await eventually(renewed)
        assert await rooms.queue.rescue() == []
        flag.touch()
        over = await finished(shop, job)
        assert (over.state, over.attempt) == (State.COMPLETED, 1)


async def test_an_attempt_that_lost_its_lease_stops_and_what_it_did_is_discarded(tmp_path: Path) -> None:
    shop = kinds.make_shop(database_url="sqlite://", lease=0.3)
    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("wait_for", path=str(tmp_path / "flag"))
        await reached(shop, job, State.RUNNING)
        await rooms.queue.rescue(everyone=True)  # somebody believed that we were dead

        async def again() -> bool | None:
            now = await rooms.queue.get(job.id)
            return True if now.state is State.RUNNING and now.attempt == 2 else None

        await eventually(again)
        (tmp_path / "flag").touch()
        over = await finished(shop, job)
        assert (over.state, over.attempt) == (State.COMPLETED, 2)
        events = await rooms.store.read(lambda c: missed.events_of(c, job_id=job.id, after=0))
        assert [event.type for event in events] == ["created", "started", "retrying", "queued", "started", "completed"]


@pytest.mark.parametrize("answer", ["refuses", "never answers"])
async def test_a_lease_that_can_not_be_renewed_stops_the_attempt_before_it_ends(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = kinds.make_shop(database_url="sqlite://", lease=0.6)

    async def renew(*_: object) -> list[Job]:
        if answer == "refuses":
            raise StorageUnavailable("The disk is full.")
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    stopped_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    @shop.job
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if not stopped_at.done():
                stopped_at.set_result(shop._rooms.store.steady() if shop._rooms else 0.0)

    async with opened(shop):
        rooms = await shop.open()
        monkeypatch.setattr(rooms.store, "renew", renew)
        job = await shop.submit(wait)
        running = await reached(shop, job, State.RUNNING)
        assert running.lease_until is not None
        async with asyncio.timeout(20):
            assert await stopped_at < running.lease_until
        monkeypatch.undo()


@pytest.mark.parametrize(("kind", "args"), [("wait_for", {"path": "never"}), ("misbehave", {"how": "stubborn"}),
                                            ("thread_steps", {"count": 500})])  # fmt: skip
async def test_a_drain_hands_back_what_does_not_end_in_time(tmp_path: Path, kind: str, args: dict[str, Any]) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    shop = kinds.make_shop(database_url=url, grace=0.05, cancel_grace=0.2)
    async with opened(shop):
        job = await shop.submit(kind, args)
        await reached(shop, job, State.RUNNING)
        quick = await shop.submit("echo", value=1)
        await finished(shop, quick)
        await shop.drain()
        with pytest.raises(Draining):
            await shop.submit("echo", value=2)
    async with opened(kinds.make_shop(database_url=url, workers=False)) as later:
        rooms = await later.open()
        found = await rooms.queue.get(job.id)
        assert (found.state, found.attempt, found.tries) == (State.QUEUED, 1, 0)


async def test_a_drain_lets_jobs_end_that_can(tmp_path: Path) -> None:
    shop = kinds.make_shop(database_url="sqlite://", grace=20)
    async with opened(shop):
        job = await shop.submit("steps", count=10)
        waiting = await shop.submit("steps", count=10)
        await reached(shop, job, State.RUNNING)
        await shop.drain()
        rooms = await shop.open()
        assert (await rooms.queue.get(job.id)).state is State.COMPLETED
        assert (await rooms.queue.get(waiting.id)).state in {State.COMPLETED, State.QUEUED}


async def test_a_server_without_workers_stores_jobs_and_starts_none() -> None:
    shop = kinds.make_shop(database_url="sqlite://", workers=False)
    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("echo", value=1)
        assert (await rooms.queue.get(job.id)).state is State.QUEUED
        assert rooms.queue.workers == 0


async def test_two_shops_in_one_process_share_nothing() -> None:
    async with (
        opened(kinds.make_shop(database_url="sqlite://")) as one,
        opened(Jalebi(database_url="sqlite://")) as two,
    ):
        job = await one.submit("echo", value=1)
        await finished(one, job)
        rooms = await two.open()
        assert (await rooms.store.read(reads.counts))["completed"] == 0
        assert "echo" not in two.kinds


async def test_the_lifespan_of_the_shop_is_entered_before_jobs_run_and_left_after() -> None:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    seen: list[str] = []

    @asynccontextmanager
    async def services(shop: Jalebi) -> AsyncIterator[None]:
        seen.append("in")
        yield
        seen.append("out")

    shop = Jalebi(database_url="sqlite://", lifespan=services)

    @shop.job
    async def look(ctx: JobContext) -> list[str]:
        return list(seen)

    async with opened(shop):
        job = await shop.submit(look)
        await finished(shop, job)
        rooms = await shop.open()
        assert await rooms.queue.result(job.id) == '["in"]'
    assert seen == ["in", "out"]
