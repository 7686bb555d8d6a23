import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from jalebi.errors import JobActive, JobFinished, NotFound, QueueFull, StorageUnavailable
from jalebi.events import Event
from jalebi.ids import new_id
from jalebi.jobs import Completed, Failed, Job, Progress, Released, State, failure
from jalebi.store import Store, missed, reads, search
from jalebi.store.attempts import Claim, Nudge, SettleFenced
from jalebi.store.tx import Op, Tx
from jalebi.store.verbs import Delete, Retry
from tests.store.conftest import Clock
from tests.test_jobs import a_job

KINDS = ["report", "mail"]
ERROR = failure("ValueError", "no")


def fresh(clock: Clock, **changes: Any) -> Job:
    return a_job(id=new_id(clock.now), created_at=clock.now, **changes)


async def put(store: Store, *jobs: Job) -> list[Job]:
    return list((await store.submit(jobs, max_waiting=1000)).jobs)


async def get(store: Store, job: Job) -> Job:
    found = await store.read(lambda connection: reads.job(connection, job.id))
    assert found is not None
    return found


def claim(free: int = 10, caps: Mapping[str, int] | None = None, **changes: Any) -> Claim:
    known: dict[str, int | None] = dict.fromkeys(changes.pop("kinds", KINDS)) | changes.pop("max_running", {})
    given: dict[str, Any] = {"worker": "w", "lease": 30.0} | changes
    return Claim(free=lambda: free, kinds=lambda: known, caps=lambda: caps or {}, **given)


async def test_a_stored_job_is_read_back_as_it_was(store: Store, clock: Clock) -> None:
    [stored] = await put(
        store, fresh(clock, tags=("a", "ü"), args='{"x":1}', run_at=clock.now + 60, state=State.SCHEDULED)
    )
    assert await get(store, stored) == stored
    assert stored.cursor == 1


async def test_what_arrives_together_shares_one_transaction(store: Store, clock: Clock) -> None:
    before = store.transactions
    await asyncio.gather(*(put(store, fresh(clock)) for _ in range(200)))
    assert store.transactions - before < 20


async def test_a_claim_takes_the_highest_priority_then_the_oldest(store: Store, clock: Clock) -> None:
    low, first, second, high = await put(
        store,
        fresh(clock, priority=-1),
        fresh(clock),
        fresh(clock, kind="mail"),
        fresh(clock, priority=5),
    )
    started = await store.claim(claim(free=3))
    assert [job.id for job in started] == [high.id, first.id, second.id]
    assert all(job.state is State.RUNNING and job.attempt == 1 and job.worker == "w" for job in started)
    assert (await get(store, low)).state is State.QUEUED


async def test_a_claim_waits_for_work_and_gets_it_in_the_commit_that_brings_it(store: Store, clock: Clock) -> None:
    waiting = asyncio.ensure_future(store.claim(claim()))
    await store.nudge()
    assert not waiting.done()
    before = store.transactions
    [stored] = await put(store, fresh(clock))
    assert [job.id for job in await waiting] == [stored.id]
    assert store.transactions == before + 1


async def test_two_claims_never_get_the_same_job(store: Store, clock: Clock) -> None:
    await put(store, *(fresh(clock) for _ in range(20)))
    got = await asyncio.gather(*(store.claim(claim(free=4, worker=str(n))) for n in range(5)))
    ids = [job.id for jobs in got for job in jobs]
    assert len(ids) == len(set(ids)) == 20


async def test_a_claim_leaves_kinds_that_it_does_not_know_or_may_not_start(store: Store, clock: Clock) -> None:
    await put(store, *(fresh(clock, kind=kind) for kind in ("other", "mail", "mail", "report")))
    started = await store.claim(claim(caps={"mail": 1}))
    assert Counter(job.kind for job in started) == {"mail": 1, "report": 1}


async def test_a_kind_runs_no_more_jobs_at_once_than_it_allows(store: Store, clock: Clock) -> None:
    await put(store, *(fresh(clock) for _ in range(3)))
    [first, second] = await store.claim(claim(max_running={"report": 2}))
    waiting = asyncio.ensure_future(store.claim(claim(max_running={"report": 2})))
    await store.nudge()
    assert not waiting.done()
    await store.settle(first.id, 1, Completed("null"), None)
    assert len(await waiting) == 1
    assert second.state is State.RUNNING


