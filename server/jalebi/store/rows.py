"""How a job and its events are written into rows, and read back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from jalebi.events import Event
from jalebi.jobs import Cancellation, Job, Progress, State, Ties

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


def to_row(job: Job) -> tuple[Any, ...]:
    """Return a job's columns."""
    return (
        job.id, job.kind, job.queue, job.priority, text(job.tags), job.state, job.attempt, job.tries, job.max_attempts,
        job.timeout, job.seq, job.cursor, job.created_at, job.run_at, job.started_at, job.finished_at, job.expires_at,
        job.worker, job.lease_until, text(job.error), text(job.progress), text(job.cancellation), job.batch,
        text(job.ties), job.args,
    )  # fmt: skip


def to_move(job: Job) -> tuple[Any, ...]:
    """Return what a move has changed: the id, `seq`, `cursor` and the columns of MOVING."""
    return (
        job.id, job.seq, job.cursor, job.state, job.attempt, job.tries, job.run_at, job.started_at, job.finished_at,
        job.expires_at, job.worker, job.lease_until, text(job.error), text(job.progress), text(job.cancellation),
    )  # fmt: skip


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


def event_body(event: Event) -> str:
    """Return what an event's row keeps: for a log line the line, else the moving part of the job."""
    if event.type == "log":
        return _encode({**(event.extra or {}), "state": event.job.state}).decode()
    job = event.job
    kept: dict[str, Any] = {
        "state": job.state,
        "attempt": job.attempt,
        "tries": job.tries,
        "run_at": job.run_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "error": job.error,
        "progress": job.progress,
    }
    if job.cancellation is not None:
        kept["cancellation"] = job.cancellation
    if job.expires_at is not None:
        kept["expires_at"] = job.expires_at
    if event.extra is not None:
        kept["extra"] = event.extra
    return _encode(kept).decode()


def event_from(job: Job, number: int, seq: int, type_: str, at: float, line: int | None, body: str | None) -> Event:
    """Return the event in a row, with `job` (as it is now) turned back to what it was then."""
    if type_ == "log":
        extra: dict[str, Any] = (
            json.loads(body) if body else {"log": {"line": line, "level": "info", "message": "", "dropped": True}}
        )
        state = State(extra.pop("state", State.RUNNING))
        return Event(number, type_, at, replace(job, seq=seq, cursor=number, state=state), extra)
    kept: Mapping[str, Any] = json.loads(body or "{}")
    then = replace(
        job,
        seq=seq,
        cursor=number,
        state=State(kept["state"]),
        attempt=kept["attempt"],
        tries=kept["tries"],
        run_at=kept["run_at"],
        started_at=kept["started_at"],
        finished_at=kept["finished_at"],
        error=kept["error"],
        expires_at=kept.get("expires_at"),
        progress=None if kept["progress"] is None else Progress(**kept["progress"]),
        cancellation=None if kept.get("cancellation") is None else Cancellation(**kept["cancellation"]),
    )
    return Event(number, type_, at, then, kept.get("extra"))
