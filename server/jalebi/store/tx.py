"""One transaction, and the operations that are carried out in it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from msgspec.structs import replace

from jalebi.events import Event, announced, encode
from jalebi.jobs import Job, State
from jalebi.store import faults, packed
from jalebi.store.recent import Recent
from jalebi.store.rows import JOB_COLUMNS, event_body, from_row, job_columns, moved_columns
from jalebi.store.tally import Tally

_HEADS: Final = (
    f"SELECT {', '.join('job.' + name for name in JOB_COLUMNS)} "
    "FROM json_each(?) AS v CROSS JOIN job ON job.id = v.value"
)
_EVENT: Final = ("number", "job_id", "seq", "type", "at", "line", "body")
_PULSE: Final = (
    "INSERT INTO pulse (second, created, completed, failed, cancelled) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET "
    "created = created + excluded.created, completed = completed + excluded.completed, "
    "failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled"
)
_COUNTED: Final = ("created", "completed", "failed", "cancelled")


@dataclass(eq=False)
class Op:
    """Something to be written; its future gets the answer after the commit."""

    #: Operations of one transaction are carried out kind by kind, in this order.
    rank: ClassVar[int] = 50
    #: Whether it goes on when space is short: it ends what is under way, or makes room.
    essential: ClassVar[bool] = False
    future: "asyncio.Future[Any] | None" = field(default=None, init=False)

    @classmethod
    def run(cls, tx: "Tx", ops: Sequence[Any]) -> list[Any]:
        """Carry out all operations of this kind; return an answer or a JalebiError for each.

        Any other exception undoes the transaction; then each operation is tried in one of its own.
        """
        raise NotImplementedError


class _Parked:
    """The answer of an operation that goes on waiting."""


PARKED: Final = _Parked()


class Starter(Protocol):
    """What starts new jobs as they come in."""

    def begin(self, tx: "Tx", fresh: Sequence[Job]) -> list[Job]:
        """Return those that start at once, as they are then."""


class Tx:
    """One transaction: what it moves is announced by an event in the same commit."""

    def __init__(
        self, connection: Any, now: float, steady: float, last_number: int, tally: Tally, recent: Recent
    ) -> None:
        self.connection = connection
        self.now = now
        self.steady = steady  # by a clock that nobody sets: leases are measured with it
        self.tally = tally
        self.events: list[Event] = []
        self.purged: set[str] = set()  # jobs deleted here: what the same transaction did to them leaves no rows
        self.shrunk: set[str] = set()  # batches of which a job was deleted that was not over
        self.over: dict[str, State] = {}  # what new jobs wait for in vain: it was over before
        self.queued = False  # whether a job came into line
        self.freed = False  # whether an attempt ended
        self.due_at: float | None = None  # the soonest time at which a job of this transaction comes due
        self.committed: list[Callable[[], object]] = []  # what is to be done once it is on disk
        self.number = last_number
        self._recent = recent
        self._fresh: Sequence[Job] = ()  # new jobs that are not written yet
        self._heads: dict[str, Job] = {}  # what was looked at, as it stands
        self._batches: Counter[tuple[str, State]] = Counter()

    def execute(self, statement: str, *parameters: Any) -> Any:
        """Run a statement; answers come from the cursor it returns."""
        return self.connection.execute(statement, parameters)

    def heads(self, ids: Sequence[str]) -> dict[str, Job]:
        """Return those of the jobs that exist."""
        found: dict[str, Job] = {}
        missing = []
        for job_id in ids:
            job = self._heads.get(job_id) or self._recent.get(job_id)
            if job is None:
                missing.append(job_id)
            else:
                found[job_id] = job
        if missing:
            rows = self.execute(_HEADS, encode(missing).decode())
            found |= {row[0]: from_row(row) for row in rows}
        self._heads |= found
        return found

    def announce(self, job: Job, type_: str | None = None, extra: dict[str, Any] | None = None) -> Job:
        """Number the event of a job's move; return the job with its cursor. `write` or `insert` must follow."""
        self.number += 1
        job = replace(job, cursor=self.number)
        self.events.append(Event(self.number, type_ or announced(job.state), self.now, job, extra))
        if job.state is State.QUEUED:
            self.queued = True
        if job.run_at is not None and (self.due_at is None or job.run_at < self.due_at):
            self.due_at = job.run_at
        return job

    def insert(self, jobs: Sequence[Job]) -> None:
        """Write new jobs."""
        if not jobs:
            return
        packed.insert(self.connection, "INTO job", job_columns(jobs))
        self.tally.came(jobs)
        for job in jobs:
            if job.batch is not None:
                self._batches[job.batch, job.state] += 1
        self._heads |= {job.id: job for job in jobs}
        self._recent.put(jobs)

    def arrange(self, jobs: Sequence[Job]) -> None:
        """Take new jobs to which nothing is tied; `insert_fresh` writes them."""
        self._fresh = jobs
        self._heads |= {job.id: job for job in jobs}

    def insert_fresh(self, starters: Sequence[Starter] = ()) -> None:
        """Write the new jobs, and start those for which somebody has a slot free.

        A job that waits for nothing is written once, as it runs, and in no index of those that wait.
        """
        fresh, self._fresh = self._fresh, ()
        if not fresh:
            return
        for starter in starters:
            begun = {job.id: job for job in starter.begin(self, fresh)}
            if begun:
                fresh = [begun.get(job.id, job) for job in fresh]
        self.insert(fresh)

    def write(self, jobs: Sequence[Job]) -> None:
        """Write jobs that have moved, each of them one of `heads`."""
        if not jobs:
            return
        before = [self._heads[job.id] for job in jobs]
        packed.update(self.connection, "job", moved_columns(before, jobs))
        self.tally.moved(zip(before, jobs, strict=True))
        for old, job in zip(before, jobs, strict=True):
            self._heads[job.id] = job
            if job.batch is not None and old.state is not job.state:
                self._batches[job.batch, old.state] -= 1
                self._batches[job.batch, job.state] += 1
        self._recent.put(jobs)

    def changed_aside(self, ids: Sequence[str]) -> None:
        """Forget jobs that a statement has changed, or deleted: they are read again."""
        self._recent.drop(ids)
        for job_id in ids:
            self._heads.pop(job_id, None)

    def all_changed_aside(self) -> None:
        """Forget all jobs: nobody knows which a statement has changed."""
        self._recent.clear()
        self._heads.clear()

    def shrink(self, batch: str, state: str, n: int) -> None:
        """Count the jobs of a batch that are deleted."""
        self._batches[batch, State(state)] -= n

    def write_batches(self) -> None:
        """Write how many jobs of the batches are in each state; whoever reads it in the transaction asks for it."""
        rows = [(batch, state.value, n) for (batch, state), n in self._batches.items() if n]
        self._batches.clear()
        packed.insert(
            self.connection, "INTO batch_tally", packed.columns_of(("batch", "state", "n"), rows),
            "ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )  # fmt: skip

    def finish(self) -> None:
        """Write the events and what is counted of them."""
        self.insert_fresh()
        if self.purged:  # else the newest event has it
            self.execute("UPDATE meta SET value = ? WHERE name = 'number'", str(self.number))
        self.tally.write(self.connection)
        self.write_batches()
        if not self.events:
            return
        rows = [
            (e.number, e.job.id, e.job.seq, e.type, e.at,
             e.extra["log"]["line"] if e.extra and e.type == "log" else None, event_body(e))
            for e in self.events
            if e.job.id not in self.purged
        ]  # fmt: skip
        packed.insert(self.connection, "INTO event", packed.columns_of(_EVENT, rows))
        counts = Counter(event.type for event in self.events)
        pulse = [counts[name] for name in _COUNTED]
        if any(pulse):
            self.execute(_PULSE, int(self.now), *pulse)
        if counts["failed"] or counts["retrying"]:
            faults.record(self.connection, self.events, self.now)