async def test_every_move_leaves_an_event_with_the_next_number(store: Store, clock: Clock, heard: list[Event]) -> None:
    [stored] = await put(store, fresh(clock, max_attempts=2))
    await store.claim(claim())
    await store.record_log(stored.id, 1, "info", "hello", at=clock.now, keep_lines=100)
    file = {"name": "a", "size": 1, "media_type": "text/plain", "path": "x"}
    await store.record_file(stored.id, 1, file, at=clock.now)
    await store.settle(stored.id, 1, Failed(ERROR), None)
    await store.claim(claim())
    await store.settle(stored.id, 2, Completed('{"pages":3}'), Progress(done=3, total=3))
    types = ["created", "started", "log", "file", "retrying", "queued", "started", "completed"]
    assert [(event.seq, event.type) for event in heard] == list(enumerate(types, start=1))
    assert [event.number for event in heard] == list(range(1, 9))
    kept = await store.read(lambda connection: missed.events_of(connection, job_id=stored.id, after=0))
    assert [(e.number, e.seq, e.type, e.job.state, e.extra) for e in kept] == [
        (e.number, e.seq, e.type, e.job.state, e.extra) for e in heard
    ]
    assert kept[4].job.error == ERROR | {"attempt": 1}
    assert kept[-1].job.error is None
    assert await store.read(lambda connection: reads.result(connection, stored.id)) == '{"pages":3}'
    assert (await get(store, stored)).seq == 8


async def test_a_write_of_an_attempt_that_lost_its_job_is_refused(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock, max_attempts=5))
    await store.claim(claim())
    clock.now += 31
    await store.rescue(ERROR, lambda _: 0.0)
    [again] = await store.claim(claim())
    assert again.attempt == 2
    assert await store.settle(stored.id, 1, Completed("1"), None) is None
    assert await store.record_log(stored.id, 1, "info", "x", at=0.0, keep_lines=9) is None
    assert await store.renew([(stored.id, 1)], 30.0) == []
    await store.save_progress(stored.id, 1, Progress(done=9))
    now = await get(store, stored)
    assert (now.state, now.attempt, now.progress) == (State.RUNNING, 2, None)


async def test_a_renewed_lease_is_not_rescued_and_one_that_ended_is(store: Store, clock: Clock) -> None:
    kept, lost = await put(store, fresh(clock), fresh(clock))
    await store.claim(claim())
    clock.now += 20
    assert [job.id for job in await store.renew([(kept.id, 1)], 30.0)] == [kept.id]
    clock.now += 20
    assert [job.id for job in await store.rescue(ERROR, lambda _: 1.0)] == [lost.id]
    assert (await get(store, lost)).state is State.RETRYING
    assert (await get(store, kept)).state is State.RUNNING
    assert len(await store.rescue(ERROR, lambda _: 1.0, everyone=True)) == 1


async def test_a_crash_uses_up_an_attempt_and_a_release_does_not(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock, max_attempts=1))
    await store.claim(claim())
    await store.settle(stored.id, 1, Released(), None)
    await store.claim(claim())
    assert (await get(store, stored)).attempt == 2
    await store.rescue(ERROR, lambda _: 0.0, everyone=True)
    assert (await get(store, stored)).state is State.FAILED


async def test_a_job_comes_due_at_its_time(store: Store, clock: Clock, heard: list[Event]) -> None:
    [stored] = await put(store, fresh(clock, state=State.SCHEDULED, run_at=clock.now + 5))
    waiting = asyncio.ensure_future(store.claim(claim()))
    await store.nudge()
    assert not waiting.done()
    clock.now += 5.1
    await store.nudge()
    assert [job.id for job in await waiting] == [stored.id]
    assert [event.type for event in heard] == ["created", "queued", "started"]
    assert (await get(store, stored)).run_at is None


async def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(store: Store, clock: Clock) -> None:
    first, second = await put(store, fresh(clock), fresh(clock))
    _, after = await store.cancel(first.id, "changed my mind")
    assert (after.state, after.error) == (State.CANCELLED, failure("Cancelled", "changed my mind"))
    await store.claim(claim())
    _, after = await store.cancel(second.id, None)
    assert after.state is State.CANCELLING
    settled = await store.settle(second.id, 1, Completed("1"), None)
    assert settled is not None
    assert settled.state is State.CANCELLED
    assert await store.read(lambda connection: reads.result(connection, second.id)) is None


