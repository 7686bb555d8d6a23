"""Errors by groups: the same ones together, counted once each, and the jobs that stand failed with them."""

import asyncio
from typing import Any

import pytest

from jalebi.errors import NotFound
from jalebi.jobs import Failed, Job, State, failure
from jalebi.store import Store, search
from jalebi.store.faults import HOUR, Fault, faults, forget
from jalebi.store.fingerprints import fingerprint
from jalebi.store.reads import Filter
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, get, put

TRACE = 'Traceback (most recent call last):\n  File "/app/shop.py", line {line}, in {name}\n    raise\n{error}\n'


def error(message: str, *, name: str = "pay", line: int = 1, kind: str = "ValueError") -> dict[str, Any]:
    """Return an error as an attempt fails with it."""
    return failure(kind, message, TRACE.format(line=line, name=name, error=message))


async def fail(store: Store, clock: Clock, wrong: dict[str, Any], *, retry: bool = False, **changes: Any) -> Job:
    """Let a new job fail."""
    [job] = await put(store, fresh(clock, **changes))
    [started] = await store.claim(claim(free=1))
    settled = await store.settle(started.id, started.attempt, Failed(wrong, retry=retry, delay=60.0), None)
    assert settled is not None
    assert settled.id == job.id
    return settled


async def groups(store: Store, clock: Clock, **wanted: Any) -> list[Fault]:
    """Return the groups of errors."""
    return await store.read(lambda c: faults(c, now=clock.now, limit=100, **wanted))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (error("bad date 3 May"), error("bad date 4 June", line=99), True),
        (error("no", name="pay"), error("no", name="ship"), False),
        (error("no", kind="ValueError"), error("no", kind="KeyError"), False),
        (failure("Timeout", "it took over 30 s"), failure("Timeout", "it took over 31.5 s"), True),
        (failure("E", "no file 'a.txt'"), failure("E", "no file 'b.txt'"), True),
        (failure("E", "at 0xdeadbeef"), failure("E", "at 0xcafe"), True),
        (failure("E", "disk full"), failure("E", "disk broken"), False),
        (failure("E", "\udcff"), failure("E", "\udcff"), True),
    ],
)
def test_errors_are_the_same_by_type_and_place_whatever_their_particulars(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    assert (fingerprint("pay", one) == fingerprint("pay", other)) is same
    assert fingerprint("pay", one) != fingerprint("mail", one)


async def test_failures_are_counted_by_group_with_the_newest_as_sample(store: Store, clock: Clock) -> None:
    await fail(store, clock, error("bad date 1"))
    began = clock.now
    clock.now += 2 * HOUR
    last = await fail(store, clock, error("bad date 2"))
    clock.now += 1
    await fail(store, clock, error("lost", kind="KeyError"))
    lost, dates = await groups(store, clock)
    assert (lost.type, lost.total, lost.failed) == ("KeyError", 1, 1)
    assert (dates.type, dates.message, dates.total, dates.failed) == ("ValueError", "bad date 2", 2, 2)
    assert (dates.first_at, dates.last_at, dates.sample) == (began, clock.now - 1, last.id)
    assert dates.hours[-1] == 1
    assert dates.hours[-3] == 1
    assert sum(dates.hours) == 2
    assert [one.type for one in await groups(store, clock, before=clock.now)] == ["ValueError"]
    assert [one.type for one in await groups(store, clock, within=0.5)] == ["KeyError"]


async def test_an_attempt_that_is_retried_counts_and_its_job_does_not_stand_failed(store: Store, clock: Clock) -> None:
    job = await fail(store, clock, error("no"), retry=True)
    assert job.state is State.RETRYING
    [group] = await groups(store, clock)
    assert (group.total, group.failed) == (1, 0)


async def test_the_jobs_that_stand_failed_are_found_by_their_error(store: Store, clock: Clock) -> None:
    failed = [await fail(store, clock, error(f"bad {n}")) for n in range(3)]
    other = await fail(store, clock, error("lost", kind="KeyError"))
    dates = next(one for one in await groups(store, clock) if one.type == "ValueError")
    wanted = Filter(states=("failed",), errors=(dates.fingerprint,))
    found = await store.read(lambda c: search.find(c, wanted, limit=10))
    assert [job.id for job in found.jobs] == [job.id for job in reversed(failed)]
    assert await store.read(lambda c: search.count(c, wanted, most=100)) == (3, True)
    assert wanted.wants(failed[0])
    assert not wanted.wants(other)


async def test_a_job_that_is_started_over_or_deleted_stands_failed_no_more(store: Store, clock: Clock) -> None:
    retried, deleted, left = [await fail(store, clock, error("no")) for _ in range(3)]
    await store.retry(retried.id)
    await store.delete(deleted.id)
    [group] = await groups(store, clock)
    assert (group.total, group.failed) == (3, 1)
    found = await store.read(lambda c: search.find(c, Filter(errors=(group.fingerprint,)), limit=10))
    assert [job.id for job in found.jobs] == [left.id]


async def test_a_job_that_fails_and_is_deleted_in_one_transaction_leaves_a_count_only(
    store: Store, clock: Clock
) -> None:
    [job] = await put(store, fresh(clock))
    [started] = await store.claim(claim(free=1))
    settling = store.settle(started.id, started.attempt, Failed(error("no"), retry=False), None)
    await asyncio.gather(settling, store.delete(job.id))
    [group] = await groups(store, clock)
    assert (group.total, group.failed) == (1, 0)
    with pytest.raises(NotFound):
        await store.delete(job.id)


async def test_what_nobody_has_seen_for_long_is_forgotten_unless_jobs_stand_failed_with_it(
    store: Store, clock: Clock
) -> None:
    job = await fail(store, clock, error("old"))
    await fail(store, clock, error("older", kind="KeyError"), retry=True)
    clock.now += 100 * HOUR
    with store._lock:
        forget(store._connection, clock.now)
    [group] = await groups(store, clock)
    assert group.type == "ValueError"
    assert sum(group.hours) == 0
    assert (await get(store, job)).state is State.FAILED
