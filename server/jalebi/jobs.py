"""What a job is, which moves its life allows, and the arithmetic of retries: no I/O, no clock."""

import random as _random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from jalebi.errors import JobActive, JobFinished
from jalebi.estimates import Span


class State(StrEnum):
    """Where a job is in its life; a closed set."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RETRYING = "retrying"
    BLOCKED = "blocked"
    RUNNING = "running"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


WAITING: Final = frozenset({State.SCHEDULED, State.QUEUED, State.RETRYING, State.BLOCKED})
ACTIVE: Final = frozenset({State.RUNNING, State.CANCELLING})
TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})

MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.SCHEDULED: frozenset({State.QUEUED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RETRYING: frozenset({State.QUEUED, State.CANCELLED}),
    State.BLOCKED: frozenset({State.QUEUED, State.CANCELLED}),
    # back to queued: handed back by a worker that drains
    State.RUNNING: frozenset({State.COMPLETED, State.FAILED, State.RETRYING, State.QUEUED, State.CANCELLING}),
    State.CANCELLING: frozenset({State.CANCELLED}),
    # a manual retry starts a finished job over
    State.COMPLETED: frozenset({State.QUEUED}),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}

MAX_BACKOFF: Final = 3600.0


def sources(target: State) -> frozenset[State]:
    """Return the states that a job may leave to reach `target`."""
    return frozenset(state for state, targets in MOVES.items() if target in targets)


class Progress(Struct, frozen=True):
    """The latest position of a running attempt; `rate` is in units a second, times are Unix seconds."""

    done: float
    total: float | None = None
    unit: str | None = None
    message: str | None = None
    rate: float | None = None
    updated_at: float = 0.0
    stalled: bool = False  # no report for many times the usual interval
    left: Span | None = None  # seconds that the job still takes, as far as is known when it is shown; never stored

    @property
    def fraction(self) -> float | None:
        """How much is done, from 0 to 1, or None where the total is unknown."""
        if self.total is None:
            return None
        if self.total <= 0:
            return 1.0
        return min(1.0, max(0.0, self.done / self.total))

    @property
    def eta_seconds(self) -> float | None:
        """How long the rest takes at the current rate, or None where that can't be said."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, (self.total - self.done) / self.rate)


class Cancellation(Struct, frozen=True):
    """The receipts of a cancellation, in Unix seconds: asked for, told to the attempt, heard by its code, over.

    An attempt that ends by itself or at SIGTERM has `stopped_at`, one whose process had to be killed `killed_at`.
    """

    requested_at: float
    delivered_at: float | None = None
    acknowledged_at: float | None = None
    stopped_at: float | None = None
    killed_at: float | None = None


class Webhook(Struct, frozen=True):
    """Who is told over HTTP that something is over, and of which ends (`completed`, `failed`, `cancelled`)."""

    url: str
    events: tuple[str, ...] = ("completed", "failed", "cancelled")


class Ties(Struct, frozen=True):
    """What a job waits for and who waits for it.

    `after` are ids of jobs and batches that have to complete before it; where one of them does not, the job is
    cancelled, or runs all the same where `after_failure` says so.
    """

    after: tuple[str, ...] = ()
    after_failure: Literal["cancel", "run"] = "cancel"
    webhook: Webhook | None = None


class Job(Struct, frozen=True, kw_only=True):
    """A job as it is stored. Times are Unix seconds; `args` is JSON text; `cursor` is the number of its last event.

    `batch` is the id of the batch that it was submitted with.
    """

    id: str
    kind: str
    args: str
    queue: str
    priority: int
    tags: tuple[str, ...]
    state: State
    attempt: int = 0
    tries: int = 0  # attempts used of the present budget; a manual retry starts a new one
    max_attempts: int
    timeout: float
    seq: int = 1
    cursor: int = 0
    created_at: float
    run_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    worker: str | None = None
    lease_until: float | None = None
    error: Mapping[str, Any] | None = None
    progress: Progress | None = None
    cancellation: Cancellation | None = None
    batch: str | None = None
    ties: Ties | None = None

    @property
    def terminal(self) -> bool:
        """Whether the job is over."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned; `result` is JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed; it is run again after `delay` seconds where `retry` allows and attempts are left."""

    error: Mapping[str, Any]
    retry: bool = True
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """The attempt ended because it was cancelled; `killed`: its process had to be killed."""

    killed: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """The worker hands the attempt back unfinished; it does not use up the budget."""


Outcome = Completed | Failed | Stopped | Released


def _move(job: Job, state: State, **changes: Any) -> Job:
    if state not in MOVES[job.state]:
        raise ValueError(f"a job can't move from {job.state} to {state}")
    return replace(job, state=state, seq=job.seq + 1, **changes)


def due(job: Job) -> Job:
    """Return the job as its scheduled time or its retry has come."""
    return _move(job, State.QUEUED, run_at=None)