async def test_a_finished_job_is_retried_under_the_next_number_and_loses_its_result(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    with pytest.raises(JobActive):
        await store.retry(stored.id)
    await store.claim(claim())
    await store.settle(stored.id, 1, Completed("1"), None)
    with pytest.raises(JobFinished):
        await store.cancel(stored.id, None)
    assert (await store.retry(stored.id)).state is State.QUEUED
    assert await store.read(lambda connection: reads.result(connection, stored.id)) is None
    [again] = await store.claim(claim())
    assert (again.attempt, again.tries) == (2, 1)


async def test_a_deleted_job_leaves_nothing_behind(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock, tags=("t",)))
    await store.claim(claim())
    with pytest.raises(JobActive):
        await store.delete(stored.id)
    await store.settle(stored.id, 1, Completed("1"), None)
    await store.delete(stored.id)
    with pytest.raises(NotFound):
        await store.delete(stored.id)

    def rows(connection: Any) -> dict[str, int]:
        tables = ("job", "event", "result", "file", "job_tag")
        return {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in tables}

    assert set((await store.read(rows)).values()) == {0}
    # The numbers of deleted events are not given again.
    [following] = await put(store, fresh(clock))
    assert following.cursor == 4


async def test_a_full_queue_refuses_and_stores_nothing(store: Store, clock: Clock) -> None:
    await store.submit([fresh(clock), fresh(clock)], max_waiting=3)
    with pytest.raises(QueueFull):
        await store.submit([fresh(clock), fresh(clock)], max_waiting=3)
    await store.submit([fresh(clock, queue="other")], max_waiting=3)
    await store.submit([fresh(clock)], max_waiting=3)
    assert (await store.read(reads.counts))["queued"] == 4


