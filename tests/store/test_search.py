"""Finding and counting jobs: any filter gives what a scan would, in any page size, and no query plan has a scan."""

import random
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Connection

from jalebi.ids import id_time, new_id
from jalebi.jobs import Job, State
from jalebi.store import Store, search
from jalebi.store.reads import Filter, positions
from tests.store.conftest import Clock
from tests.store.test_verbs import fresh, put

STATES = (State.QUEUED, State.SCHEDULED, State.RETRYING, State.BLOCKED)


@pytest.fixture
async def many(store: Store, clock: Clock) -> list[Job]:
    """Some jobs of all sorts, oldest first."""
    chance = random.Random(7)
    made: list[Job] = []
    for number in range(150):
        clock.now += chance.choice([0.0, 0.5, 3.0])
        made.append(
            fresh(
                clock,
                kind=chance.choice(["report", "mail", "rare"] if number % 50 == 0 else ["report", "mail"]),
                queue=chance.choice(["a", "b", "c"]),
                state=chance.choice(STATES),
                priority=chance.choice([0, 0, 5]),
                tags=tuple(chance.sample(["x", "y", "z"], chance.randrange(3))),
                args=f'{{"n":"{number % 17}"}}',
                run_at=clock.now + 1e6,
            )
        )
    await put(store, *made)
    return made


def filters(many: list[Job]) -> list[Filter]:
    """All sorts of filters."""
    middle, late = many[50].created_at, many[100].created_at
    ids = (many[3].id, many[120].id, many[42].id, "no-such-id")
    return [
        Filter(),
        Filter(states=("queued",)),
        Filter(states=("queued", "retrying", "queued")),
        Filter(kinds=("rare",)),
        Filter(kinds=("report", "mail"), queues=("a",)),
        Filter(states=("queued", "blocked"), kinds=("mail",), queues=("b", "c")),
        Filter(tags=("x",)),
        Filter(tags=("x", "y"), states=("scheduled",)),
        Filter(text='"3"'),
        Filter(text="rare", queues=("a", "b")),
        Filter(created_after=middle, created_before=late),
        Filter(created_before=middle, kinds=("report",)),
        Filter(created_after=late, tags=("z",), text="1"),
        Filter(ids=ids),
        Filter(ids=ids, states=("queued",)),
        Filter(states=("completed",), kinds=("report",)),
        Filter(errors=("nothing",)),
    ]


def passes(job: Job, wanted: Filter) -> bool:
    """Whether a job passes, by a look at it."""
    texts = (job.id, job.kind, job.args, *job.tags)
    return (
        wanted.wants(job)
        and (wanted.created_after is None or job.created_at > wanted.created_after)
        and (wanted.created_before is None or job.created_at < wanted.created_before)
        and (wanted.text is None or any(wanted.text in text for text in texts))
    )


