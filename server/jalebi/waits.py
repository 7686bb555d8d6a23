"""When a waiting job will probably start and finish, from what is before it in line: no I/O, no clock.

A short line is played through many times, each time with other durations of its jobs; of a long one it is reckoned how
long the work before a job keeps the slots busy.
"""

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from math import hypot, inf, sqrt
from operator import add
from typing import Final, NamedTuple

from jalebi.estimates import MIDDLE, NORMAL, RECENT, WIDTH, Spread, Takes, passed

#: The longest line that is played through, which takes some milliseconds then.
PLAYED: Final = 64
#: How many jobs before one in a long line are still played through.
NEAR: Final = 16
#: The share of the slots that may be held by what nobody knows the duration of, for anything to be said.
_UNKNOWN: Final = 0.25
#: Which of its values a job takes in each round: every one once, in an order of its own, the same each time.
_random: Final = random.Random(1)
_DRAWS: Final = tuple(tuple(_random.sample(range(WIDTH), WIDTH)) for _ in range(1021))


class Waiting(NamedTuple):
    """A job in line. A `late` one comes only then, in seconds from now: it shows its place and keeps nobody waiting."""

    id: str
    kind: str
    queue: str
    late: float | None = None


class Busy(NamedTuple):
    """A job that runs, and how long it still does; None where that is not known."""

    id: str
    kind: str
    queue: str
    left: Spread | None


class Crowd(NamedTuple):
    """How many jobs of a kind and a queue are before a job in a long line, and in the whole of it."""

    kind: str
    queue: str
    jobs: float
    whole: float


