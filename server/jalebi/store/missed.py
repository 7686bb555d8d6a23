"""What a reader has missed, read from the store in pages that stay small, however large the jobs are."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, func, or_, select

from jalebi.events import Event
from jalebi.jobs import TERMINAL, Job
from jalebi.store import reads
from jalebi.store.reads import EVENT, JOB, event_in, event_t, job_t
from jalebi.store.rows import from_row

#: A page has so many rows at most, and ends with the row that makes it so many bytes.
PAGE: Final = 500
PAGE_BYTES: Final = 256 << 10

T = TypeVar("T")


def events_of(connection: Connection, *, job_id: str, after: int) -> list[Event]:
    """Return a page of a job's events after `seq` = `after`; it is empty only where there are no more."""
    job = reads.job(connection, job_id)
    if job is None:
        return []
    query = select(*EVENT).where(event_t.c.job_id == job_id, event_t.c.seq > after).order_by(event_t.c.seq)

    def take(row: Row[*tuple[Any, ...]]) -> tuple[Event, int]:
        return event_in(row, job), len(row.body or "") + (0 if row.type == "log" else len(job.args))

    return _page(connection, query, take)


def events_of_all(
    connection: Connection, *, after: int, upto: int, wanted: reads.Filter | None = None
) -> tuple[list[Event], int]:
    """Return a page of all jobs' events with `after` < number <= `upto`, and the floor.

    Of the filter `wanted` only its batches count here: others would make the database pass over whatever lies between.

    A floor above `after` says that events were purged which would have been on the page. The page is empty only where
    there are no more.
    """

    def take(row: Row[*tuple[Any, ...]]) -> tuple[Event, int]:
        event = event_in(row)
        return event, len(row.body or "") + len(event.job.args)

    query = reads.between(after, upto)
    if wanted is not None and wanted.batches:
        query = query.where(job_t.c.batch.in_(wanted.batches))
    found = _page(connection, query, take)
    return found, reads.floor(connection)  # after the events: a purge in between is told of needlessly, not passed over


def jobs_since(connection: Connection, *, asked: int, after: str) -> list[Job]:
    """Return a page of the jobs that are not over or have changed since event `asked`, by id, after the id `after`."""
    over = [state.value for state in TERMINAL]
    changed = or_(job_t.c.state.not_in(over), job_t.c.cursor > asked)

    def take(row: Row[*tuple[Any, ...]]) -> tuple[Job, int]:
        job = from_row(row)
        return job, len(job.args)

    return _page(connection, select(*JOB).where(job_t.c.id > after, changed).order_by(job_t.c.id), take)


def _page(
    connection: Connection, query: Select[Any], take: Callable[[Row[*tuple[Any, ...]]], tuple[T, int]]
) -> list[T]:
    """Return what `take` makes of the rows, with its size in bytes, until the page is full."""
    found: list[T] = []
    size = 0
    with connection.execute(query.limit(PAGE)) as rows:  # row by row: those after the last are never read
        for row in rows:
            one, weight = take(row)
            found.append(one)
            size += weight
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
    moved = select(*EVENT).where(*past, event_t.c.line.is_(None)).order_by(event_t.c.seq.desc()).limit(1)
    row = connection.execute(moved).first()
    if row is None:
        return None
    seq, cursor = connection.execute(select(func.max(event_t.c.seq), func.max(event_t.c.number)).where(*past)).one()
    return replace(event_in(row, job).job, seq=seq, cursor=cursor)
