"""How long the jobs of each kind took lately and how their bars went, kept in memory as events come."""

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from jalebi.estimates import MARKS, Bar, Shape, Takes, takes
from jalebi.events import Event
from jalebi.jobs import ACTIVE, Job, Progress, State
from jalebi.store.reads import SAMPLE

#: Kinds of which anything is kept, and the bars of one of them.
MOST_KINDS: Final = 300
BARS: Final = 50
#: The shortest job, in seconds, whose bar is kept: positions come ten times a second.
SHORTEST: Final = 2.0


class History:
    """The newest finished jobs of one kind. `complete`: what was finished before the start is here too."""

    def __init__(self) -> None:
        self.complete = False
        self._jobs: deque[tuple[str, float]] = deque(maxlen=SAMPLE)
        self.shapes: deque[Shape] = deque(maxlen=BARS)
        self._durations: list[float] | None = None
        self._takes: Takes | None = None

    def add(self, job_id: str, seconds: float) -> None:
        """Take a job that has completed."""
        self._jobs.append((job_id, seconds))
        self._durations = None

    def fill(self, earlier: Iterable[tuple[str, float]]) -> None:
        """Take what the store has of the time before, oldest first."""
        if self.complete:
            return
        known = {job_id for job_id, _ in self._jobs}
        self._jobs = deque([*(one for one in earlier if one[0] not in known), *self._jobs], maxlen=SAMPLE)
        self.complete, self._durations = True, None

    def _read(self) -> list[float]:
        if self._durations is None:
            self._durations = [seconds for _, seconds in self._jobs]
            self._takes = takes(self._durations)
        return self._durations

    @property
    def durations(self) -> Sequence[float]:
        """How many seconds each took, oldest first."""
        return self._read()

    @property
    def takes(self) -> Takes | None:
        """How long the next one takes, where that is known."""
        self._read()
        return self._takes


class Trace:
    """The bar of a running attempt: when it came to each mark, and when it last moved."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._times: list[float] = []
        self._fraction: float | None = None
        self._moved_at = started_at
        self._again = False  # whether it has gone back: a bar of several rounds says nothing of the whole

    def advance(self, progress: Progress) -> None:
        """Take a position, unless it is an old one."""
        fraction = progress.fraction
        if fraction is None or progress.updated_at < self._moved_at:
            return
        if self._fraction is not None and fraction < self._fraction:
            self._again = True
        before, since = self._fraction or 0.0, self._moved_at
        if fraction != self._fraction:
            self._fraction, self._moved_at = fraction, progress.updated_at
        while len(self._times) < len(MARKS) and fraction >= (mark := MARKS[len(self._times)]) - 1e-9:
            # It came there in between: it is seen now and then only.
            part = 1.0 if fraction <= before else min(1.0, (mark - before) / (fraction - before))
            self._times.append(max(0.0, since + (progress.updated_at - since) * part - self._started_at))

    def shape(self, seconds: float) -> Shape | None:
        """Return how the bar went by the time the job had completed, after so many seconds."""
        if self._fraction is None or self._again or seconds < SHORTEST:
            return None
        shares = array("f", (min(1.0, at / seconds) for at in self._times))
        shares.extend([1.0] * (len(MARKS) - len(shares)))
        return Shape(seconds, shares)

    def bar(self, progress: Progress, now: float) -> Bar | None:
        """Return where the bar is at a Unix time; None where it says nothing."""
        fraction = progress.fraction
        if fraction is None or self._again:
            return None
        elapsed = max(0.0, self._moved_at - self._started_at)
        return Bar(fraction, elapsed, max(0.0, now - self._moved_at), progress.eta_seconds, progress.stalled)


class Histories:
    """The histories of the kinds used last, and the traces of what runs."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[str, History] = OrderedDict()
        self.running: dict[str, Job] = {}
        self._traces: dict[str, Trace] = {}

    def of(self, kind: str) -> History:
        """Return the history of a kind, which may have to be filled first."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = History()
            if len(self._kinds) > MOST_KINDS:
                self._kinds.popitem(last=False)
        else:
            self._kinds.move_to_end(kind)
        return found

    def lacks(self, kind: str) -> bool:
        """Whether the store is to be asked for the kind; any thread may ask."""
        found = self._kinds.get(kind)
        return found is None or not found.complete

    def typical(self, kind: str) -> float | None:
        """Return the middle of what a kind took in seconds, as far as that is known without a look."""
        found = self._kinds.get(kind)
        return None if found is None or found.takes is None else found.takes.spread[len(found.takes.spread) // 2]

    def begin(self, running: Iterable[Job]) -> None:
        """Take what ran as the server was started."""
        self.running = {job.id: job for job in running}

    def note(self, event: Event) -> None:
        """Take an event; it must cost next to nothing."""
        if event.type == "started":
            self.running[event.job.id] = event.job
            self._traces.pop(event.job.id, None)
        elif event.job.state not in ACTIVE and event.job.id in self.running:
            self._over(event.job)

    def _over(self, job: Job) -> None:
        del self.running[job.id]
        trace = self._traces.pop(job.id, None)
        if job.state is not State.COMPLETED or job.started_at is None or job.finished_at is None:
            return
        history, seconds = self.of(job.kind), max(0.0, job.finished_at - job.started_at)
        history.add(job.id, seconds)
        if trace is not None:
            if job.progress is not None:
                trace.advance(job.progress)
            if (shape := trace.shape(seconds)) is not None:
                history.shapes.append(shape)

    def advance(self, job: Job, progress: Progress) -> None:
        """Take the newest position of a running job; it comes ten times a second at most."""
        started = self.running.get(job.id)
        if started is not None and started.attempt == job.attempt and started.started_at is not None:
            trace = self._traces.get(job.id)
            if trace is None:
                trace = self._traces[job.id] = Trace(started.started_at)
            trace.advance(progress)

    def bar(self, job: Job, now: float) -> Bar | None:
        """Return where the bar of a running job is at a Unix time."""
        if job.progress is None or job.started_at is None:
            return None
        trace = self._traces.get(job.id)
        if trace is None:  # nothing was published of it yet
            trace = Trace(job.started_at)
        trace.advance(job.progress)  # which may be newer than the last tick
        return trace.bar(job.progress, now)
