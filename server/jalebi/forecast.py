"""What jobs may expect: when one that waits will start, and when one that runs will be over."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from msgspec import structs
from sqlalchemy import Connection

from jalebi.estimates import Left, Span, Takes, left, overdue, passed
from jalebi.events import Outlook
from jalebi.histories import MOST_KINDS, Histories
from jalebi.hub import Hub
from jalebi.jobs import Job, State
from jalebi.kinds import OWN, Kinds
from jalebi.store import Store, reads
from jalebi.store.ahead import Ahead, Stood, histories, look
from jalebi.waits import PLAYED, Busy, Crowd, Room, Wait, Waiting, played, reckoned

#: Seconds for which an answer is given again.
KEPT: Final = 0.25
_JOINS: Final = frozenset({State.SCHEDULED, State.RETRYING})


class Forecast:
    """Knows how long kinds take and what runs, and reckons from that; only the event loop's thread asks it."""

    def __init__(self, kinds: Kinds, store: Store, hub: Hub, slots: int) -> None:
        self._kinds = kinds
        self._store = store
        self._hub = hub
        self._slots = slots
        self.histories = Histories()
        #: Set by the runner: whether it starts jobs now.
        self.open: Callable[[], bool] = lambda: False
        #: Set by the runner: how many jobs of a kind with a rate limit may start at once.
        self.ready: Callable[[], Mapping[str, int]] = dict
        self._left: dict[tuple[str, int], tuple[float, Left | None]] = {}
        self._line: tuple[float, dict[str, Wait], set[str]] = (0.0, {}, set())

    async def __aenter__(self) -> "Forecast":
        """Listen to what starts, moves and ends."""
        self.histories.begin(await self._store.read(reads.active))
        self._hub.noted, self._hub.ticked = self.histories.note, self.histories.advance
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more."""
        self._hub.noted, self._hub.ticked = lambda _: None, lambda _job, _progress: None

    async def fill(self) -> None:
        """Ask the store for the histories of what runs, where they are not known yet."""
        lacking = {job.kind for job in self.histories.running.values() if self.histories.lacks(job.kind)}
        if lacking:
            self.learn(await self._store.read(partial(histories, kinds=lacking)))

    async def durations(self, kinds: Collection[str]) -> dict[str, list[float]]:
        """Return how long the last completed jobs of these kinds took, in seconds, shortest first."""
        lacking = [kind for kind in kinds if self.histories.lacks(kind)]
        found = await self._store.read(partial(histories, kinds=lacking)) if lacking else {}
        self.learn({kind: found[kind] for kind in lacking[:MOST_KINDS]})
        kept = {kind: [seconds for _, seconds in rows] for kind, rows in found.items()}
        return {kind: sorted(kept[kind] if kind in kept else self.histories.of(kind).durations) for kind in kinds}

    def look(self, connection: Connection, jobs: Sequence[Job]) -> Ahead:
        """Ask the store for what is needed to tell what these jobs may expect; any thread may do so."""
        running = [job.kind for job in list(self.histories.running.values())]
        run = {kind.name for kind in self._kinds.all()}
        return look(connection, jobs, kinds=run, lacks=self.histories.lacks, running=running, most=PLAYED)

    def learn(self, found: Mapping[str, Sequence[tuple[str, float]]]) -> None:
        """Take the durations that the store was asked for."""
        for kind, earlier in found.items():
            self.histories.of(kind).fill(earlier)

    def outlooks(self, jobs: Sequence[Job], ahead: Ahead) -> list[Outlook]:
        """Return what each of the jobs may expect, from what was found for them."""
        self.learn(ahead.histories)
        now = self._store.clock()
        waits = self._waits([job for job in jobs if self._can_start(job, ahead)], ahead, now)
        return [self._outlook(job, ahead.places.get(job.id), waits.get(job.id), now) for job in jobs]

    def _can_start(self, job: Job, ahead: Ahead) -> bool:
        waits = job.state is State.QUEUED or (job.state in _JOINS and job.run_at is not None)
        return waits and job.queue not in ahead.paused and not job.kind.startswith(OWN) and job.kind in self._kinds

    def _outlook(self, job: Job, place: int | None, wait: Wait | None, now: float) -> Outlook:
        if job.state is State.RUNNING:
            rest = self.left(job)
            if rest is None:
                return Outlook()
            return Outlook(finish=Span.of(rest.spread, now), samples=rest.samples, basis=rest.basis)
        if wait is None:
            return Outlook(position=place)
        finish = None if wait.finish is None else Span.of(wait.finish, now)
        samples = len(self.histories.of(job.kind).durations)
        return Outlook(place, Span.of(wait.start, now), finish, samples, "history")

    def left(self, job: Job) -> Left | None:
        """Return how many seconds a running job still takes, where its kind's history or its bar tell."""
        started, now, key = job.started_at, self._store.clock(), (job.id, job.attempt)
        if job.state is not State.RUNNING or started is None:
            return None
        at, known = self._left.get(key, (0.0, None))
        if at <= now < at + KEPT:
            return None if known is None else replace(known, spread=passed(known.spread, now - at))
        if (newest := self._hub.progress(job.id)) is not None:
            job = structs.replace(job, progress=newest)
        history = self.histories.of(job.kind)
        elapsed = max(0.0, now - started)
        found = left(history.durations, history.shapes, elapsed, self.histories.bar(job, now))
        if len(self._left) >= 2 * len(self.histories.running) + 100:
            self._left.clear()
        self._left[key] = (now, found)
        return found

    def rest(self, job: Job) -> float | None:
        """Return about how many seconds a job goes on, by what is known without a look at the line."""
        if job.state is State.RUNNING:
            known = self.left(job)
            return None if known is None else Span.of(known.spread).median
        return None if job.terminal else self.histories.typical(job.kind)

    def _waits(self, jobs: Sequence[Job], ahead: Ahead, now: float) -> Mapping[str, Wait]:
        if not jobs or not self.open():
            return {}
        if ahead.line is None:
            return self._reckoned(jobs, ahead, now)
        at, known, asked = self._line
        if not at <= now < at + KEPT or not asked.issuperset(job.id for job in jobs):
            at = now
            # Those that join later take their places as if they were in line now; they may have been there before.
            line = {stood.key[1]: stood for stood in ahead.line}
            line |= {job.id: _stood(job) for job in jobs}
            late = {job.id: _late(job, now) for job in jobs}
            order = sorted(line.values(), key=lambda stood: stood.key)
            waiting = [Waiting(one.key[1], one.kind, one.queue, late.get(one.key[1])) for one in order]
            kinds = {one.kind for one in waiting}
            known = played(waiting, self._busy(), self._room(ahead, kinds), self._takes(kinds))
            self._line = (now, known, set(line))
        return {job.id: known[job.id].after(now - at) for job in jobs if job.id in known}

    def _reckoned(self, jobs: Sequence[Job], ahead: Ahead, now: float) -> dict[str, Wait]:
        busy, kinds = self._busy(), {kind for kind, _, _ in ahead.counts} | {job.kind for job in jobs}
        room, takes = self._room(ahead, kinds), self._takes(kinds)
        found: dict[str, Wait] = {}
        for job in jobs:
            late = _late(job, now)
            waiting = Waiting(job.id, job.kind, job.queue, late)
            # One that joins later was handed in earlier than most, and the oldest start first.
            place = ahead.places.get(job.id, 1) if late is None else 1
            wait = reckoned(waiting, _crowds(place, job.queue, ahead), busy, room, takes)
            if wait is not None:
                found[job.id] = wait
        return found

    def _busy(self) -> list[Busy]:
        now, found = self._store.clock(), []
        for job in self.histories.running.values():
            if job.kind.startswith(OWN):
                continue
            rest = self.left(job)
            spread = None if rest is None else rest.spread
            if spread is None and job.started_at is not None and self.histories.of(job.kind).takes is not None:
                spread = overdue(max(0.0, now - job.started_at))
            found.append(Busy(job.id, job.kind, job.queue, spread))
        return found

    def _room(self, ahead: Ahead, kinds: Iterable[str]) -> Room:
        most: dict[str, int] = {}
        rates: dict[str, tuple[float, float]] = {}
        ready = self.ready()
        for name in kinds:
            kind = self._kinds.known(name)
            if kind.max_running is not None:
                most[name] = kind.max_running
            if kind.rate is not None:
                rates[name] = (ready.get(name, 0), kind.rate[1] / kind.rate[0])
        return Room(self._slots, ahead.limits, most, rates)

    def _takes(self, kinds: Iterable[str]) -> dict[str, Takes | None]:
        return {kind: self.histories.of(kind).takes for kind in kinds}


def _late(job: Job, now: float) -> float | None:
    """Return in how many seconds a job comes into line; None where it is in it."""
    return None if job.state not in _JOINS or job.run_at is None else max(0.0, job.run_at - now)


def _stood(job: Job) -> Stood:
    return Stood((-job.priority, job.id), job.kind, job.queue)


def _crowds(place: int, queue: str, ahead: Ahead) -> list[Crowd]:
    """Return about how many jobs of each kind are before a place in a long line.

    What is before it in its own queue is counted; its kinds are mixed there as in the whole queue, and other queues are
    taken to be done as far as this one.
    """
    whole = sum(count for _, name, count in ahead.counts if name == queue)
    share = min(1.0, (place - 1) / whole) if whole else 0.0
    return [Crowd(kind, name, count * share, count) for kind, name, count in ahead.counts]
