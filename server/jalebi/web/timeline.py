"""A job's attempts as a time line: how long each waited and ran, how it ended, and what comes next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from jalebi.events import Event
from jalebi.jobs import WAITING, Job
from jalebi.web import words

#: The width of a time line, in its own units, and the least that something is drawn with.
WIDTH: Final = 1000.0
LEAST: Final = 6.0


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the time line."""

    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, or a wait that none came after; times are Unix seconds.

    `how` is running, cancelling, completed, failed, retrying, cancelled, waiting, or handed-back.
    """

    number: int
    how: str
    since: float | None  # when it began to wait
    started_at: float | None = None
    ended_at: float | None = None
    error: Mapping[str, Any] | None = None
    retry_at: float | None = None
    receipts: Sequence[words.Step] = ()
    wait: Span = field(default=Span())
    run: Span = field(default=Span())

    @property
    def waited(self) -> float | None:
        """For how many seconds it waited; None where it still does."""
        until = self.started_at if self.started_at is not None else self.ended_at
        return None if until is None or self.since is None else max(0.0, until - self.since)

    @property
    def ran(self) -> float | None:
        """For how many seconds it ran; None where it still does, or never did."""
        return None if self.ended_at is None or self.started_at is None else max(0.0, self.ended_at - self.started_at)

    @property
    def fault(self) -> str:
        """The first line of what went wrong."""
        if self.error is None:
            return ""
        first = (str(self.error.get("message") or "").strip().splitlines() or [""])[0]
        return ": ".join(part for part in (str(self.error.get("type") or ""), first) if part)


def attempts(job: Job, moves: Iterable[Event], now: float) -> list[Attempt]:
    """Return the attempts that a job's moves tell of, oldest first, and what it waits for."""
    found: list[Attempt] = []
    since: float | None = None
    running = over = False
    for event in moves:
        then = event.job
        match event.type:
            case "created":
                since = event.at
            case "queued":
                if running:
                    found[-1] = replace(found[-1], how="handed-back", ended_at=event.at)
                if running or over or since is None:
                    since = event.at
                running = over = False
            case "started":
                found.append(Attempt(then.attempt, "running", since, event.at))
                running = True
            case "cancelling" if running:
                found[-1] = replace(found[-1], how="cancelling", receipts=words.receipts(job))
            case "retrying" | "completed" | "failed" | "cancelled":
                last = found.pop() if running else Attempt(then.attempt + 1, event.type, since)
                found.append(_ended(last, event))
                since, running, over = event.at, False, event.type != "retrying"
    if not running and job.state in WAITING:
        found.append(Attempt(job.attempt + 1, "waiting", since, retry_at=job.run_at))
    return _drawn(found, job, now)


def _ended(attempt: Attempt, event: Event) -> Attempt:
    then = event.job
    error = then.error if event.type in {"retrying", "failed"} else None
    if event.type == "cancelled":
        # The error that a cancelled job has may be that of an attempt before.
        error = then.error if then.error and then.error.get("type") == "Cancelled" else None
    return replace(
        attempt,
        how=event.type,
        ended_at=event.at,
        error=error,
        retry_at=then.run_at if event.type == "retrying" else None,
        receipts=words.receipts(then) if event.type == "cancelled" else (),
    )


def _drawn(found: list[Attempt], job: Job, now: float) -> list[Attempt]:
    """Give each attempt its place: one begins to wait where the one before has ended, however long it is ago."""
    lengths = []
    for one in found:
        end = one.ended_at if one.ended_at is not None else max(now, one.started_at or 0.0)
        start = one.started_at if one.started_at is not None else end
        lengths.append((max(0.0, start - (start if one.since is None else one.since)), max(0.0, end - start)))
    total = sum(wait + run for wait, run in lengths)
    if total <= 0:
        return found
    at, drawn = 0.0, []
    for one, (wait, run) in zip(found, lengths, strict=True):
        began = one.started_at is not None
        drawn.append(replace(one, wait=_span(at, wait, total), run=_span(at + wait, run, total) if began else Span()))
        at += wait + run
    return drawn


def _span(at: float, length: float, total: float) -> Span:
    width = max(LEAST, WIDTH * length / total) if length else 0.0
    return Span(round(min(WIDTH * at / total, WIDTH - width), 1), round(width, 1))
