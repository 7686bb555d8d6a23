"""What follows when jobs end: others start or are cancelled, batches are over, webhooks are written, in one commit."""

import asyncio
import json
from typing import Any

import pytest

from jalebi.errors import ValidationFailed
from jalebi.events import Event
from jalebi.ids import new_id
from jalebi.jobs import Completed, Failed, Job, State, Ties, Webhook, failure
from jalebi.store import Store, batches
from jalebi.store.ties import NewBatch
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, get

HOOK = Webhook("https://example.com/hook", ("failed", "completed"))


async def rows(store: Store, statement: str) -> list[tuple[Any, ...]]:
    return await store.read(lambda connection: [tuple(row) for row in connection.exec_driver_sql(statement)])


async def put(store: Store, *jobs: Job, batch: NewBatch | None = None) -> list[Job]:
    submitted = await store.submit(
        jobs, max_waiting=1000, batch=batch, pointers=[f"/jobs/{n}" for n in range(len(jobs))]
    )
    return list(submitted.jobs)


async def run(store: Store, *, fails: bool = False) -> Job:
    """Start the next job and end it."""
    [job] = await store.claim(claim(free=1))
    outcome = Failed(failure("ValueError", "no"), retry=False) if fails else Completed("1")
    settled = await store.settle(job.id, job.attempt, outcome, None)
    assert settled is not None
    return settled


async def test_what_starts_by_an_end_is_in_the_same_transaction(store: Store, clock: Clock, heard: list[Event]) -> None:
    [first] = await put(store, fresh(clock))
    [second] = await put(store, fresh(clock, ties=Ties((first.id,))))
    assert second.state is State.BLOCKED
    assert await get(store, second) == second
    [job] = await store.claim(claim(free=1))
    before = store.transactions
    await store.settle(job.id, job.attempt, Completed("1"), None)
    assert store.transactions == before + 1
    assert [(event.job.id, event.type) for event in heard[-2:]] == [(first.id, "completed"), (second.id, "queued")]
    assert await rows(store, "SELECT * FROM dependency") == []


async def test_a_chain_falls_at_once_whatever_its_length(store: Store, clock: Clock) -> None:
    chain = [fresh(clock)]
    for _ in range(50):
        chain.append(fresh(clock, ties=Ties((chain[-1].id,))))
    await put(store, *chain)
    await run(store, fails=True)
    states = await rows(store, "SELECT state, count(*) FROM job GROUP BY state ORDER BY state")
    assert states == [("cancelled", 50), ("failed", 1)]
    assert await rows(store, "SELECT * FROM dependency") == []


async def test_nothing_is_stored_of_jobs_that_wait_for_what_is_not_there(store: Store, clock: Clock) -> None:
    [good] = await put(store, fresh(clock))
    jobs = [fresh(clock), fresh(clock, ties=Ties((good.id, "none", "nor this")))]
    with pytest.raises(ValidationFailed) as refused:
        await put(store, *jobs, batch=NewBatch(new_id(), HOOK))
    assert [error["pointer"] for error in refused.value.errors] == ["/jobs/1/after/1", "/jobs/1/after/2"]
    assert await rows(store, "SELECT id FROM job") == [(good.id,)]
    assert await rows(store, "SELECT * FROM dependency UNION ALL SELECT id, id FROM batch") == []


async def test_an_end_that_is_asked_for_writes_a_message_and_no_other(store: Store, clock: Clock) -> None:
    store.root = "https://jobs.example.com"
    jobs = [fresh(clock, ties=Ties(webhook=HOOK)), fresh(clock, ties=Ties(webhook=HOOK)), fresh(clock)]
    await put(store, *jobs)
    await store.cancel(jobs[1].id, None)
    await run(store)
    await run(store, fails=True)
    [(event, url, body, job_id, state, tries, due)] = await rows(
        store, "SELECT event, url, body, job_id, state, tries, next_at FROM delivery"
    )
    assert (event, url, job_id, state, tries, due) == ("job.completed", HOOK.url, jobs[0].id, "pending", 0, clock.now)
    message = json.loads(body)
    assert message["type"] == "job.completed"
    assert message["data"]["state"] == "completed"
    assert message["data"]["links"]["self"] == f"https://jobs.example.com/v1/jobs/{jobs[0].id}"
    await store.retry(jobs[0].id)
    await run(store)
    ids = await rows(store, "SELECT id FROM delivery")
    assert len(set(ids)) == 2


async def test_a_batch_is_told_of_once_when_its_last_job_ends(store: Store, clock: Clock) -> None:
    batch = NewBatch(new_id(), HOOK)
    jobs = [fresh(clock, batch=batch.id) for _ in range(3)]
    await put(store, *jobs, batch=batch)
    for fails in (False, True):
        await run(store, fails=fails)
        assert await rows(store, "SELECT * FROM delivery") == []
    await run(store)
    [(event, about, body)] = await rows(store, "SELECT event, batch, body FROM delivery")
    assert (event, about) == ("batch.failed", batch.id)
    assert json.loads(body)["data"]["counts"]["completed"] == 2


async def test_a_batch_goes_with_the_last_of_its_jobs_and_fails_those_that_wait_for_it(
    store: Store, clock: Clock
) -> None:
    batch = NewBatch(new_id(), HOOK)
    jobs = [fresh(clock, batch=batch.id) for _ in range(2)]
    last = fresh(clock, ties=Ties((batch.id,)))
    await put(store, *jobs, last, batch=batch)
    await run(store)
    await store.delete(jobs[0].id)
    found = await store.read(lambda connection: batches.batch(connection, batch.id))
    assert found is not None
    assert found.counts == {"queued": 1}
    await store.delete(jobs[1].id)
    assert await store.read(lambda connection: batches.batch(connection, batch.id)) is None
    assert (await get(store, last)).state is State.CANCELLED
    for table in ("batch", "batch_tally", "dependency", "delivery"):
        assert await rows(store, f"SELECT * FROM {table}") == [], table


async def test_what_is_purged_takes_its_messages_with_it(store: Store, clock: Clock) -> None:
    store.keep = 60.0
    [job] = await put(store, fresh(clock, ties=Ties(webhook=HOOK)))
    await run(store)
    assert len(await rows(store, "SELECT * FROM delivery")) == 1
    clock.now += 61
    assert await store.prune(surplus=0, keys_before=0) == [job.id]
    assert await rows(store, "SELECT * FROM delivery") == []


async def test_a_batch_is_told_of_when_its_last_open_job_is_deleted_and_not_again_when_it_is_purged(
    store: Store, clock: Clock
) -> None:
    batch = NewBatch(new_id(), HOOK)
    jobs = [fresh(clock, batch=batch.id) for _ in range(3)]
    await put(store, *jobs, batch=batch)
    for _ in range(2):
        await run(store)
    await store.delete(jobs[2].id)
    assert await rows(store, "SELECT event FROM delivery") == [("batch.completed",)]
    await store.delete(jobs[0].id)
    assert await rows(store, "SELECT event FROM delivery") == [("batch.completed",)]


async def test_a_job_that_is_deleted_in_the_transaction_of_its_end_is_told_of_to_nobody(
    store: Store, clock: Clock
) -> None:
    hook = Webhook(HOOK.url, ("cancelled",))
    [job] = await put(store, fresh(clock, ties=Ties(webhook=hook)))
    before = store.transactions
    await asyncio.gather(store.cancel(job.id, None), store.delete(job.id))
    assert store.transactions == before + 1
    assert await rows(store, "SELECT * FROM delivery") == []
