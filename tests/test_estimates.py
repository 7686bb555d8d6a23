"""How long a running job still takes, and when a waiting one starts: the arithmetic."""

from collections.abc import Mapping
from itertools import pairwise
from math import inf, log
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jalebi.estimates import (
    ENOUGH,
    HIGH,
    LOW,
    MARKS,
    MIDDLE,
    WIDTH,
    Bar,
    Shape,
    Span,
    Spread,
    Takes,
    left,
    passed,
    pooled,
    quantile,
    spread_of,
    takes,
)
from jalebi.waits import NEAR, Busy, Crowd, Room, Waiting, played, reckoned

SECONDS = st.floats(0.0, 1e6, allow_nan=False)
DURATIONS = st.lists(SECONDS, min_size=0, max_size=40)
SHARES = st.lists(st.floats(0.001, 1.0), min_size=len(MARKS), max_size=len(MARKS)).map(sorted)
SHAPES = st.lists(st.builds(Shape, st.floats(2.0, 1e5), SHARES), max_size=8)
BARS = st.none() | st.builds(
    Bar, st.floats(0.0, 1.0), SECONDS, SECONDS, st.none() | st.floats(0.0, 1e6), st.booleans()
)  # fmt: skip
STRAIGHT = [Shape(seconds, MARKS) for seconds in (8.0, 9.0, 10.0, 11.0, 12.0, 13.0)]
OPEN = Room(2, {}, {}, {})


def known(*durations: float) -> Takes:
    """Return what a kind takes whose jobs took these times, again and again."""
    found = takes(list(durations) * ENOUGH)
    assert found is not None
    return found


def in_order(spread: Spread) -> bool:
    return len(spread) == WIDTH and list(spread) == sorted(spread) and spread[0] >= 0.0 and spread[-1] < inf


def test_nothing_is_said_of_a_kind_of_which_too_few_have_finished() -> None:
    assert takes([1.0] * (ENOUGH - 1)) is None
    assert takes([1.0] * ENOUGH) is not None
    assert left([1.0] * (ENOUGH - 1), [], 0.5) is None
    assert left([], [], 0.0) is None


def test_one_that_runs_longer_than_all_before_it_is_not_expected_at_any_time() -> None:
    assert left([5.0] * 50, [], 4.0) is not None
    assert left([5.0] * 50, [], 5.0) is None


def test_what_is_left_is_told_by_those_that_took_longer_than_it_runs_already() -> None:
    quick_or_slow = [2.0] * 70 + [60.0] * 30
    fresh, late = left(quick_or_slow, [], 0.0), left(quick_or_slow, [], 10.0)
    assert fresh is not None
    assert fresh.spread[MIDDLE] == pytest.approx(2.0)
    assert late is not None
    assert late.spread == pytest.approx((50.0,) * WIDTH)
    assert (late.samples, late.basis) == (100, "history")


def test_a_kind_that_has_become_faster_is_soon_expected_to_be_so() -> None:
    found = takes([60.0] * 100 + [1.0] * 100)
    assert found is not None
    assert found.spread[HIGH] == 1.0
    assert found.samples == 200


def test_few_samples_make_a_wider_range_than_many() -> None:
    few, many = spread_of([8.0, 9.0, 10.0, 11.0, 12.0]), spread_of([8.0, 9.0, 10.0, 11.0, 12.0] * 20)
    assert few[HIGH] - few[LOW] > many[HIGH] - many[LOW]


def test_the_range_of_a_spread_holds_about_eight_of_ten() -> None:
    dice = Random(4)
    inside = 0
    for _ in range(400):
        span = Span.of(spread_of([dice.lognormvariate(2.0, 0.7) for _ in range(30)]))
        inside += span.earliest <= dice.lognormvariate(2.0, 0.7) <= span.latest
    assert 0.74 < inside / 400 < 0.88


def test_a_bar_tells_alone_where_nothing_else_is_known_and_more_the_further_it_is() -> None:
    early, late = left([], [], 1.0, Bar(0.1, 1.0)), left([], [], 9.0, Bar(0.9, 9.0))
    assert early is not None
    assert late is not None
    assert early.basis == late.basis == "progress"
    assert early.spread[MIDDLE] == pytest.approx(9.0)
    assert late.spread[MIDDLE] == pytest.approx(1.0)
    assert early.spread[HIGH] / early.spread[LOW] > late.spread[HIGH] / late.spread[LOW]


