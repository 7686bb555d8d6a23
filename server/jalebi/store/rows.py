"""How a job and its events are written into rows, and read back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from jalebi.events import TERMINAL_TYPES, Event, announced
from jalebi.jobs import Cancellation, Job, Progress, State, Ties
from jalebi.store.packed import Columns

#: The columns of a job in the order in which every statement and every read has them.
JOB_COLUMNS: Final = (
    "id", "kind", "queue", "priority", "tags", "state", "attempt", "tries", "max_attempts", "timeout", "seq", "cursor",
    "created_at", "run_at", "started_at", "finished_at", "expires_at", "worker", "lease_until", "error", "progress",
    "cancellation", "batch", "ties", "args",
)  # fmt: skip
#: What a move may change. An event's body keeps these, so that the job can be shown as of the event.
MOVING: Final = (
    "state", "attempt", "tries", "run_at", "started_at", "finished_at", "expires_at", "worker", "lease_until", "error",
    "progress", "cancellation",
)  # fmt: skip

#: What is in a row besides, as it was at the last event.
MOVED: Final = ("seq", "cursor", *MOVING)
_JSON: Final = frozenset({"tags", "error", "progress", "cancellation", "ties"})
_GET: Final = {name: attrgetter(name) for name in JOB_COLUMNS}
_STATE: Final = {state: state.value for state in State}  # plain text, which is bound at once

_progress = msgspec.json.Decoder(Progress)
_cancellation = msgspec.json.Decoder(Cancellation)
_ties = msgspec.json.Decoder(Ties)
_encode = msgspec.json.encode


def states(wanted: Iterable[State]) -> str:
    """Return states as a list for SQL's IN."""
    return "(" + ", ".join(f"'{state}'" for state in sorted(wanted)) + ")"


def text(value: Any) -> str | None:
    """Return a value as JSON text, None as None."""
    return None if value is None else _encode(value).decode()


def job_columns(jobs: Sequence[Job]) -> Columns:
    """Return the columns of new jobs."""
    return [(name, _column(name, jobs)) for name in JOB_COLUMNS]


def moved_columns(before: Sequence[Job], after: Sequence[Job]) -> Columns:
    """Return what moves have changed, the id first."""
    changed: Columns = [
        (name, _column(name, after)) for name in MOVED if list(map(_GET[name], before)) != list(map(_GET[name], after))
    ]
    return [("id", _column("id", after)), *changed]


def _column(name: str, jobs: Sequence[Job]) -> Sequence[Any]:
    column = list(map(_GET[name], jobs))
    if name == "state":
        return list(map(_STATE.__getitem__, column))
    return [None if value is None else text(value) for value in column] if name in _JSON else column


def from_row(row: Sequence[Any]) -> Job:
    """Return the job in a row of JOB_COLUMNS."""
    (
        id_, kind, queue, priority, tags, state, attempt, tries, max_attempts, timeout, seq, cursor, created_at, run_at,
        started_at, finished_at, expires_at, worker, lease_until, error, progress, cancellation, batch, ties, args,
    ) = row  # fmt: skip
    return Job(
        id=id_,
        kind=kind,
        args=args,
        queue=queue,
        priority=priority,
        tags=() if tags == "[]" else tuple(json.loads(tags)),
        state=State(state),
        attempt=attempt,
        tries=tries,
        max_attempts=max_attempts,
        timeout=timeout,
        seq=seq,
        cursor=cursor,
        created_at=created_at,
        run_at=run_at,
        started_at=started_at,
        finished_at=finished_at,
        expires_at=expires_at,
        worker=worker,
        lease_until=lease_until,
        error=None if error is None else json.loads(error),
        progress=None if progress is None else _progress.decode(progress),
        cancellation=None if cancellation is None else _cancellation.decode(cancellation),
        batch=batch,
        ties=None if ties is None else _ties.decode(ties),
    )


class Kept(msgspec.Struct, omit_defaults=True):
    """What an event's row keeps of the job; what is as it mostly is with its type is left out (see `_usual`)."""

    state: State | None = None
    attempt: int = 1
    tries: int = 1
    run_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    error: Mapping[str, Any] | None = None
    progress: Progress | None = None
    cancellation: Cancellation | None = None
    expires_at: float | None = None
    extra: Mapping[str, Any] | None = None


_kept = msgspec.json.Decoder(Kept)
_NEW: Final = Kept(attempt=0, tries=0)
_STARTED: Final = Kept()
#: The state of a job as of an event that does not say; of a file it always does.
_USUAL: Final = {announced(state): state for state in State} | {"created": State.QUEUED}


def event_body(event: Event) -> str | None:
    """Return what an event's row keeps: for a log line the line, else the moving part of the job.

    None for a job that was just put into line, and for the start of a first attempt.
    """
    job, type_ = event.job, event.type
    if type_ == "log":
        return _encode({**(event.extra or {}), "state": job.state}).decode()
    kept = Kept(
        None if job.state is _USUAL.get(type_) else job.state,
        job.attempt,
        job.tries,
        job.run_at,
        None if type_ == "started" and job.started_at == event.at else job.started_at,
        None if job.finished_at == event.at else job.finished_at,
        job.error,
        job.progress,
        job.cancellation,
        job.expires_at,
        event.extra,
    )
    if (type_ == "created" and kept == _NEW) or (type_ == "started" and kept == _STARTED):
        return None
    return _encode(kept).decode()


def event_from(job: Job, number: int, seq: int, type_: str, at: float, line: int | None, body: str | None) -> Event:
    """Return the event in a row, with `job` (as it is now) turned back to what it was then."""
    if type_ == "log":
        extra: dict[str, Any] = (
            json.loads(body) if body else {"log": {"line": line, "level": "info", "message": "", "dropped": True}}
        )
        state = State(extra.pop("state", State.RUNNING))
        return Event(number, type_, at, replace(job, seq=seq, cursor=number, state=state), extra)
    kept = _kept.decode(body) if body else _NEW if type_ == "created" else _STARTED
    then = replace(
        job,
        seq=seq,
        cursor=number,
        state=kept.state or _USUAL[type_],
        attempt=kept.attempt,
        tries=kept.tries,
        run_at=kept.run_at,
        started_at=at if type_ == "started" and kept.started_at is None else kept.started_at,
        finished_at=at if type_ in TERMINAL_TYPES and kept.finished_at is None else kept.finished_at,
        error=kept.error,
        expires_at=kept.expires_at,
        progress=kept.progress,
        cancellation=kept.cancellation,
    )
    return Event(number, type_, at, then, kept.extra)