def unblocked(job: Job) -> Job:
    """Return the job as nothing is left that it waits for."""
    return _move(job, State.QUEUED)


def claimed(job: Job, *, now: float, worker: str, lease_until: float) -> Job:
    """Return the job as its next attempt starts on `worker`, safe until its lease ends."""
    return _move(
        job,
        State.RUNNING,
        attempt=job.attempt + 1,
        tries=job.tries + 1,
        started_at=now,
        worker=worker,
        lease_until=lease_until,
        progress=None,
    )


def _over(now: float, keep: float | None) -> dict[str, float | None]:
    return {"finished_at": now, "expires_at": None if keep is None else now + keep}


def settled(
    job: Job, outcome: Outcome, *, now: float, progress: Progress | None = None, keep: float | None = None
) -> Job:
    """Return the job as its attempt ends; a job that is being cancelled is cancelled whatever the outcome.

    `keep` is for how many seconds a job that is over is kept, None for ever.
    """
    progress = progress or job.progress
    if progress is not None and progress.stalled:
        progress = replace(progress, stalled=False)  # it has ended
    idle: dict[str, Any] = {"worker": None, "lease_until": None, "progress": progress}
    if job.state is State.CANCELLING:
        receipts = job.cancellation or Cancellation(now)
        killed = isinstance(outcome, Stopped) and outcome.killed
        receipts = replace(receipts, killed_at=now) if killed else replace(receipts, stopped_at=now)
        return _move(job, State.CANCELLED, cancellation=receipts, **_over(now, keep), **idle)
    match outcome:
        case Completed():
            return _move(job, State.COMPLETED, error=None, **_over(now, keep), **idle)
        case Failed(error=error, retry=retry, delay=delay):
            error = {**error, "attempt": job.attempt}
            if retry and job.tries < job.max_attempts:
                return _move(job, State.RETRYING, run_at=now + delay, error=error, **idle)
            return _move(job, State.FAILED, error=error, **_over(now, keep), **idle)
        case Stopped():
            # Only a job that nobody cancelled comes here: it raised the stop itself.
            error = failure("JobStopped", "The job stopped itself without being cancelled.")
            return settled(job, Failed(error, retry=False), now=now, progress=progress, keep=keep)
        case Released():
            return _move(job, State.QUEUED, tries=job.tries - 1, **idle)


def cancelled(job: Job, *, now: float, reason: str | None, keep: float | None = None) -> Job:
    """Return the job as somebody cancels it; a job already cancelled or cancelling comes back unchanged.

    Raises JobFinished where it completed or failed.
    """
    if job.state in {State.CANCELLED, State.CANCELLING}:
        return job
    error = failure("Cancelled", reason) if reason else job.error
    if job.state is State.RUNNING:
        return _move(job, State.CANCELLING, error=error, cancellation=Cancellation(now))
    if job.terminal:
        raise JobFinished(f"The job is {job.state} already.")
    receipts = Cancellation(now, stopped_at=now)
    return _move(job, State.CANCELLED, run_at=None, error=error, cancellation=receipts, **_over(now, keep))


def retried(job: Job) -> Job:
    """Return a finished job as it starts over with a fresh budget of attempts. Raises JobActive otherwise."""
    if not job.terminal:
        raise JobActive(f"The job is {job.state}; only a finished job can be retried.")
    fresh: dict[str, Any] = dict.fromkeys(
        ("finished_at", "run_at", "expires_at", "error", "progress", "cancellation"), None
    )
    return _move(job, State.QUEUED, tries=0, **fresh)


def deletable(job: Job) -> None:
    """Raise JobActive where the job is running or being cancelled."""
    if job.state in ACTIVE:
        raise JobActive(f"The job is {job.state}; cancel it first.")


def batch_state(counts: Mapping[str, int]) -> State:
    """Return how a batch stands whose jobs are in these states, so many in each.

    Waiting jobs alone are `queued`; one that is over or active makes it `running`, until all are over: then it is
    `failed` or `cancelled` where one of them is, in this order, and `completed` else.
    """
    there = {State(state) for state, n in counts.items() if n > 0}
    if there <= WAITING:
        return State.QUEUED
    if not there <= TERMINAL:
        return State.RUNNING
    return next(state for state in (State.FAILED, State.CANCELLED, State.COMPLETED) if state in there)


def failure(kind: str, message: str, traceback: str | None = None) -> dict[str, Any]:
    """Return the error document of a failed attempt, without the attempt's number."""
    return {"type": kind, "message": message, "traceback": traceback}


def backoff(
    policy: float | Callable[[int], float], attempt: int, random: Callable[[float, float], float] = _random.uniform
) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (1 = the first of its budget).

    A number doubles with every attempt and is spread by up to 10 % either way; a callable is taken at its word.
    """
    if callable(policy):
        return max(0.0, float(policy(attempt)))
    return min(MAX_BACKOFF, policy * 2.0 ** min(attempt - 1, 30)) * random(0.9, 1.1)
