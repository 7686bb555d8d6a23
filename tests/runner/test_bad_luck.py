"""Full disks, held loops, backoffs that raise: what the worker makes of them."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from jalebi import Jalebi, JobContext
from jalebi.errors import StorageUnavailable
from jalebi.ids import new_id
from jalebi.jobs import Job, State
from jalebi.runner import attempt, worker
from jalebi.runner.rescue import look
from jalebi.runner.worker import Worker
from jalebi.store import Store, reads
from jalebi.store.attempts import Claim
from tests.store.test_verbs import claim
from tests.support import eventually, finished, opened, reached
from tests.targets.quick import quick_shop
from tests.test_jobs import a_job


def worker_of(shop: Jalebi) -> Worker:
    assert shop._worker is not None
    return shop._worker


def full(*_: Any, **__: Any) -> Any:
    """Be a write to a full disk."""
    raise StorageUnavailable("The write was not stored: database or disk is full.")


async def test_what_a_job_did_is_kept_until_the_disk_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "DISK_RETRY", 0.01)
    monkeypatch.setattr(worker, "DISK_RETRY", 0.01)
    shop = Jalebi(database_url="sqlite://")
    async with opened(shop):
        rooms = await shop.open()

        @shop.job
        async def work(ctx: JobContext) -> str:
            for verb in ("record_log", "record_file", "settle", "renew"):
                monkeypatch.setattr(rooms.store, verb, full)
            ctx.log("a line")
            ctx.attach(b"content", "a.txt")
            return "done"

        job = await shop.submit(work)

        async def ended() -> bool | None:
            return True if worker_of(shop)._attempts[job.id].settling else None

        await reached(shop, job, State.RUNNING)
        await eventually(ended)
        await worker_of(shop)._renew()
        worker_of(shop)._attempts[job.id].renewed_at -= 60
        await worker_of(shop)._watch_leases()  # the lease could not be renewed, and yet the outcome waits
        for verb in ("record_log", "record_file", "settle", "renew"):
            monkeypatch.delattr(rooms.store, verb)
        over = await finished(shop, job)
        assert (over.state, over.attempt) == (State.COMPLETED, 1)
        [file] = await rooms.store.read(lambda connection: reads.files(connection, job.id))
        assert (rooms.files.root / file.path).read_bytes() == b"content"
        [line] = await rooms.store.read(lambda connection: reads.log_lines(connection, job.id))
        assert line.message == "1 log lines were dropped."


async def test_a_job_whose_file_can_not_be_kept_does_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Jalebi(database_url="sqlite://")
    async with opened(shop):
        rooms = await shop.open()

        def broken(*_: object) -> str:
            raise OSError("the folder is gone")

        @shop.job(max_attempts=1)
        async def work(ctx: JobContext) -> None:
            monkeypatch.setattr(rooms.files, "adopt", broken)
            ctx.attach(b"content", "a.txt")

        over = await finished(shop, await shop.submit(work))
        assert over.error is not None
        assert over.error["message"] == "What the job logged or attached could not be kept: the folder is gone"


async def test_a_drain_ends_although_the_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "LAST_MOMENTS", 0.01)
    shop = Jalebi(database_url=f"sqlite:///{tmp_path / 'a.db'}", grace=0)
    release = threading.Event()

    @shop.job(isolation="thread")
    def stubborn() -> None:
        release.wait(20)

    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit(stubborn)
        await reached(shop, job, State.RUNNING)
        for verb in ("settle", "nudge"):
            monkeypatch.setattr(rooms.store, verb, full)
        await shop.drain()
        assert not worker_of(shop)._attempts  # closing waits for it no second time
    assert "could not be handed back" in caplog.text
    release.set()
    later = quick_shop(database_url=f"sqlite:///{tmp_path / 'a.db'}")
    async with opened(later):
        found = await (await later.open()).queue.get(job.id)
        assert (found.state, found.error and found.error["type"]) == (State.RETRYING, "WorkerLost")


async def test_a_lease_that_ends_while_the_loop_is_held_does_not_take_the_job_from_its_worker() -> None:
    shop = quick_shop()
    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("hold")
        await reached(shop, job, State.RUNNING)
        assert rooms.store._writer is not None
        rooms.store._writer._steady = lambda: time.time() + 1000  # as after a pause longer than the lease
        await look(rooms.queue)
        found = await rooms.queue.get(job.id)
        assert (found.state, found.attempt) == (State.RUNNING, 1)
        await rooms.queue.cancel(job.id)
        assert (await finished(shop, job)).state is State.CANCELLED


async def test_an_attempt_that_nobody_told_of_its_loss_is_stopped_by_the_next_one() -> None:
    shop = Jalebi(database_url="sqlite://")
    stopped: list[int] = []

    @shop.job(backoff=0)
    async def work(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(ctx.attempt)

    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit(work)
        await reached(shop, job, State.RUNNING)
        await rooms.queue.rescue(everyone=True)
        over = await finished(shop, job)
        assert (over.state, over.attempt) == (State.COMPLETED, 2)

        async def told() -> bool | None:
            return True if stopped == [1] else None

        await eventually(told)


@pytest.mark.parametrize("answer", [ValueError("no"), None, float("inf"), float("nan")])
async def test_a_backoff_that_is_of_no_use_stops_neither_the_job_nor_the_next_start(
    tmp_path: Path, answer: Any
) -> None:
    def policy(_: int) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def make(**settings: Any) -> Jalebi:
        made = Jalebi(database_url=f"sqlite:///{tmp_path / 'a.db'}", **settings)

        @made.job(backoff=policy)
        async def work() -> None: ...

        return made

    dead = make(workers=False)
    async with opened(dead):
        job = await dead.submit("work")
        await (await dead.open()).store.claim(claim(kinds=["work"]))  # and its worker is gone without a word
    async with opened(make()) as shop:
        rooms = await shop.open()

        async def taken_back() -> Job | None:
            found = await rooms.queue.get(job.id)
            return found if found.state is not State.RUNNING else None

        found = await eventually(taken_back)
        assert found.state in {State.RETRYING, State.QUEUED, State.COMPLETED}
        assert found.state is not State.RETRYING or found.run_at is not None


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
async def test_a_kind_keeps_starting_at_its_rate_where_timers_come_early() -> None:
    pytest.importorskip("uvloop")  # its timers count whole milliseconds
    shop = Jalebi(database_url="sqlite://", concurrency=50)

    @shop.job(rate_limit="70/s")
    async def limited() -> None: ...

    async with opened(shop):
        jobs = [await shop.submit(limited) for _ in range(90)]
        for job in jobs:
            assert (await finished(shop, job)).state is State.COMPLETED


async def test_a_disk_that_is_full_at_the_start_only_puts_the_rescue_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with Store(url) as store:  # a server that is killed while a job runs
        job = a_job(id=new_id(store.clock()), kind="flaky", created_at=store.clock())
        await store.submit([job], max_waiting=10)
        await store.claim(Claim("gone", 0.0, lambda: 1, lambda: {"flaky": None}, dict))
    shop = quick_shop(database_url=url)
    monkeypatch.setattr(Store, "rescue", full)
    async with opened(shop):
        rooms = await shop.open()
        assert (await rooms.queue.get(job.id)).state is State.RUNNING
        monkeypatch.undo()
        await look(rooms.queue)
        assert (await finished(shop, job)).state is State.COMPLETED
