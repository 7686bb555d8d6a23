"""What is purged, and what stays: by age, by number, and never more at once than a submission can wait for."""

from typing import Any

import pytest

from jalebi.errors import NotFound
from jalebi.jobs import Completed, Job, State
from jalebi.store import Store, reads, search
from jalebi.store.submissions import Keyed
from jalebi.store.verbs import Prune
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, put

DAY = 86400.0


@pytest.fixture
def keeping(store: Store) -> Store:
    store.keep = DAY
    return store


async def over(store: Store, clock: Clock, count: int, **changes: Any) -> list[Job]:
    """Return jobs that were submitted and completed, one second after the other."""
    done = []
    for _ in range(count):
        clock.now += 1
        [job] = await put(store, fresh(clock, **changes))
        await store.claim(claim())
        settled = await store.settle(job.id, 1, Completed("1"), None)
        assert settled is not None
        done.append(settled)
    return done


async def ids(store: Store) -> set[str]:
    return {job.id for job in await store.read(lambda c: search.find(c, reads.Filter(), limit=1000).jobs)}


async def test_a_finished_job_says_until_when_it_is_kept(keeping: Store, clock: Clock) -> None:
    [job] = await over(keeping, clock, 1)
    assert job.expires_at == clock.now + DAY
    [waiting] = await put(keeping, fresh(clock))
    assert waiting.expires_at is None
    _, cancelled = await keeping.cancel(waiting.id, None)
    assert cancelled.expires_at == clock.now + DAY
    assert (await keeping.retry(job.id)).expires_at is None


async def test_only_what_is_too_old_goes(keeping: Store, clock: Clock) -> None:
    old = await over(keeping, clock, 2, tags=("t",))
    [waiting] = await put(keeping, fresh(clock))
    clock.now += DAY / 2
    await keeping.cancel(waiting.id, None)
    [retried] = await over(keeping, clock, 1)
    await keeping.retry(retried.id)
    clock.now += DAY / 2
    assert await keeping.prune(surplus=0, keys_before=0.0) == [job.id for job in old]
    assert await keeping.prune(surplus=0, keys_before=0.0) == []
    assert await ids(keeping) == {waiting.id, retried.id}

    def rows(connection: Any) -> set[int]:
        tables = ("event", "result", "job_tag")
        gone = f"job_id IN ('{old[0].id}', '{old[1].id}')"
        return {connection.exec_driver_sql(f"SELECT count(*) FROM {name} WHERE {gone}").scalar_one() for name in tables}

    assert await keeping.read(rows) == {0}
    assert (await keeping.read(reads.counts))["completed"] == 0


async def test_the_oldest_go_first_where_there_are_too_many(keeping: Store, clock: Clock) -> None:
    done = await over(keeping, clock, 5)
    [running] = await put(keeping, fresh(clock))
    await keeping.claim(claim())
    assert await keeping.prune(surplus=2, keys_before=0.0) == [job.id for job in done[:2]]
    assert await ids(keeping) == {job.id for job in done[2:]} | {running.id}
    assert await keeping.prune(surplus=1000, keys_before=0.0) == [job.id for job in done[2:]]
    assert await ids(keeping) == {running.id}  # what is not over is never surplus


async def test_the_floor_is_the_highest_number_that_was_purged(keeping: Store, clock: Clock) -> None:
    assert await keeping.read(reads.floor) == 0
    done = await over(keeping, clock, 3)
    await keeping.prune(surplus=2, keys_before=0.0)
    assert await keeping.read(reads.floor) == done[1].cursor
    # A job that is deleted by hand leaves every other event where it is.
    await keeping.delete(done[2].id)
    assert await keeping.read(reads.floor) == done[1].cursor


async def test_one_transaction_purges_no_more_than_it_may(
    keeping: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prune, "EVENTS", 7)  # three events a job
    done = await over(keeping, clock, 5)
    clock.now += DAY
    assert [len(await keeping.prune(surplus=0, keys_before=0.0)) for _ in range(3)] == [3, 2, 0]
    assert all(job.state is State.COMPLETED for job in done)


async def test_a_job_that_ends_and_goes_in_one_commit_leaves_no_rows(keeping: Store, clock: Clock) -> None:
    keeping.keep = 0.0
    [job] = await over(keeping, clock, 1)
    [following] = await put(keeping, fresh(clock))
    await keeping.claim(claim())
    assert await keeping.prune(surplus=0, keys_before=0.0) == [job.id]
    settling = keeping.settle(following.id, 1, Completed("1"), None)
    await settling
    assert await keeping.prune(surplus=0, keys_before=0.0) == [following.id]


async def test_an_old_key_is_forgotten_and_a_young_one_is_not(keeping: Store, clock: Clock) -> None:
    keyed = Keyed("", "k", "print")
    [first] = (await keeping.submit([fresh(clock)], max_waiting=10, keyed=keyed)).jobs
    clock.now += DAY
    await keeping.prune(surplus=0, keys_before=clock.now - DAY)
    again = await keeping.submit([fresh(clock)], max_waiting=10, keyed=keyed)
    assert (again.replayed, [job.id for job in again.jobs]) == (True, [first.id])
    clock.now += 1
    await keeping.prune(surplus=0, keys_before=clock.now - DAY)
    assert not (await keeping.submit([fresh(clock)], max_waiting=10, keyed=keyed)).replayed


async def test_a_key_of_a_deleted_job_says_so(store: Store, clock: Clock) -> None:
    keyed = Keyed("", "k", "print")
    [first] = (await store.submit([fresh(clock)], max_waiting=10, keyed=keyed)).jobs
    await store.delete(first.id)
    with pytest.raises(NotFound):
        await store.submit([fresh(clock)], max_waiting=10, keyed=keyed)


async def test_a_batch_with_a_key_is_one_submission(store: Store, clock: Clock) -> None:
    keyed = Keyed("", "k", "print")
    first = await store.submit([fresh(clock), fresh(clock)], max_waiting=10, keyed=keyed)
    again = await store.submit([fresh(clock), fresh(clock)], max_waiting=10, keyed=keyed)
    assert (first.replayed, again.replayed) == (False, True)
    assert [job.id for job in again.jobs] == [job.id for job in first.jobs]
    assert (await store.read(reads.counts))["queued"] == 2