async def test_one_bad_write_does_not_spoil_those_beside_it(store: Store, clock: Clock) -> None:
    good, twice = fresh(clock), fresh(clock)
    await put(store, twice)
    results = await asyncio.gather(
        put(store, good), put(store, twice), put(store, fresh(clock)), return_exceptions=True
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert (await store.read(reads.counts))["queued"] == 3


async def test_the_counts_are_those_of_the_rows_after_any_moves(store: Store, clock: Clock) -> None:
    jobs = await put(store, *(fresh(clock, queue=f"q{n % 3}") for n in range(12)))
    await store.claim(claim(free=7))
    await store.cancel(jobs[0].id, None)
    await store.settle(jobs[1].id, 1, Completed("1"), None)
    await store.settle(jobs[2].id, 1, Failed(ERROR, retry=False), None)
    await store.cancel(jobs[11].id, None)
    await store.delete(jobs[11].id)

    def counted(connection: Any) -> dict[str, int]:
        return dict(connection.exec_driver_sql("SELECT state, count(*) FROM job GROUP BY state").all())

    kept = await store.read(reads.counts)
    assert {state: n for state, n in kept.items() if n} == await store.read(counted)
    by_queue = await store.read(reads.queue_counts)
    assert sum(n for states in by_queue.values() for n in states.values()) == 11


async def test_old_log_lines_lose_their_text_but_no_number_is_missing(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    await store.claim(claim())
    for number in range(1, 401):
        await store.record_log(stored.id, 1, "info", f"line {number}", at=clock.now, keep_lines=100)
    lines = await store.read(lambda connection: reads.log_lines(connection, stored.id))
    assert [line.line for line in lines] == list(range(301, 401))
    kept = await store.read(lambda connection: missed.events_of(connection, job_id=stored.id, after=0))
    assert [event.seq for event in kept] == list(range(1, 403))
    assert kept[2].extra == {"log": {"line": 1, "level": "info", "message": "", "dropped": True}}


async def test_places_in_line_follow_priority_and_age_in_each_queue(store: Store, clock: Clock) -> None:
    jobs = await put(
        store, fresh(clock), fresh(clock, priority=3), fresh(clock, queue="other"), fresh(clock), fresh(clock)
    )
    places = await store.read(lambda connection: reads.positions(connection, [job.id for job in jobs]))
    assert [places[job.id] for job in jobs] == [2, 1, 1, 3, 4]


async def test_lists_are_filtered_and_paged_newest_first(store: Store, clock: Clock) -> None:
    jobs = []
    for number in range(10):
        clock.now += 1
        changes = {"kind": KINDS[number % 2], "tags": (f"t{number % 3}",), "args": f'{{"n":"50%_{number}"}}'}
        jobs += await put(store, fresh(clock, **changes))

    async def found(limit: int = 100, before: str | None = None, **wanted: Any) -> list[int]:
        page = await store.read(
            lambda connection: search.find(connection, reads.Filter(**wanted), limit=limit, before=before).jobs
        )
        return [next(n for n, job in enumerate(jobs) if job.id == one.id) for one in page]

    assert await found() == list(range(9, -1, -1))
    assert await found(limit=3, before=jobs[5].id) == [4, 3, 2]
    assert await found(kinds=("mail",)) == [9, 7, 5, 3, 1]
    assert await found(tags=("t1",), kinds=("report",)) == [4]
    assert await found(text="50%_7") == [7]
    assert await found(text="MAIL", limit=1) == [9]
    assert await found(text="0%7") == []
    assert await found(created_after=jobs[7].created_at) == [9, 8]
    assert await found(created_before=jobs[2].created_at) == [1, 0]
    assert await found(states=("running", "failed")) == []


async def test_a_job_of_an_unknown_id_is_not_found(store: Store) -> None:
    for verb in (store.retry("x"), store.delete("x"), store.cancel("x", None)):
        with pytest.raises(NotFound):
            await verb


async def test_progress_is_kept_with_the_attempt_that_made_it(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    await store.claim(claim())
    progress = Progress(done=1, total=4, unit="pages", message="m", rate=2.0, updated_at=clock.now)
    await store.save_progress(stored.id, 1, progress)
    assert (await get(store, stored)).progress == progress
    done = await store.settle(stored.id, 1, Completed("1"), replace(progress, done=4))
    assert done is not None
    assert done.progress == replace(progress, done=4)


def put_together(store: Store, *ops: Op) -> list["asyncio.Future[Any]"]:
    """Hand in operations while the writer is held up, so that one transaction takes them all."""
    assert store._writer is not None
    with store._lock:
        store._writer.put(Nudge())  # at most this one is taken alone
        return [store._writer.put(op) for op in ops]


async def answers(store: Store, *ops: Op) -> list[Any]:
    before = store.transactions
    found = await asyncio.gather(*put_together(store, *ops), return_exceptions=True)
    assert store.transactions <= before + 2
    return found


async def test_a_zombie_does_not_take_the_settlement_of_the_attempt_beside_it(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    await store.claim(claim())
    await store.settle(stored.id, 1, Released(), None)
    await store.claim(claim())
    zombie, right = await answers(
        store, *(SettleFenced(stored.id, attempt, Completed("1"), None) for attempt in (1, 2))
    )
    assert zombie is None
    assert right.state is State.COMPLETED


async def test_two_deletions_of_a_running_job_at_once_are_both_refused(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    await store.claim(claim())
    found = await answers(store, Delete(stored.id), Delete(stored.id))
    assert [type(answer) for answer in found] == [JobActive, JobActive]


async def test_a_job_deleted_in_the_transaction_that_moves_it_leaves_nothing(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    await store.cancel(stored.id, None)
    retried, deleted = await answers(store, Retry(stored.id), Delete(stored.id))
    assert retried[1].state is deleted.state is State.QUEUED
    left = "SELECT count(*) FROM event WHERE job_id = ?"
    assert await store.read(lambda connection: connection.exec_driver_sql(left, (stored.id,)).scalar_one()) == 0


async def test_a_claim_goes_on_waiting_where_the_transaction_that_met_it_is_undone(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.ensure_future(store.claim(claim(free=1)))
    await store.nudge()

    def broken(_: Tx) -> None:
        raise OperationalError("disk I/O error")

    class OperationalError(Exception):
        """What SQLite's is called."""

    with monkeypatch.context() as patch:
        patch.setattr(Tx, "finish", broken)
        with pytest.raises(StorageUnavailable):
            await put(store, fresh(clock))
        refused = asyncio.ensure_future(store.claim(claim(free=1)))
        with pytest.raises(StorageUnavailable):
            await put(store, fresh(clock))
        refused.cancel()
    stored = await put(store, fresh(clock), fresh(clock), fresh(clock))
    assert [job.id for job in await waiting] == [stored[0].id]
