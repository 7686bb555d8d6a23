"""What subscribers hear, and how jobs, events and progress are written on the wire: no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from jalebi.estimates import Basis, Span
from jalebi.jobs import TERMINAL, Cancellation, Job, Progress, State, Ties, batch_state

encode = msgspec.json.encode

#: The durable types. A change of state is announced by the state's name, but a start and a submission.
TYPES: Final = (
    "created", "queued", "started", "log", "file", "retrying", "cancelling", "completed", "failed", "cancelled",
)  # fmt: skip
TERMINAL_TYPES: Final = frozenset({"completed", "failed", "cancelled"})
_ANNOUNCED: Final = {state: state.value for state in State} | {State.RUNNING: "started"}
_NO_TIES: Final = Ties()


class Event(Struct, frozen=True):
    """A durable fact: `number` orders all events of one installation, `seq` those of one job.

    `job` is the job as of the event. `extra` is what only this type carries: `log` or `file`.
    """

    number: int
    type: str
    at: float
    job: Job
    extra: Mapping[str, Any] | None = None

    @property
    def seq(self) -> int:
        """The event's place among those of its job, from 1 without holes."""
        return self.job.seq


@dataclass(frozen=True, slots=True)
class Hello:
    """What comes next is after event `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job as a reader begins with it."""

    job: Job


@dataclass(frozen=True, slots=True)
class Reset:
    """Events that the reader has not had are gone: snapshots as of event `number` follow, and Hello after them."""

    number: int
    at: float
    reason: str


def announced(state: State) -> str:
    """Return the event type that announces a move to `state`."""
    return _ANNOUNCED[state]


def rfc3339(at: float | None) -> str | None:
    """Return a Unix time as an RFC 3339 UTC timestamp with milliseconds."""
    if at is None:
        return None
    seconds, rest = divmod(round(at * 1_000_000), 1_000_000)
    return f"{_second(seconds)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=512)
def _second(seconds: int) -> str:
    # Most times that are written are of this second or of few others.
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


def cursor_text(epoch: str, number: int) -> str:
    """Return the cursor after event `number`; `epoch` names the installation."""
    return f"{epoch}-{number}"


def cursor_number(epoch: str, text: str) -> int:
    """Return the event number that a cursor names. Raises ValueError for a cursor that is not of this installation."""
    mine, _, number = text.partition("-")
    if mine != epoch or not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise ValueError("the cursor is not one of this installation")
    return int(number)


def links(job_id: str, root: str) -> dict[str, str]:
    """Return the links of a job, as absolute paths under the application's `root` path."""
    api = f"{root}/v1/jobs/{job_id}"
    return {
        "self": api,
        "status": f"{api}/status",
        "result": f"{api}/result",
        "events": f"{api}/events",
        "logs": f"{api}/logs",
        "ws": f"{root}/ws/jobs/{job_id}",
        "html": f"{root}/jobs/{job_id}",
    }


def progress_wire(progress: Progress | None) -> dict[str, Any] | None:
    """Return the wire form of a progress."""
    if progress is None:
        return None
    eta = progress.eta_seconds
    return {
        "done": _number(progress.done),
        "total": _number(progress.total),
        "fraction": progress.fraction,
        "unit": progress.unit,
        "message": progress.message,
        "rate": None if progress.rate is None else round(progress.rate, 3),
        "eta_seconds": None if eta is None else round(eta, 1),
        "updated_at": rfc3339(progress.updated_at),
        "stalled": progress.stalled,
    }


