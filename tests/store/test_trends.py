"""What the charts show: steps with what came and ended in them, durations, and how many waited."""

import math
from typing import Any

import pytest

from jalebi.errors import StorageUnavailable
from jalebi.jobs import Completed, Failed, failure
from jalebi.store import Store
from jalebi.store.trends import COARSE, FINE, Slot, added, bucket, percentile, trend
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, put


async def slots(store: Store, queue: str | None = None, step: int = FINE) -> list[Slot]:
    """Return all steps."""
    return await store.read(lambda c: trend(c, queue, since=0.0, step=step))  # type: ignore[arg-type]


async def test_steps_are_kept_by_queue_and_for_all_together(store: Store, clock: Clock) -> None:
    clock.now = 1_800_000_000.0
    await put(store, fresh(clock, queue="a"), fresh(clock, queue="a"), fresh(clock, queue="b"))
    clock.now += 2
    first, second = await store.claim(claim(free=2))
    clock.now += 3
    await store.settle(first.id, first.attempt, Completed("null"), None)
    await store.settle(second.id, second.attempt, Failed(failure("E", "no"), retry=False), None)
    clock.now += 5
    await store.record_trends()
    for step in (FINE, COARSE):
        [a] = await slots(store, "a", step)
        assert (a.created, a.completed, a.failed, a.cancelled, a.waiting, a.running) == (2, 1, 1, 0, 0, 0)
        assert a.waits == {bucket(2.0): 2}
        assert a.runs == {bucket(3.0): 2}
        [b] = await slots(store, "b", step)
        assert (b.created, b.waiting) == (1, 1)
        [both] = await slots(store, None, step)
        assert (both.created, both.completed, both.waiting) == (3, 1, 1)


async def test_a_step_is_written_once_it_is_over_and_a_coarse_one_grows(store: Store, clock: Clock) -> None:
    clock.now = 1_800_000_000.0
    await put(store, fresh(clock))
    await store.record_trends()
    assert [slot.created for slot in await slots(store)] == [0]  # what waits is known
    clock.now += FINE
    await put(store, fresh(clock))
    await store.record_trends()
    clock.now += FINE
    await store.record_trends()
    assert [slot.created for slot in await slots(store)][-2:] == [1, 1]
    assert [slot.created for slot in await slots(store, None, COARSE)][-1] == 2


async def test_the_last_seconds_are_written_at_the_end(store: Store, clock: Clock) -> None:
    await put(store, fresh(clock))
    await store.record_trends(everything=True)
    assert sum(slot.created for slot in await slots(store)) == 1


async def test_old_steps_go(store: Store, clock: Clock) -> None:
    await put(store, fresh(clock))
    clock.now += FINE
    await store.record_trends()
    clock.now += 3 * 3600
    await store.record_trends()
    assert len(await slots(store)) == 1
    assert len(await slots(store, None, COARSE)) == 2


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.01, 1.0, 59.0, 3600.0, 86_400.0])
def test_a_percentile_is_within_an_eighth_of_the_truth(seconds: float) -> None:
    found = percentile({bucket(seconds): 10}, 0.95)
    assert found is not None
    assert math.isclose(found, max(seconds, 0.0001), rel_tol=0.13)


def test_percentiles_of_histograms_together() -> None:
    both = added([{bucket(1.0): 90}, {bucket(100.0): 10}, {}])
    assert math.isclose(percentile(both, 0.5) or 0, 1.0, rel_tol=0.13)
    assert math.isclose(percentile(both, 0.95) or 0, 100.0, rel_tol=0.13)
    assert percentile({}, 0.5) is None


async def test_steps_that_the_storage_does_not_take_wait_for_better_times(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, fresh(clock))
    clock.now += FINE
    with monkeypatch.context() as broken:

        def refuse(_: Any) -> Any:
            raise StorageUnavailable("The disk is full.")

        broken.setattr(store, "_put", refuse)
        await store.record_trends()
    assert await slots(store) == []
    await store.record_trends()
    assert sum(slot.created for slot in await slots(store)) == 1