def test_a_bar_whose_newest_rate_is_another_than_its_average_is_believed_less() -> None:
    even, slower = left([], [], 5.0, Bar(0.5, 5.0, rest=5.0)), left([], [], 5.0, Bar(0.5, 5.0, rest=50.0))
    assert even is not None
    assert slower is not None
    assert even.spread[MIDDLE] < slower.spread[MIDDLE] < 50.0
    assert slower.spread[HIGH] / slower.spread[LOW] > even.spread[HIGH] / even.spread[LOW]


def test_a_bar_that_has_only_begun_is_full_or_stands_still_says_nothing_by_itself() -> None:
    for bar in [Bar(0.001, 1.0), Bar(1.0, 10.0), Bar(0.5, 5.0, stalled=True), Bar(0.5, 0.0), Bar(0.5, 0.1)]:
        assert left([], [], 10.0, bar) is None
        found = left([20.0] * 10, [], 10.0, bar)
        assert found is not None
        assert found.basis == "history"
        assert found.spread == pytest.approx((10.0,) * WIDTH)


def test_history_and_bar_are_weighed_by_how_sure_they_are() -> None:
    steady, wild = [20.0, 20.1] * 10, [1.0, 400.0] * 10
    bar = Bar(0.5, 5.0)
    by_history, by_bar = left(steady, [], 5.0, bar), left(wild, [], 0.5, bar)
    assert by_history is not None
    assert by_bar is not None
    assert by_history.basis == by_bar.basis == "both"
    assert by_history.spread[MIDDLE] == pytest.approx(15.0, rel=0.2)
    assert by_bar.spread[MIDDLE] == pytest.approx(5.0, rel=0.9)


def test_a_bar_that_slows_down_at_its_end_is_known_after_a_few_jobs() -> None:
    shares = [1.0 - (1.0 - mark) ** 0.4 for mark in MARKS]  # 90 % done after 60 % of the time
    shapes = [Shape(seconds, shares) for seconds in (10.0, 20.0, 40.0, 15.0, 30.0)]
    found = left([shape.seconds for shape in shapes], shapes, 60.2, Bar(0.9, 60.2))
    assert found is not None
    assert found.basis == "both"
    assert found.spread[MIDDLE] == pytest.approx(100.0 - 60.2, rel=0.05)  # a plain rule says 6.7


def test_a_job_of_another_size_than_all_before_it_is_told_by_its_bar() -> None:
    found = left([shape.seconds for shape in STRAIGHT], STRAIGHT, 500.0, Bar(0.5, 500.0))
    assert found is not None
    assert found.spread[MIDDLE] == pytest.approx(500.0, rel=0.05)


def test_a_bar_that_jumps_ahead_and_stands_there_is_seen_through() -> None:
    shares = [0.05 if mark <= 0.9 else 1.0 for mark in MARKS]
    shapes = [Shape(seconds, shares) for seconds in (19.0, 20.0, 21.0, 20.0, 20.5, 19.5)]
    found = left([20.0] * 6, shapes, 10.0, Bar(0.9, 1.0, silent=9.0))
    assert found is not None
    assert found.spread[MIDDLE] == pytest.approx(10.0, rel=0.1)


def test_opinions_that_disagree_make_a_wider_range_and_the_surer_one_counts_more() -> None:
    sure, unsure = spread_of([10.0, 10.5, 11.0] * 5), spread_of([20.0, 60.0, 180.0] * 5)
    found = pooled([sure, unsure])
    assert found[MIDDLE] == pytest.approx(sure[MIDDLE], rel=0.2)
    assert log(found[HIGH] / found[LOW]) > log(sure[HIGH] / sure[LOW])