@dataclass(frozen=True, slots=True)
class Room:
    """How much runs at once: `slots` in all, and at most so many of some queues and kinds.

    `rates` says of a kind how many may start at once, and how many seconds after each other then.
    """

    slots: int
    queues: Mapping[str, int]
    kinds: Mapping[str, int]
    rates: Mapping[str, tuple[float, float]]

    def limits(self, kind: str, queue: str) -> tuple[tuple[str, str], ...]:
        """Return the names of the limits that a job counts against."""
        found = [("queue", queue)] if queue in self.queues else []
        return (*found, ("kind", kind)) if kind in self.kinds else tuple(found)

    def most(self, limit: tuple[str, str]) -> int:
        """Return what a limit is."""
        return (self.queues if limit[0] == "queue" else self.kinds)[limit[1]]

    def paced(self, kind: str, before: float) -> float:
        """Return the seconds until a kind's rate lets a job start, with so many of its kind before it."""
        if kind not in self.rates:
            return 0.0
        ready, apart = self.rates[kind]
        return max(0.0, (before + 1.0 - ready) * apart)


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds until a job starts, and until it finishes where that is known."""

    start: Spread
    finish: Spread | None

    def after(self, seconds: float) -> "Wait":
        """Return what is left of it after some seconds."""
        return Wait(passed(self.start, seconds), None if self.finish is None else passed(self.finish, seconds))


def played(
    line: Sequence[Waiting], busy: Sequence[Busy], room: Room, takes: Mapping[str, Takes | None]
) -> dict[str, Wait]:
    """Return what each job of a short line may expect; it is missing where nothing can be said.

    `line` is in the order in which jobs are started: the highest priority first, then the oldest.
    """
    rounds = [_round(number, line, busy, room, takes) for number in range(WIDTH)]
    unknown = sum(one.left is None for one in busy)
    before: dict[str, int] = {}
    found: dict[str, Wait] = {}
    for index, job in enumerate(line):
        took, number = takes.get(job.kind), before.get(job.kind, 0)
        soonest = max(room.paced(job.kind, number), job.late or 0.0)
        starts = [max(one[index], soonest) for one in rounds]
        start = tuple(sorted(starts))
        if start[-1] < inf and (unknown <= _UNKNOWN * room.slots or start[-1] <= soonest):
            found[job.id] = Wait(start, _finish(starts, job.id, took))
        if job.late is None:
            before[job.kind] = number + 1
            unknown += took is None
    return found


def _finish(starts: Sequence[float], name: str, took: Takes | None) -> Spread | None:
    if took is None:
        return None
    draw = _draw(name)
    return tuple(sorted(start + took.spread[draw[number]] for number, start in enumerate(starts)))


def _draw(name: str) -> tuple[int, ...]:
    """Return which of its values a job takes in each round; it is told by its id, so that an answer can be repeated."""
    return _DRAWS[int.from_bytes(name[-6:].encode(), "big") % len(_DRAWS)]


def _round(
    number: int, line: Sequence[Waiting], busy: Sequence[Busy], room: Room, takes: Mapping[str, Takes | None]
) -> list[float]:
    """Play the line through once, and return when each job started; infinite where that was not seen."""
    starts = [inf] * len(line)
    used: dict[tuple[str, str], int] = {}
    ends: list[tuple[float, tuple[tuple[str, str], ...]]] = []

    def begin(end: float, limits: tuple[tuple[str, str], ...]) -> None:
        heappush(ends, (end, limits))
        for limit in limits:
            used[limit] = used.get(limit, 0) + 1

    for one in busy:
        begin(inf if one.left is None else one.left[_draw(one.id)[number]], room.limits(one.kind, one.queue))
    free, now = room.slots - len(busy), 0.0
    lanes: dict[tuple[tuple[str, str], ...], deque[int]] = {}
    for index, job in enumerate(line):
        lanes.setdefault(room.limits(job.kind, job.queue), deque()).append(index)
    while lanes and now < inf:
        open_lanes = (
            (jobs[0], limits)
            for limits, jobs in lanes.items()
            if all(used.get(limit, 0) < room.most(limit) for limit in limits)
        )
        index, limits = min(open_lanes, default=(-1, ())) if free > 0 else (-1, ())
        if index < 0:
            if not ends:
                break
            now, limits = heappop(ends)
            free += 1
            for limit in limits:
                used[limit] -= 1
            continue
        starts[index] = now
        lanes[limits].popleft()
        if not lanes[limits]:
            del lanes[limits]
        job, took = line[index], takes.get(line[index].kind)
        if job.late is None:
            begin(inf if took is None else now + took.spread[_draw(job.id)[number]], limits)
            free -= 1
    return starts


def reckoned(
    job: Waiting, ahead: Sequence[Crowd], busy: Sequence[Busy], room: Room, takes: Mapping[str, Takes | None]
) -> Wait | None:
    """Return what a job in a long line may expect, None where too much of what is before it is of unknown duration."""
    if sum(one.jobs for one in ahead) < NEAR:
        return played([*_imagined(ahead), job], busy, room, takes).get(job.id)
    work = _Work(takes)
    for one in ahead:
        work.add(one)
    for running in busy:
        work.run(running)
    if work.unknown > _UNKNOWN * work.jobs:
        return None
    mean, variance = work.until_free(room, job)
    mine = sum(one.jobs for one in ahead if one.kind == job.kind)
    soonest = max(room.paced(job.kind, mine), job.late or 0.0)
    start = tuple(max(0.0, mean + sqrt(variance) * normal, soonest) for normal in NORMAL)
    took = takes.get(job.kind)
    if took is None:
        return Wait(start, None)
    return Wait(start, tuple(_summed(start, took.spread)))


def _imagined(ahead: Sequence[Crowd]) -> list[Waiting]:
    """Return the few jobs before one as they may stand there, the kinds evenly mixed."""
    found: list[tuple[float, str, str]] = []
    for one in ahead:
        count = round(one.jobs)
        found += [((index + 0.5) / count, one.kind, one.queue) for index in range(count)]
    return [Waiting(f"{index:036d}", kind, queue) for index, (_, kind, queue) in enumerate(sorted(found))]


def _summed(one: Spread, two: Spread) -> list[float]:
    """Return the spread of a sum: distances from the middle add up by their squares."""
    middle, found = one[MIDDLE] + two[MIDDLE], []
    for index, (a, b) in enumerate(zip(one, two, strict=True)):
        distance = hypot(a - one[MIDDLE], b - two[MIDDLE])
        found.append(max(middle - distance, a) if index < MIDDLE else middle + distance)
    return sorted(found)


class _Part(NamedTuple):
    """Some work before a job, with its variance; `sizes` and `squares` are summed over all jobs of its line."""

    seconds: float = 0.0
    variance: float = 0.0
    sizes: float = 0.0
    squares: float = 0.0


def _whole(parts: Iterable[_Part]) -> _Part:
    return _Part(*(sum(column) for column in zip(_Part(), *parts, strict=True)))


def _free(work: _Part, slots: float) -> tuple[float, float]:
    """Return the mean and the variance of the seconds until the first of some slots is free of the work.

    By then it is not all done: each of the other slots still has the rest of a job, which is E[x²] / 2 E[x] on average
    (the inspection paradox). How much that varies is guessed.
    """
    rest = work.squares / (2.0 * work.sizes) if work.sizes > 0.0 else 0.0
    mean = max(0.0, work.seconds - (slots - 1.0) * rest) / slots
    return mean, (work.variance + (slots - 1.0) * rest**2 / 2.0) / slots**2


@lru_cache(maxsize=256)  # a page of jobs asks for the same ones again and again
def _moments(spread: Spread) -> tuple[float, float]:
    mean = sum(spread) / WIDTH
    return mean, sum((value - mean) ** 2 for value in spread) / WIDTH


class _Work:
    """The work before a job in seconds, by kind and queue."""

    def __init__(self, takes: Mapping[str, Takes | None]) -> None:
        self._takes = takes
        self._parts: dict[tuple[str, str], _Part] = {}
        self.jobs = 0.0
        self.unknown = 0.0

    def add(self, crowd: Crowd) -> None:
        """Take waiting jobs."""
        took = self._takes.get(crowd.kind)
        self.jobs += crowd.jobs
        if took is None:
            self.unknown += crowd.jobs
        else:
            square = took.variance + took.mean**2
            ahead, whole = crowd.jobs, crowd.whole
            # The mean is not known exactly either: what it is wrong by adds up with every job.
            variance = took.variance * (ahead + ahead**2 / min(took.samples, RECENT))
            part = _Part(took.mean * ahead, variance, took.mean * whole, square * whole)
            self._put(crowd.kind, crowd.queue, part)

    def run(self, busy: Busy) -> None:
        """Take a running job."""
        self.jobs += 1
        if busy.left is None:
            self.unknown += 1
        else:
            self._put(busy.kind, busy.queue, _Part(*_moments(busy.left)))

    def _put(self, kind: str, queue: str, part: _Part) -> None:
        before = self._parts.get((kind, queue))
        self._parts[kind, queue] = part if before is None else _Part(*map(add, before, part))

    def until_free(self, room: Room, job: Waiting) -> tuple[float, float]:
        """Return the mean and the variance of the seconds until there is a slot for the job."""
        found = self._drained(room)
        for limit in room.limits(job.kind, job.queue):
            parts = [part for (kind, queue), part in self._parts.items() if limit in room.limits(kind, queue)]
            found = max(found, _free(_whole(parts), max(1, room.most(limit))))
        return found

    def _drained(self, room: Room) -> tuple[float, float]:
        """Return until when all slots are busy: what is limited never holds more of them than it may."""
        groups: dict[tuple[tuple[str, str], ...], list[_Part]] = {}
        for (kind, queue), part in self._parts.items():
            groups.setdefault(room.limits(kind, queue), []).append(part)
        slots, rest = float(room.slots), {limits: _whole(parts) for limits, parts in groups.items()}
        while True:
            until = sum(part.seconds for part in rest.values()) / slots
            held = {limits: min(map(room.most, limits)) for limits in rest if limits}
            narrow = [limits for limits, most in held.items() if rest[limits].seconds > until * most]
            if not narrow or sum(held[limits] for limits in narrow) >= slots:
                return _free(_whole(rest.values()), slots)
            # They go on beyond that time on their own slots: the others have the rest for themselves.
            for limits in narrow:
                slots -= held[limits]
                del rest[limits]