def cancellation_wire(receipts: Cancellation | None) -> dict[str, Any] | None:
    """Return the wire form of a cancellation's receipts."""
    if receipts is None:
        return None
    return {
        "requested_at": rfc3339(receipts.requested_at),
        "delivered_at": rfc3339(receipts.delivered_at),
        "acknowledged_at": rfc3339(receipts.acknowledged_at),
        "stopped_at": rfc3339(receipts.stopped_at),
        "killed_at": rfc3339(receipts.killed_at),
    }


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a waiting or running job may expect: its place in line (1 = next) and Unix times, where known.

    `samples` finished jobs of its kind were looked at; `basis`: whether their durations tell, its progress, or both.
    """

    position: int | None = None
    start: Span | None = None
    finish: Span | None = None
    samples: int = 0
    basis: Basis | None = None


def estimate_wire(outlook: Outlook) -> dict[str, Any] | None:
    """Return the wire form of the ranges in which a job probably starts and finishes; None where nothing is known."""
    if outlook.start is None and outlook.finish is None:
        return None
    return {
        "start": _range(outlook.start),
        "finish": _range(outlook.finish),
        "samples": outlook.samples,
        "basis": outlook.basis,
    }


def _range(span: Span | None) -> dict[str, Any] | None:
    return None if span is None else {"earliest": rfc3339(span.earliest), "latest": rfc3339(span.latest)}


def job_wire(job: Job, *, root: str, epoch: str, outlook: Outlook | None = None) -> dict[str, Any]:
    """Return the wire form of a job; its links respect the application's `root` path."""
    known, ties = outlook or Outlook(), job.ties or _NO_TIES
    start = None if known.start is None else known.start.median
    finish = None if known.finish is None else known.finish.median
    if outlook is None and job.progress is not None and job.state is State.RUNNING:
        # An event tells what was: the newest rate must do.
        eta = job.progress.eta_seconds
        finish = None if eta is None else job.progress.updated_at + eta
    return {
        "id": job.id,
        "kind": job.kind,
        "args": msgspec.Raw(job.args.encode()),
        "queue": job.queue,
        "priority": job.priority,
        "tags": list(job.tags),
        "state": job.state.value,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "timeout": _number(job.timeout),
        "seq": job.seq,
        "cursor": cursor_text(epoch, job.cursor),
        "created_at": rfc3339(job.created_at),
        "run_at": rfc3339(job.run_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "expires_at": rfc3339(job.expires_at),
        "progress": progress_wire(job.progress),
        "position": known.position,
        "estimated_start_at": rfc3339(start),
        "estimated_finish_at": rfc3339(finish),
        "estimate": estimate_wire(known),
        "error": job.error,
        "stalled": job.progress is not None and job.progress.stalled,
        "cancellation": cancellation_wire(job.cancellation),
        "batch": job.batch,
        "after": list(ties.after),
        "after_failure": ties.after_failure,
        "webhook": None if ties.webhook is None else {"url": ties.webhook.url, "events": list(ties.webhook.events)},
        "links": links(job.id, root),
    }


def batch_wire(
    batch_id: str,
    counts: Mapping[str, int],
    running: float = 0.0,
    *,
    created_at: float,
    last: str | None,
    root: str,
) -> dict[str, Any]:
    """Return the wire form of a batch: how many of its jobs are in each state, and their progress together.

    `running` is the sum of the fractions of what runs, `last` the id of the job that runs finally.
    """
    total = sum(counts.values())
    done = sum(n for state, n in counts.items() if state in TERMINAL) + running
    api = f"{root}/v1/batches/{batch_id}"
    return {
        "id": batch_id,
        "state": batch_state(counts).value,
        "created_at": rfc3339(created_at),
        "counts": {state.value: counts.get(state.value, 0) for state in State},
        "progress": {
            "done": _number(round(done, 3)),
            "total": total,
            "fraction": round(done / total, 6) if total else 1.0,
            "unit": "jobs",
        },
        "finally": last,
        "links": {
            "self": api,
            "events": f"{api}/events",
            "results": f"{api}/results",
            "cancel": f"{api}/cancel",
            "jobs": f"{root}/v1/jobs?batch={batch_id}",
            "html": f"{root}/jobs?batch={batch_id}",
        },
    }


def event_wire(event: Event, *, root: str, epoch: str) -> dict[str, Any]:
    """Return the wire form of a durable event."""
    wire: dict[str, Any] = {
        "type": event.type,
        "job_id": event.job.id,
        "seq": event.seq,
        "cursor": cursor_text(epoch, event.number),
        "at": rfc3339(event.at),
    }
    if event.extra is not None:
        wire.update(event.extra)
    if event.type != "log":
        wire["job"] = job_wire(event.job, root=root, epoch=epoch)
    return wire


def opening_wire(message: Hello | Snapshot | Reset, *, root: str, epoch: str) -> dict[str, Any]:
    """Return the wire form of what is no event: where a stream begins, and with what."""
    match message:
        case Hello(number):
            return {"type": "hello", "cursor": cursor_text(epoch, number)}
        case Snapshot(job):
            return {"type": "snapshot", "seq": job.seq, "job": job_wire(job, root=root, epoch=epoch)}
        case Reset(number, at, reason):
            return {"type": "reset", "cursor": cursor_text(epoch, number), "at": rfc3339(at), "reason": reason}


def progress_event(job_id: str, seq: int, progress: Progress) -> dict[str, Any]:
    """Return the wire form of a progress; `seq` is that of the last durable event before it."""
    return {
        "type": "progress",
        "job_id": job_id,
        "seq": seq,
        "at": rfc3339(progress.updated_at),
        "progress": progress_wire(progress),
    }


def _number(value: float | None) -> float | int | None:
    """Write whole numbers without a fraction: a caller who counts pages wants 84, not 84.0."""
    if value is None:
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else value
