"""Queues: pause, limits, and claims that respect both without reading what they may not start."""

from jalebi.jobs import Completed
from jalebi.store import Store
from jalebi.store.lines import Line, lines, paused
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, put


async def line(store: Store, clock: Clock, name: str) -> Line | None:
    """Return one queue."""
    found = await store.read(lambda c: lines(c, clock.now))
    return next((one for one in found if one.name == name), None)


async def test_a_queue_tells_what_waits_and_how_long(store: Store, clock: Clock) -> None:
    await put(store, fresh(clock, queue="a"))
    clock.now += 30
    await put(store, fresh(clock, queue="a", priority=9), fresh(clock, queue="b"))
    clock.now += 5
    found = await line(store, clock, "a")
    assert found is not None
    assert (found.counts["queued"], found.oldest_wait, found.paused, found.max_running) == (2, 35, False, None)
    await store.claim(claim(free=1))
    found = await line(store, clock, "a")
    assert found is not None
    assert found.running == 1


async def test_a_paused_queue_is_passed_over_and_resumed_in_its_order(store: Store, clock: Clock) -> None:
    first, second, other = await put(store, fresh(clock, queue="a"), fresh(clock, queue="a"), fresh(clock, queue="b"))
    await store.rule("a", paused=True)
    assert await store.read(paused) == {"a"}
    assert [job.id for job in await store.claim(claim())] == [other.id]
    waiting = claim()
    claimed = store.claim(waiting)
    await store.rule("a", paused=False)
    assert [job.id for job in await claimed] == [first.id, second.id]
    assert await store.read(paused) == set()


async def test_a_queue_runs_no_more_at_once_than_its_limit(store: Store, clock: Clock) -> None:
    made = await put(store, *(fresh(clock, queue="a", kind=kind) for kind in ("report", "mail", "report", "mail")))
    await store.rule("a", max_running=2)
    started = await store.claim(claim())
    assert [job.id for job in started] == [made[0].id, made[1].id]
    claimed = store.claim(claim())
    await store.settle(started[0].id, 1, Completed("null"), None)
    assert [job.id for job in await claimed] == [made[2].id]
    claimed = store.claim(claim())
    await store.rule("a", max_running=None)
    assert [job.id for job in await claimed] == [made[3].id]
    assert (await line(store, clock, "a")) is not None


async def test_a_queue_about_which_nothing_is_decided_leaves_no_row(store: Store, clock: Clock) -> None:
    await store.rule("x", paused=True)
    assert (await line(store, clock, "x")) == Line("x", {}, None, None, True)
    await store.rule("x", paused=False)
    assert await line(store, clock, "x") is None


async def test_priorities_hold_across_queues_and_kinds(store: Store, clock: Clock) -> None:
    low, high, middle = await put(
        store,
        fresh(clock, queue="a", kind="report"),
        fresh(clock, queue="b", kind="mail", priority=9),
        fresh(clock, queue="c", kind="report", priority=5),
    )
    assert [job.id for job in await store.claim(claim())] == [high.id, middle.id, low.id]


async def test_very_many_queues_are_claimed_from_in_their_common_order(store: Store, clock: Clock) -> None:
    made = await put(store, *(fresh(clock, queue=f"q{n}", priority=n % 3) for n in range(90)))
    expected = [job.id for job in sorted(made, key=lambda job: (-job.priority, job.id))]
    assert [job.id for job in await store.claim(claim(free=40))] == expected[:40]
    await store.rule("q5", paused=True)
    await store.rule("q5", paused=False)
    assert [job.id for job in await store.claim(claim(free=100))] == expected[40:]
