"""A mixed load in simulated time: kinds whose jobs and bars behave differently, and a shop of some slots."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Final

from jalebi.estimates import Left, left
from jalebi.events import Event
from jalebi.histories import Histories
from jalebi.jobs import Completed, Job, Progress, State, claimed, settled
from jalebi.waits import Busy, Room, Wait, Waiting, played

SLOTS: Final = 6
#: How many of a queue run at once.
LIMITS: Final = {"reports": 2}
#: Shares of a run at which its end is foretold.
LOOKS: Final = (0.10, 0.25, 0.50, 0.75)
_STEP: Final = 1 / 50  # of a run, from one report to the next
Dice = random.Random


@dataclass(frozen=True)
class Sort:
    """A kind: how long a job takes (seconds), where its bar is at a share of its time, and the queue it goes to."""

    name: str
    takes: Callable[[Dice], float]
    bar: Callable[[Dice], Callable[[float], float]] | None = None
    queue: str = "default"
    wobble: float = 0.0  # how unevenly a bar goes


def _lognormal(middle: float, sigma: float) -> Callable[[Dice], float]:
    return lambda dice: middle * dice.lognormvariate(0.0, sigma)


def _bent(exponent: float) -> Callable[[Dice], Callable[[float], float]]:
    """A bar that is straight at 1 and slows down near its end above that."""
    return lambda _: lambda share: 1.0 - (1.0 - share) ** exponent


def _whim(dice: Dice) -> Callable[[float], float]:
    """A bar that goes otherwise each time: fast first, or last."""
    exponent = dice.uniform(0.5, 2.5)
    return lambda share: 1.0 - (1.0 - share) ** exponent


def _jump(_: Dice) -> Callable[[float], float]:
    return lambda share: 0.7 * (share > 0.05) + 0.3 * share


def _two(dice: Dice) -> float:
    """Mostly from a cache, sometimes not."""
    return dice.gauss(8.0, 0.5) if dice.random() < 0.7 else dice.gauss(60.0, 4.0)


SORTS: Final = (
    Sort("constant, no bar", lambda dice: 20.0 * dice.uniform(0.97, 1.03)),
    Sort("lognormal, no bar", _lognormal(15.0, 0.6)),
    Sort("bimodal, no bar", lambda dice: max(1.0, _two(dice)), queue="reports"),
    Sort("constant, honest bar", lambda dice: 30.0 * dice.uniform(0.9, 1.1), _bent(1.0), wobble=0.05),
    Sort("lognormal, honest bar", _lognormal(20.0, 0.8), _bent(1.0), "reports", wobble=0.1),
    Sort("lognormal, slow end", _lognormal(20.0, 0.8), _bent(2.5), wobble=0.05),
    Sort("lognormal, jumps", _lognormal(20.0, 0.5), _jump, wobble=0.05),
    Sort("lognormal, whimsical bar", _lognormal(20.0, 0.5), _whim, wobble=0.05),
    Sort("bimodal, honest bar", lambda dice: max(1.0, _two(dice)), _bent(1.0), wobble=0.05),
)


@dataclass(frozen=True)
class Look:
    """What was foretold of a job: the seconds still to go as they were, and as the plain rule and Jalebi said.

    `by` is what the error is measured by: the seconds of the whole run, of one in line those that it waited.
    """

    sort: str
    at: float  # share of the run; below 0: in line
    real: float
    by: float
    barred: bool  # whether it has a bar
    plain: float | None
    span: tuple[float, float, float] | None


@dataclass(order=True)
class _Due:
    at: float
    number: int
    act: Callable[[], None] = field(compare=False)


class Play:
    """One shop, played through in simulated time."""

    def __init__(self, seed: int, jobs: int) -> None:
        self._dice = Dice(seed)
        self._jobs = jobs
        self._now = 0.0
        self._due: list[_Due] = []
        self._number = 0
        self._line: list[Job] = []
        self._free = SLOTS
        self._sorts = {sort.name: sort for sort in SORTS}
        self._told: list[tuple[str, str, float, float | None, Wait | Left | None]] = []
        self._running: dict[str, Job] = {}
        self._bars: dict[str, Progress] = {}
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self.histories = Histories()

    def run(self) -> list[Look]:
        """Play it to its end and return what was foretold, each with what came."""
        at = 0.0
        mean = 30.0 / SLOTS  # just about what the slots can take: lines grow and shrink
        for number in range(self._jobs):
            at += self._dice.expovariate(1.0 / mean) * (0.3 if (number // 40) % 2 else 1.6)
            self._after(at, partial(self._come, number))
        while self._due:
            due = heappop(self._due)
            self._now = due.at
            due.act()
        return [self._judged(*told) for told in self._told]

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._due, _Due(self._now + seconds, self._number, act))

    def _come(self, number: int) -> None:
        sort = self._dice.choice(SORTS)
        job = Job(
            id=f"{number:036d}", kind=sort.name, args="{}", queue=sort.queue, priority=0, tags=(), state=State.QUEUED,
            max_attempts=1, timeout=1e9, created_at=self._now,
        )  # fmt: skip
        self._line.append(job)
        self._start()
        if job.id not in self._running:
            self._ask_in_line(job)

    def _start(self) -> None:
        while self._free and (ready := next((job for job in self._line if self._may(job)), None)) is not None:
            self._line.remove(ready)
            job = claimed(ready, now=self._now, worker="", lease_until=0.0)
            self._free -= 1
            self._running[job.id], self._began[job.id] = job, self._now
            self.histories.note(Event(0, "started", self._now, job))
            self._play(job, self._sorts[job.kind])

    def _may(self, job: Job) -> bool:
        running = sum(one.queue == job.queue for one in self._running.values())
        return running < LIMITS.get(job.queue, SLOTS)

    def _play(self, job: Job, sort: Sort) -> None:
        took = sort.takes(self._dice)
        if sort.bar is not None:
            bar = sort.bar(self._dice)
            for step in range(1, round(1 / _STEP)):
                moved = step * _STEP * (1.0 + self._dice.uniform(-sort.wobble, sort.wobble))
                self._after(step * _STEP * took, partial(self._report, job, bar(min(1.0, moved))))
        for share in LOOKS:
            self._after(share * took + 1e-6, partial(self._ask, job, share))
        self._after(took, partial(self._end, job))

    def _report(self, job: Job, done: float) -> None:
        before = self._bars.get(job.id)
        done = max(done, 0.0 if before is None else before.done)
        rate = None
        if before is not None and self._now > before.updated_at:
            newest = (done - before.done) / (self._now - before.updated_at)
            rate = newest if before.rate is None else 0.7 * before.rate + 0.3 * newest  # as the runner smooths it
        self._bars[job.id] = progress = Progress(done=done, total=1.0, rate=rate, updated_at=self._now)
        self.histories.advance(job, progress)

    def _end(self, job: Job) -> None:
        over = settled(job, Completed("1"), now=self._now, progress=self._bars.pop(job.id, None))
        self._ended[job.id] = self._now
        del self._running[job.id]
        self.histories.note(Event(0, "completed", self._now, over))
        self._free += 1
        self._start()

    def _left(self, job: Job) -> Left | None:
        history = self.histories.of(job.kind)
        progress = self._bars.get(job.id)
        seen = Job(**{name: getattr(job, name) for name in job.__struct_fields__} | {"progress": progress})
        bar = self.histories.bar(seen, self._now)
        return left(history.durations, history.shapes, self._now - (job.started_at or 0.0), bar)

    def _ask(self, job: Job, share: float) -> None:
        elapsed, progress = self._now - self._began[job.id], self._bars.get(job.id)
        fraction = None if progress is None else progress.fraction
        plain = elapsed / fraction - elapsed if fraction else None
        self._told.append((job.id, job.kind, share, plain, self._left(job)))

    def _ask_in_line(self, job: Job) -> None:
        busy = []
        for one in self._running.values():
            rest = self._left(one)
            busy.append(Busy(one.id, one.kind, one.queue, None if rest is None else rest.spread))
        takes = {sort.name: self.histories.of(sort.name).takes for sort in SORTS}
        line = [Waiting(one.id, one.kind, one.queue) for one in self._line]
        found = played(line, busy, Room(SLOTS, LIMITS, {}, {}), takes).get(job.id)
        everything = [seconds for sort in SORTS for seconds in self.histories.of(sort.name).durations]
        mean = sum(everything) / len(everything) if everything else None
        place = sum(one.queue == job.queue for one in self._line)
        plain = None if mean is None else place * mean / LIMITS.get(job.queue, SLOTS)
        self._asked[job.id] = self._now
        self._told.append((job.id, job.kind, -1.0, plain, found))

    def _judged(self, name: str, kind: str, share: float, plain: float | None, told: Wait | Left | None) -> Look:
        began, ended = self._began[name], self._ended[name]
        if isinstance(told, Wait) or share < 0:
            waited = began - self._asked[name]
            start = told.start if isinstance(told, Wait) else None
            return Look(kind, share, waited, waited, False, plain, _range(start))
        at, barred = began + share * (ended - began), self._sorts[kind].bar is not None
        spread = None if told is None else told.spread
        return Look(kind, share, ended - at, ended - began, barred, plain, _range(spread))


def _range(spread: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    return None if spread is None else (spread[1], spread[7], spread[13])