@settings(deadline=None)
@given(DURATIONS, SHAPES, SECONDS, BARS)
def test_whatever_happened_the_end_is_unknown_or_in_the_future_and_its_range_in_order(
    durations: list[float], shapes: list[Shape], elapsed: float, bar: Bar | None
) -> None:
    found = left(durations, shapes, elapsed, bar)
    assert found is None or in_order(found.spread)


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=ENOUGH, max_size=40), SECONDS, SECONDS)
def test_time_that_passes_takes_from_every_end_and_none_becomes_the_past(
    durations: list[float], first: float, second: float
) -> None:
    found = takes(durations)
    assert found is not None
    assert in_order(passed(found.spread, first))
    assert all(a >= b for a, b in zip(passed(found.spread, first), passed(found.spread, first + second), strict=True))


def test_a_quantile_of_nothing_is_not_known() -> None:
    assert quantile([], 0.5) is None
    assert quantile([1.0, 2.0, 9.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 9.0], 0.95) == 9.0


def line(*kinds: str, queue: str = "default") -> list[Waiting]:
    return [Waiting(f"{index:036d}", kind, queue) for index, kind in enumerate(kinds)]


def busy(*seconds: float | None, kind: str = "a", queue: str = "default") -> list[Busy]:
    lefts = [None if one is None else (one,) * WIDTH for one in seconds]
    return [Busy(f"{index:034d}-b", kind, queue, one) for index, one in enumerate(lefts)]


def starts(
    jobs: list[Waiting], running: list[Busy], room: Room, taken: Mapping[str, Takes | None]
) -> list[float | None]:
    found = played(jobs, running, room, taken)
    return [found[job.id].start[MIDDLE] if job.id in found else None for job in jobs]


def test_a_line_is_played_through_slot_by_slot() -> None:
    taken = {"a": known(10.0), "b": known(1.0)}
    assert starts(line("a", "b", "b", "a"), busy(3.0, 5.0), OPEN, taken) == pytest.approx([3.0, 5.0, 6.0, 7.0])
    assert starts(line("a", "a", "a"), [], OPEN, taken) == pytest.approx([0.0, 0.0, 10.0])


def test_a_full_queue_or_kind_holds_up_its_own_jobs_only() -> None:
    taken = {"a": known(10.0), "b": known(10.0)}
    jobs = [*line("a", "a", queue="narrow"), Waiting("x" * 36, "b", "default")]
    assert starts(jobs, busy(4.0, queue="narrow"), Room(3, {"narrow": 1}, {}, {}), taken) == pytest.approx([4, 14, 0])
    assert starts(jobs, busy(4.0), Room(3, {}, {"a": 1}, {}), taken) == pytest.approx([4, 14, 0])


def test_a_rate_keeps_starts_apart() -> None:
    room = Room(9, {}, {}, {"a": (1.0, 60.0)})
    assert starts(line("a", "b", "a", "a"), [], room, {"a": known(1.0), "b": known(1.0)}) == [0.0, 0.0, 60.0, 120.0]


def test_one_that_joins_later_starts_no_sooner_and_keeps_nobody_waiting() -> None:
    first, second, third = line("a", "a", "a")
    jobs = [first, second._replace(late=100.0), third]
    assert starts(jobs, busy(5.0), Room(1, {}, {}, {}), {"a": known(10.0)}) == [5.0, 100.0, 15.0]


def test_behind_what_nobody_knows_nothing_is_said() -> None:
    taken = {"a": known(10.0), "new": None}
    assert starts(line("a", "a"), busy(None, None), OPEN, taken) == [None, None]
    assert starts(line("new", "a", "a"), [], OPEN, taken) == [0.0, 0.0, None]
    assert starts(line("a", "a"), busy(None, 4.0), OPEN, taken) == [None, None]
    assert starts(line("a"), busy(None, 4.0, 4.0, 4.0), Room(4, {}, {}, {}), taken) == [4.0]
    found = played(line("new"), [], OPEN, taken)
    assert [wait.finish for wait in found.values()] == [None]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=30),
    st.lists(SECONDS, max_size=4),
    st.lists(SECONDS, min_size=1, max_size=8),
    st.integers(1, 5),
)
def test_in_one_line_each_waits_at_least_as_long_as_the_one_before_it(
    kinds: list[str], running: list[float], durations: list[float], slots: int
) -> None:
    jobs = line(*kinds)
    taken: dict[str, Takes | None] = {"a": known(*durations), "b": known(1.0, 2.0)}
    found = played(jobs, busy(*running[:slots]), Room(slots, {}, {}, {}), taken)
    assert len(found) == len(jobs)
    waits = [found[job.id] for job in jobs]
    for one in waits:
        assert in_order(one.start)
        assert one.finish is not None
        assert in_order(one.finish)
        assert all(start <= finish for start, finish in zip(one.start, one.finish, strict=True))
    for one, two in pairwise(waits):
        assert all(a <= b for a, b in zip(one.start, two.start, strict=True))


