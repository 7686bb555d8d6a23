"""A mixed load in simulated time: kinds whose jobs and bars behave differently, and a shop of some slots."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from jalebi.estimates import Left, left
from jalebi.events import Event
from jalebi.histories import Histories
from jalebi.jobs import Completed, Job, Progress, State, claimed, settled
from jalebi.waits import Busy, Room, Wait, Waiting, played

SLOTS: Final = 6
#: Shares of a run at which its end is foretold.
LOOKS: Final = (0.10, 0.25, 0.50, 0.75)
_STEP: Final = 1 / 50  # of a run, from one report to the next
Dice = random.Random


@dataclass(frozen=True)
class Sort:
    """A kind: how long a job takes (seconds), where its bar is at a share of its time, and the queue it goes to."""

    name: str
    takes: Callable[[Dice], float]
    bar: Callable[[float], float] | None = None
    queue: str = "default"
    wobble: float = 0.0  # how unevenly a bar goes


def _lognormal(middle: float, sigma: float) -> Callable[[Dice], float]:
    return lambda dice: middle * dice.lognormvariate(0.0, sigma)


def _two(dice: Dice) -> float:
    """Mostly from a cache, sometimes not."""
    return dice.gauss(8.0, 0.5) if dice.random() < 0.7 else dice.gauss(60.0, 4.0)


SORTS: Final = (
    Sort("constant, no bar", lambda dice: 20.0 * dice.uniform(0.97, 1.03)),
    Sort("lognormal, no bar", _lognormal(15.0, 0.6)),
    Sort("bimodal, no bar", lambda dice: max(1.0, _two(dice)), queue="reports"),
    Sort("constant, honest bar", lambda dice: 30.0 * dice.uniform(0.9, 1.1), lambda share: share, wobble=0.05),
    Sort("lognormal, honest bar", _lognormal(20.0, 0.8), lambda share: share, "reports", wobble=0.1),
    Sort("lognormal, slow end", _lognormal(20.0, 0.8), lambda share: 1.0 - (1.0 - share) ** 2.5, wobble=0.05),
    Sort("lognormal, jumps", _lognormal(20.0, 0.5), lambda share: 0.7 * (share > 0.05) + 0.3 * share, wobble=0.05),
    Sort("bimodal, honest bar", lambda dice: max(1.0, _two(dice)), lambda share: share, wobble=0.05),
)


@dataclass(frozen=True)
class Look:
    """What was foretold of a job: seconds still to go, as they were, with what Jalebi and the plain rule said."""

    sort: str
    at: float  # share of the run; negative: in line, at a place
    real: float
    total: float  # seconds of the whole run
    plain: float | None
    range_: tuple[float, float, float] | None


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
        self._asked: dict[str, tuple[float, int]] = {}
        self.histories = Histories()

    def run(self) -> list[Look]:
        """Play it to its end and return what was foretold, each with what came."""
        at = 0.0
        mean = 30.0 / SLOTS  # just about what the slots can take: lines grow and shrink
        for number in range(self._jobs):
            at += self._dice.expovariate(1.0 / mean) * (0.3 if (number // 40) % 2 else 1.6)
            self._after(at, lambda number=number: self._come(number))  # type: ignore[misc]
        while self._due:
            due = heappop(self._due)
            self._now = due.at
            due.act()
        return [look for told in self._told if (look := self._judged(*told)) is not None]

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
        while self._free and self._line:
            job = claimed(self._line.pop(0), now=self._now, worker="", lease_until=0.0)
            self._free -= 1
            self._running[job.id], self._began[job.id] = job, self._now
            self.histories.note(Event(0, "started", self._now, job))
            self._play(job, self._sorts[job.kind])

    def _play(self, job: Job, sort: Sort) -> None:
        took = sort.takes(self._dice)
        if sort.bar is not None:
            for step in range(1, round(1 / _STEP)):
                moved = step * _STEP * (1.0 + self._dice.uniform(-sort.wobble, sort.wobble))
                self._after(step * _STEP * took, lambda done=sort.bar(min(1.0, moved)): self._report(job, done))  # type: ignore[misc]
        for share in LOOKS:
            self._after(share * took + 1e-6, lambda share=share: self._ask(job, share))  # type: ignore[misc]
        self._after(took, lambda: self._end(job))

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
        seen = Job(**{name: getattr(job, name) for name in job.__slots__} | {"progress": progress})
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
        found = played(line, busy, Room(SLOTS, {}, {}, {}), takes).get(job.id)
        everything = [seconds for sort in SORTS for seconds in self.histories.of(sort.name).durations]
        mean = sum(everything) / len(everything) if everything else None
        plain = None if mean is None else len(self._line) * mean / SLOTS
        self._asked[job.id] = (self._now, len(self._line))
        self._told.append((job.id, job.kind, -1.0, plain, found))

    def _judged(
        self, name: str, kind: str, share: float, plain: float | None, told: Wait | Left | None
    ) -> Look | None:
        began, ended = self._began[name], self._ended[name]
        if isinstance(told, Wait) or share < 0:
            asked = self._asked[name][0]
            spread = told.start if isinstance(told, Wait) else None
            return Look("in line", share, began - asked, ended - began, plain, _range(spread))
        at = began + share * (ended - began)
        return Look(kind, share, ended - at, ended - began, plain, _range(None if told is None else told.spread))


def _range(spread: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    return None if spread is None else (spread[1], spread[7], spread[13])
