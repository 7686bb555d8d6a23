"""What a reader has missed, read from the store in pages that stay small, however large the jobs are."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Row, func, or_, select

from jalebi.events import Event
from jalebi.jobs import TERMINAL, Job
from jalebi.store import reads
from jalebi.store.reads import event_t, job_t
from jalebi.store.rows import JOB_COLUMNS, event_from, from_row

#: A page has so many rows at most, and ends with the row that makes it so many bytes.
PAGE: Final = 500
PAGE_BYTES: Final = 256 << 10

_JOB: Final = [job_t.c[name] for name in JOB_COLUMNS]
_EVENT: Final = [event_t.c[name] for name in ("number", "seq", "type", "at", "line", "body")]


def events_of(connection: Connection, *, job_id: str, after: int) -> list[Event]:
    """Return a page of a job's events after `seq` = `after`; it is empty only where there are no more."""
    job = reads.job(connection, job_id)
    if job is None:
        return []
    query = select(*_EVENT).where(event_t.c.job_id == job_id, event_t.c.seq > after).order_by(event_t.c.seq)
    found: list[Event] = []
    size = 0
    with connection.execute(query.limit(PAGE)) as rows:  # row by row: those after the last are never read
        for row in rows:
            found.append(_event(job, row))
            size += len(row.body or "") + (0 if row.type == "log" else len(job.args))
            if size >= PAGE_BYTES:
                break
    return found


def events_of_all(connection: Connection, *, after: int, upto: int) -> tuple[list[Event], int]:
    """Return a page of all jobs' events with `after` < number <= `upto`, and the floor.

    A floor above `after` says that events were purged which would have been on the page. The page is empty only where
    there are no more.
    """
    query = (
        select(*_EVENT, *_JOB)
        .join(job_t, job_t.c.id == event_t.c.job_id)
        .where(event_t.c.number > after, event_t.c.number <= upto)
        .order_by(event_t.c.number)
        .limit(PAGE)
    )
    found: list[Event] = []
    size = 0
    with connection.execute(query) as rows:
        for row in rows:
            job = from_row(row[len(_EVENT) :])
            found.append(_event(job, row))
            size += len(row.body or "") + len(job.args)
            if size >= PAGE_BYTES:
                break
    return found, reads.floor(connection)  # after the events: a purge in between is told of needlessly, not passed over


def jobs_since(connection: Connection, *, asked: int, after: str) -> list[Job]:
    """Return a page of the jobs that are not over or have changed since event `asked`, by id, after the id `after`."""
    over = [state.value for state in TERMINAL]
    query = (
        select(*_JOB)
        .where(job_t.c.id > after, or_(job_t.c.state.not_in(over), job_t.c.cursor > asked))
        .order_by(job_t.c.id)
        .limit(PAGE)
    )
    found: list[Job] = []
    size = 0
    with connection.execute(query) as rows:
        for row in rows:
            found.append(from_row(row))
            size += len(found[-1].args)
            if size >= PAGE_BYTES:
                break
    return found


def as_of(connection: Connection, *, jobs: Sequence[Job], number: int) -> list[Job]:
    """Return the jobs as they were at event `number`, without those that were not there yet."""
    # A job that has moved on is turned back: what follows event `number` then comes once, and after the job.
    found: Iterable[Job | None] = (job if job.cursor <= number else _then(connection, job, number) for job in jobs)
    return [job for job in found if job is not None]


def _then(connection: Connection, job: Job, number: int) -> Job | None:
    past = (event_t.c.job_id == job.id, event_t.c.number <= number)
    moved = select(*_EVENT).where(*past, event_t.c.line.is_(None)).order_by(event_t.c.seq.desc()).limit(1)
    row = connection.execute(moved).first()
    if row is None:
        return None
    seq, cursor = connection.execute(select(func.max(event_t.c.seq), func.max(event_t.c.number)).where(*past)).one()
    return replace(_event(job, row).job, seq=seq, cursor=cursor)


def _event(job: Job, row: Row[*tuple[Any, ...]]) -> Event:
    number, seq, type_, at, line, body = row[: len(_EVENT)]
    return event_from(job, number, seq, type_, at, line, body)
