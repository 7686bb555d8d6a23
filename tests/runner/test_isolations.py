"""What holds in every isolation, and what is different in each."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jalebi import Jalebi, JobContext, JobFailed
from jalebi.jobs import Job, State
from jalebi.runner import process
from jalebi.store import missed, reads
from tests.support import eventually, finished, opened, reached
from tests.targets import kinds


@pytest.fixture
async def shop() -> AsyncIterator[Jalebi]:
    async with opened(kinds.make_shop(database_url="sqlite://", cancel_grace=0.4)) as made:
        yield made


async def ended(shop: Jalebi, kind: str, **args: Any) -> Job:
    return await finished(shop, await shop.submit(kind, args))


async def events(shop: Jalebi, job: Job) -> list[str]:
    rooms = await shop.open()
    found = await rooms.store.read(lambda connection: missed.events_of(connection, job_id=job.id, after=0))
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    return [event.type for event in found]


async def logged(shop: Jalebi, job: Job) -> list[str]:
    rooms = await shop.open()
    return [line.message for line in await rooms.store.read(lambda c: reads.log_lines(c, job.id))]


@pytest.mark.parametrize("kind", ["steps", "thread_steps", "process_steps"])
async def test_a_job_completes_with_its_last_progress(shop: Jalebi, kind: str) -> None:
    job = await ended(shop, kind, count=4)
    assert (job.state, job.attempt) == (State.COMPLETED, 1)
    assert job.progress is not None
    assert (job.progress.done, job.progress.total, job.progress.unit) == (4, 4, "steps")
    assert await events(shop, job) == ["created", "started", "completed"]


@pytest.mark.parametrize("kind", ["steps", "thread_steps", "process_steps"])
async def test_a_running_job_that_heeds_its_cancellation_ends_cancelled(shop: Jalebi, kind: str) -> None:
    job = await shop.submit(kind, count=1000)
    rooms = await shop.open()

    async def moving() -> bool | None:
        progress = rooms.hub.progress(job.id)
        return True if progress is not None and progress.done >= 1 else None

    await eventually(moving)
    assert (await rooms.queue.cancel(job.id, "enough")).state is State.CANCELLING
    over = await finished(shop, job)
    assert (over.state, over.error and over.error["message"]) == (State.CANCELLED, "enough")
    assert await events(shop, over) == ["created", "started", "cancelling", "cancelled"]


@pytest.mark.parametrize("isolation", ["loop", "thread", "process"])
async def test_an_async_function_runs_in_every_isolation(isolation: Any) -> None:
    shop = Jalebi(database_url="sqlite://")
    shop.job(isolation=isolation, name="steps")(kinds.steps)
    shop.target = "tests.targets.kinds:shop"
    async with opened(shop):
        assert (await ended(shop, "steps", count=3)).state is State.COMPLETED


async def test_process_jobs_run_elsewhere_and_use_a_warm_child_again(shop: Jalebi) -> None:
    rooms = await shop.open()
    pids = set()
    for _ in range(3):
        job = await ended(shop, "process_steps", count=1)
        pids.add(await rooms.queue.result(job.id))
    assert len(pids) == 1
    assert str(os.getpid()) not in pids


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("raise", "ValueError", "a bad value"),
        ("exit", "ProcessDied", "exited with code 0 before it handed over a result"),
        ("exit 3", "ProcessDied", "exited with code 3"),
        ("orphan", "ProcessDied", "exited with code 0 before it handed over a result"),
        ("sys.exit", "SystemExit", "1"),
        ("kill", "ProcessDied", "signal 9 (SIGKILL"),
        ("memory", "MemoryError", ""),
        ("nan", "ResultError", "not JSON"),
        ("object", "ResultError", "ctx.attach"),
        ("big", "ResultError", "over the limit of 1048576; keep it as a file with ctx.attach"),
    ],
)
async def test_a_failure_in_a_process_fails_only_its_attempt_and_says_why(
    shop: Jalebi, how: str, kind: str, says: str
) -> None:
    bystander = await shop.submit("steps", count=5)
    job = await ended(shop, "misbehave", how=how)
    assert (job.state, job.attempt) == (State.FAILED, 2)
    assert job.error is not None
    assert (job.error["type"], job.error["attempt"]) == (kind, 2)
    assert says in job.error["message"]
    assert await events(shop, job) == ["created", "started", "retrying", "queued", "started", "failed"]
    assert (await finished(shop, bystander)).state is State.COMPLETED
    assert (await ended(shop, "process_steps")).state is State.COMPLETED


async def test_a_traceback_shows_the_job_and_not_the_worker(shop: Jalebi) -> None:
    job = await ended(shop, "misbehave", how="raise")
    assert job.error is not None
    assert "a bad value" in job.error["traceback"]
    assert "kinds.py" in job.error["traceback"]
    assert "jalebi/runner" not in job.error["traceback"]


async def test_a_job_that_gives_up_is_not_tried_again(shop: Jalebi) -> None:
    job = await ended(shop, "misbehave", how="give up")
    assert (job.state, job.attempt) == (State.FAILED, 1)


async def test_a_job_is_tried_again_until_it_succeeds(shop: Jalebi) -> None:
    job = await ended(shop, "flaky", succeed_on=3)
    assert (job.state, job.attempt, job.error) == (State.COMPLETED, 3, None)


async def test_a_copy_that_a_job_makes_of_its_process_does_not_speak_for_it(shop: Jalebi) -> None:
    rooms = await shop.open()
    forked = await ended(shop, "misbehave", how="fork")
    following = await ended(shop, "process_steps", count=1)
    results = [await rooms.queue.result(job.id) for job in (forked, following)]
    assert forked.state is State.COMPLETED
    assert results[0] == results[1]  # each the number of the same process


async def test_a_process_that_was_signalled_gets_no_other_job(shop: Jalebi) -> None:
    rooms = await shop.open()
    before = await rooms.queue.result((await ended(shop, "process_steps", count=1)).id)
    job = await shop.submit("misbehave", how="sleep")
    await reached(shop, job, State.RUNNING)
    await rooms.queue.cancel(job.id)
    await finished(shop, job)
    assert await rooms.queue.result((await ended(shop, "process_steps", count=1)).id) != before


async def test_a_process_that_does_not_come_up_in_time_fails_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT", 0.1)
    (tmp_path / "slow_target.py").write_text("import time; time.sleep(60)")
    shop = Jalebi(database_url="sqlite://")
    shop.target = str(tmp_path / "slow_target.py")
    shop.job(max_attempts=1)(kinds.process_steps)
    async with opened(shop):
        job = await ended(shop, "process_steps")
        assert job.error is not None
        assert job.error["message"] == ("The child process could not start: it took over 0.1 s to import the target.")


async def test_a_thread_that_outlives_its_job_moves_nothing() -> None:
    shop = Jalebi(database_url="sqlite://")
    over, moved = threading.Event(), threading.Event()

    @shop.job(isolation="thread")
    def leave(ctx: JobContext) -> None:
        def late() -> None:
            over.wait(20)
            ctx.progress(5, 10)
            moved.set()

        threading.Thread(target=late, daemon=True).start()

    async with opened(shop):
        rooms = await shop.open()
        job = await ended(shop, "leave")
        over.set()
        assert await asyncio.to_thread(moved.wait, 20)
        await asyncio.sleep(0)
        assert rooms.hub.progress(job.id) is None


async def test_a_sleeping_process_is_told_to_stop(shop: Jalebi) -> None:
    rooms = await shop.open()
    job = await shop.submit("misbehave", how="sleep")
    await reached(shop, job, State.RUNNING)
    await rooms.queue.cancel(job.id)
    assert (await finished(shop, job)).state is State.CANCELLED


async def test_a_process_that_ignores_every_word_is_killed(shop: Jalebi) -> None:
    rooms = await shop.open()
    job = await shop.submit("misbehave", how="stubborn")
    await reached(shop, job, State.RUNNING)
    await rooms.queue.cancel(job.id)
    assert (await finished(shop, job)).state is State.CANCELLED


async def test_a_polite_process_gets_time_to_put_things_away(shop: Jalebi) -> None:
    rooms = await shop.open()
    job = await shop.submit("misbehave", how="polite")

    async def stirring() -> bool | None:
        return True if await logged(shop, job) else None

    await eventually(stirring)
    await rooms.queue.cancel(job.id)
    assert (await finished(shop, job)).state is State.CANCELLED
    assert await logged(shop, job) == ["stirring", "put away the ladle"]


async def limited(function: Any, **options: Any) -> Job:
    shop = Jalebi(database_url="sqlite://", cancel_grace=0.2)
    shop.target = "tests.targets.kinds:shop"
    shop.job(timeout=0.2, max_attempts=2, backoff=0.01, **options)(function)
    async with opened(shop):
        args = {"how": "stubborn"} if function is kinds.misbehave else {"count": 500}
        return await ended(shop, function.__name__, **args)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (kinds.steps, {}),
        (kinds.thread_steps, {"isolation": "thread"}),
        (kinds.process_steps, {}),
        (kinds.misbehave, {}),
    ],
)
async def test_an_attempt_that_takes_too_long_fails_and_is_retried(function: Any, options: dict[str, Any]) -> None:
    job = await limited(function, **options)
    assert (job.state, job.attempt) == (State.FAILED, 2)
    assert job.error is not None
    assert (job.error["type"], job.error["message"]) == ("Timeout", "The attempt took longer than its 0.2 s.")


async def test_a_stop_inside_a_task_group_is_a_stop() -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job(isolation="thread")
    async def grouped(ctx: JobContext) -> None:
        async def part() -> None:
            while not ctx.cancelled:  # noqa: ASYNC110 - what a polite job does
                await asyncio.sleep(0.01)
            ctx.raise_if_cancelled()

        async with asyncio.TaskGroup() as group:
            group.create_task(part())
            group.create_task(part())

    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("grouped")
        await reached(shop, job, State.RUNNING)
        await rooms.queue.cancel(job.id)
        over = await finished(shop, job)
        assert (over.state, over.error) == (State.CANCELLED, None)


async def test_nothing_that_a_job_raises_reaches_the_server() -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job(max_attempts=1)
    async def leave(how: str) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "cancel": asyncio.CancelledError}[how]

    @shop.job(max_attempts=1, isolation="thread")
    def leave_thread(how: str) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "failed": JobFailed}[how]

    async with opened(shop):
        for kind, how, name in [
            ("leave", "exit", "SystemExit"),
            ("leave", "interrupt", "KeyboardInterrupt"),
            ("leave", "cancel", "CancelledError"),
            ("leave_thread", "exit", "SystemExit"),
            ("leave_thread", "interrupt", "KeyboardInterrupt"),
            ("leave_thread", "failed", "JobFailed"),
        ]:
            job = await ended(shop, kind, how=how)
            assert (job.state, job.error and job.error["type"]) == (State.FAILED, name)


async def test_a_blocking_call_in_an_async_job_is_named_in_its_log() -> None:
    shop = Jalebi(database_url="sqlite://", block_warning=0.1)

    @shop.job
    async def blocks() -> None:
        time.sleep(0.4)  # noqa: ASYNC251 - what is to be noticed

    async with opened(shop):
        job = await ended(shop, "blocks")
        [line] = await logged(shop, job)
        assert line.startswith("blocks held the event loop for")
        assert "time.sleep" in line


async def test_logs_and_files_are_kept_in_order_in_every_isolation() -> None:
    shop = kinds.make_shop(database_url="sqlite://")
    async with opened(shop):
        job = await ended(shop, "chatty", lines=20)
        assert await logged(shop, job) == [f"line {number}" for number in range(1, 21)]
        rooms = await shop.open()
        files = await rooms.store.read(lambda connection: reads.files(connection, job.id))
        assert [(file.name, file.size, file.media_type) for file in files] == [
            ("notes.txt", 10, "text/plain"),
            ("zeros ☃.bin", 100_000, "application/x-zeros"),
        ]
        assert (rooms.files.root / files[0].path).read_bytes() == b"some text\n"


async def test_a_file_attached_again_replaces_the_older_one() -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job(max_attempts=2, backoff=0.01)
    async def attach(ctx: JobContext) -> None:
        ctx.attach(f"attempt {ctx.attempt}".encode(), "a.txt")
        if ctx.attempt == 1:
            raise ValueError("once more")

    async with opened(shop):
        job = await ended(shop, "attach")
        rooms = await shop.open()
        [file] = await rooms.store.read(lambda connection: reads.files(connection, job.id))
        assert (rooms.files.root / file.path).read_bytes() == b"attempt 2"
        kept = [path for path in rooms.files.of_job(job.id).rglob("*") if path.is_file()]
        assert len(kept) == 1


async def test_a_process_kind_that_no_child_can_find_fails_with_the_reason() -> None:
    shop = Jalebi(database_url="sqlite://")

    @shop.job(max_attempts=1)
    def nested() -> None: ...

    async with opened(shop):
        job = await ended(shop, "nested")
        assert job.error is not None
        assert "not found in a child process" in job.error["message"]
        assert "isolation='thread'" in job.error["message"]


@pytest.mark.parametrize("function", ["flood_in_loop", "flood_in_thread"])
async def test_a_flood_of_progress_is_conflated(function: str) -> None:
    async with opened(Jalebi(database_url="sqlite://")) as shop:
        shop.job(flood_in_loop)  # a kind may also come late
        shop.job(isolation="thread")(flood_in_thread)
        rooms = await shop.open()
        before = rooms.store.transactions
        job = await ended(shop, function)
        assert job.progress is not None
        assert job.progress.done == 49_999
        assert rooms.store.transactions - before < 20


def flood_in_thread(ctx: JobContext) -> None:
    for number in range(50_000):
        ctx.progress(number, 50_000)


async def flood_in_loop(ctx: JobContext) -> None:
    for number in range(50_000):
        ctx.progress(number, 50_000)
        if number % 1000 == 0:
            await asyncio.sleep(0)