@pytest.mark.parametrize(("window", "limit"), [(1, 10), (7, 3), (50, 1), (2000, 1000)])
async def test_every_filter_finds_what_a_scan_finds(
    store: Store, many: list[Job], window: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW", window)

    def paged(connection: Connection, wanted: Filter, within: float | None) -> list[str]:
        found: list[str] = []
        before: str | None = None
        for _ in range(10_000):
            page = search.find(connection, wanted, limit=limit, before=before, within=within)
            found += [job.id for job in page.jobs]
            before = page.reached or (page.jobs[-1].id if len(page.jobs) == limit else None)
            if before is None:
                return found
        raise AssertionError("the pages have no end")

    for wanted in filters(many):
        expected = [job.id for job in reversed(many) if passes(job, wanted)]
        for within in (None, 0.0, 60.0):
            assert await store.read(lambda c, w=wanted, t=within: paged(c, w, t)) == expected, (wanted, within)  # type: ignore[misc]


async def test_every_filter_is_counted_as_a_scan_counts(store: Store, many: list[Job]) -> None:
    for wanted in filters(many):
        expected = sum(passes(job, wanted) for job in many)
        counted = await store.read(lambda c, w=wanted: search.count(c, w, most=10_000))  # type: ignore[misc]
        assert counted == (expected, True), wanted


async def test_a_count_ends_at_the_most_that_was_asked_for_and_where_time_runs_out(
    store: Store, many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    tagged = Filter(tags=("x",))
    assert await store.read(lambda c: search.count(c, tagged, most=5)) == (5, False)
    monkeypatch.setattr(search, "WINDOW", 10)
    counted, exact = await store.read(lambda c: search.count(c, replace(tagged, text="1"), most=10_000, within=0.0))
    assert not exact
    assert counted < sum(passes(job, replace(tagged, text="1")) for job in many)


async def test_jobs_by_state_are_known_where_kinds_and_queues_narrow_and_nothing_else(
    store: Store, many: list[Job]
) -> None:
    wanted = Filter(kinds=("mail", "rare"), queues=("a",), states=("queued",))
    found = await store.read(lambda c: search.by_state(c, wanted))
    here = [job for job in many if job.kind in wanted.kinds and job.queue == "a"]
    assert found is not None
    assert {state: n for state, n in found.items() if n} == {
        state.value: sum(job.state is state for job in here) for state in STATES if any(j.state is state for j in here)
    }
    for other in (Filter(tags=("x",)), Filter(text="x"), Filter(created_after=1.0), Filter(ids=("x",))):
        assert await store.read(lambda c, w=other: search.by_state(c, w)) is None  # type: ignore[misc]


async def test_of_two_tags_the_rarer_one_is_walked(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STEPS", 3)
    jobs = [fresh(clock, tags=("often", "seldom") if number % 10 == 0 else ("often",)) for number in range(40)]
    await put(store, *jobs)
    walked: list[str] = []
    for tags in (("often", "seldom"), ("seldom", "often")):
        driver, _ = await store.read(lambda c, t=tags: search._way(c, Filter(tags=t), "g", ""))  # type: ignore[misc]
        walked.append(driver)
        found = await store.read(lambda c, t=tags: search.find(c, Filter(tags=t), limit=99))  # type: ignore[misc]
        assert [job.id for job in found.jobs] == [job.id for job in reversed(jobs) if "seldom" in job.tags]
    assert walked == ["tag seldom", "tag seldom"]


async def test_a_search_without_time_looks_at_one_short_window_and_says_where_to_go_on(
    store: Store, many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FIRST", 20)
    found = await store.read(lambda c: search.find(c, Filter(text="no such text"), limit=10, within=0.0))
    assert (found.jobs, found.reached) == ([], many[-20].id)


async def test_a_clock_that_was_set_back_hides_no_job_from_who_has_time(store: Store, clock: Clock) -> None:
    ahead = fresh(clock)
    clock.now -= 3600
    late = structs.replace(fresh(clock), id=new_id(clock.now), created_at=clock.now)
    assert id_time(late.id) > clock.now + 3000  # ids go on growing
    await put(store, ahead, late)
    wanted = Filter(created_before=clock.now + 1)
    found = await store.read(lambda c: search.find(c, wanted, limit=10))
    assert [job.id for job in found.jobs] == [late.id]
    hasty = await store.read(lambda c: search.find(c, wanted, limit=10, within=0.0, thorough=True))
    assert [job.id for job in hasty.jobs] == [late.id]


async def test_places_in_line_are_counted_by_queue(store: Store, many: list[Job]) -> None:
    line: dict[str, list[Job]] = {}
    for job in sorted(many, key=lambda job: (-job.priority, job.id)):
        if job.state is State.QUEUED:
            line.setdefault(job.queue, []).append(job)
    expected = {job.id: place for jobs in line.values() for place, job in enumerate(jobs, start=1)}
    assert await store.read(lambda c: positions(c, [job.id for job in many])) == expected
    some = [job.id for job in many[::7]]
    wanted = {job_id: place for job_id, place in expected.items() if job_id in some}
    assert await store.read(lambda c: positions(c, some)) == wanted


async def test_no_query_of_a_list_scans_the_table(store: Store, many: list[Job]) -> None:
    plans: list[str] = []

    def query(connection: Connection) -> None:
        seen: list[tuple[str, Any]] = []
        raw = connection.connection.driver_connection
        original = connection.execute

        def spy(statement: Any, *arguments: Any) -> Any:
            compiled = statement.compile(connection.engine, compile_kwargs={"literal_binds": True})
            seen.append((str(compiled), None))
            return original(statement, *arguments)

        connection.execute = spy  # type: ignore[assignment]
        for wanted in filters(many):
            search.find(connection, wanted, limit=50)
        assert raw is not None
        for text, _ in seen:
            if "FROM tally" in text or "FROM fault" in text:  # small, and kept for this
                continue
            plans.extend(f"{row[3]} <- {text}" for row in raw.execute(f"EXPLAIN QUERY PLAN {text}").fetchall())

    await store.read(query)
    assert plans
    # The list of all jobs walks the primary key from its end, 50 rows of it.
    scans = [plan for plan in plans if plan.startswith("SCAN job ") and "USING" not in plan.partition("<-")[0]]
    assert scans == []
    sorts = [plan for plan in plans if "TEMP B-TREE" in plan and "id IN" not in plan]
    assert sorts == []