@settings(deadline=None)
@given(
    st.lists(st.floats(NEAR, 1e5), min_size=2, max_size=6), st.integers(1, 50), st.none() | st.integers(1, 5), SECONDS
)
def test_in_a_long_line_too_a_later_place_is_no_sooner(
    counts: list[float], slots: int, most: int | None, seconds: float
) -> None:
    room = Room(slots, {} if most is None else {"narrow": most}, {}, {})
    taken: dict[str, Takes | None] = {"a": known(1.0, 3.0), "b": known(seconds)}
    before: Spread = (0.0,) * WIDTH
    for count in sorted(counts):
        crowds = [Crowd("a", "default", count, 1e5), Crowd("b", "narrow", count / 2, 5e4)]
        wait = reckoned(Waiting("1" * 36, "a", "narrow"), crowds, busy(2.0), room, taken)
        assert wait is not None
        assert wait.finish is not None
        assert in_order(wait.start)
        assert in_order(wait.finish)
        assert wait.start[MIDDLE] >= before[MIDDLE] - 1e-6
        assert all(start <= finish + 1e-9 for start, finish in zip(wait.start, wait.finish, strict=True))
        before = wait.start


def test_a_long_line_is_reckoned_as_it_is_played() -> None:
    taken = {"a": takes([2.0, 4.0, 6.0] * 40), "b": takes([10.0] * 120)}
    dice = Random(1)
    jobs = line(*(dice.choice("ab") for _ in range(120)))
    room = Room(4, {}, {}, {})
    last = jobs[-1]
    by_hand = played(jobs, busy(3.0, 3.0, 3.0, 3.0), room, taken)[last.id]
    mixed = {kind: sum(job.kind == kind for job in jobs[:-1]) for kind in "ab"}
    counts = [Crowd(kind, "default", count, count) for kind, count in mixed.items()]
    at_once = reckoned(last, counts, busy(3.0, 3.0, 3.0, 3.0), room, taken)
    assert at_once is not None
    assert at_once.start[MIDDLE] == pytest.approx(by_hand.start[MIDDLE], rel=0.05)
    assert at_once.start[HIGH] - at_once.start[LOW] == pytest.approx(by_hand.start[HIGH] - by_hand.start[LOW], rel=0.6)


def test_a_long_line_of_a_narrow_queue_does_not_hold_up_the_others() -> None:
    taken: dict[str, Takes | None] = {"a": known(10.0)}
    room = Room(4, {"narrow": 1}, {}, {})
    crowds = [Crowd("a", "narrow", 10_000.0, 10_000.0), Crowd("a", "default", 30.0, 30.0)]
    other = reckoned(Waiting("1" * 36, "a", "default"), crowds, [], room, taken)
    own = reckoned(Waiting("1" * 36, "a", "narrow"), crowds, [], room, taken)
    assert other is not None
    assert own is not None
    assert other.start[MIDDLE] == pytest.approx(100.0, rel=0.05)
    assert own.start[MIDDLE] == pytest.approx(100_000.0)


def test_a_long_line_of_what_nobody_knows_says_nothing() -> None:
    taken: dict[str, Takes | None] = {"a": known(10.0), "new": None}
    crowds = [Crowd("a", "default", 500.0, 500.0), Crowd("new", "default", 500.0, 500.0)]
    assert reckoned(Waiting("1" * 36, "a", "default"), crowds, [], OPEN, taken) is None
    assert reckoned(Waiting("1" * 36, "a", "default"), [], busy(None, None), OPEN, taken) is None
    assert reckoned(Waiting("1" * 36, "a", "default"), crowds[:1], [], OPEN, taken) is not None
