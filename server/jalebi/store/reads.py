"""What can be asked of the store: queries over the tables, each a plain function of a connection."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, cast, func, literal_column, select
from sqlmodel import SQLModel

from jalebi.events import Event
from jalebi.jobs import Job, State
from jalebi.store.fingerprints import fingerprint
from jalebi.store.rows import JOB_COLUMNS, event_from, from_row
from jalebi.store.tables import EventRow, FileRow, JobRow, KeyRow, MetaRow, PulseRow, ResultRow, TagRow, TallyRow

_tables = SQLModel.metadata.tables
job_t = _tables[str(JobRow.__tablename__)]
event_t = _tables[str(EventRow.__tablename__)]
result_t = _tables[str(ResultRow.__tablename__)]
file_t = _tables[str(FileRow.__tablename__)]
tag_t = _tables[str(TagRow.__tablename__)]
tally_t = _tables[str(TallyRow.__tablename__)]
pulse_t = _tables[str(PulseRow.__tablename__)]
key_t = _tables[str(KeyRow.__tablename__)]
meta_t = _tables[str(MetaRow.__tablename__)]

#: The columns of a job, and those of an event, in the order in which rows have them.
JOB: Final = [job_t.c[name] for name in JOB_COLUMNS]
_JOB_BY_ID: Final = select(*JOB)
EVENT: Final = [event_t.c[name] for name in ("number", "seq", "type", "at", "line", "body")]
_QUEUED: Final[ColumnElement[bool]] = job_t.c.state == literal_column("'queued'")
#: The jobs of a queue's line, and the ranges of it that are counted.
_LINE: Final = "SELECT count(*) FROM job WHERE queue = ? AND state = 'queued'"
_ABOVE: Final = "priority > ?"
_BETWEEN: Final = "priority < ? AND priority > ?"
_FROM: Final = "priority = ? AND id >= ?"
_WITHIN: Final = "priority = ? AND id >= ? AND id < ?"
#: How many finished jobs of a kind tell how long the next one takes.
SAMPLE: Final = 200


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are asked for; empty means any. Times are Unix seconds."""

    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    text: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    errors: tuple[str, ...] = ()  # fingerprints of errors that jobs stand failed with
    ids: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()

    def wants(self, job: Job) -> bool:
        """Whether a job (or an event's job) passes, as far as events can be filtered."""
        return (
            (not self.states or job.state.value in self.states)
            and (not self.kinds or job.kind in self.kinds)
            and (not self.queues or job.queue in self.queues)
            and (not self.tags or all(tag in job.tags for tag in self.tags))
            and (not self.ids or job.id in self.ids)
            and (not self.batches or job.batch in self.batches)
            and (not self.errors or self._failed_so(job))
        )

    def _failed_so(self, job: Job) -> bool:
        return job.state is State.FAILED and job.error is not None and fingerprint(job.kind, job.error) in self.errors


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a job has logged."""

    line: int
    at: float
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class File:
    """A file kept with a job; `path` is relative to the folder for files, `size` in bytes."""

    name: str
    size: int
    media_type: str
    path: str
    at: float


def job(connection: Connection, job_id: str) -> Job | None:
    """Return one job."""
    row = connection.execute(_JOB_BY_ID.where(job_t.c.id == job_id)).first()
    return None if row is None else from_row(row)


def result(connection: Connection, job_id: str) -> str | None:
    """Return a completed job's result as JSON text."""
    return connection.execute(select(result_t.c.body).where(result_t.c.job_id == job_id)).scalar_one_or_none()


def log_lines(connection: Connection, job_id: str, *, after: int = 0, limit: int | None = None) -> list[LogLine]:
    """Return a job's kept log lines after line number `after`."""
    query = (
        select(event_t.c.line, event_t.c.at, event_t.c.body)
        .where(event_t.c.job_id == job_id, event_t.c.line > after, event_t.c.body.is_not(None))
        .order_by(event_t.c.line)
        .limit(limit)
    )
    return [_log_line(row) for row in connection.execute(query)]


def files(connection: Connection, job_id: str) -> list[File]:
    """Return the files kept with a job, by name."""
    query = select(file_t).where(file_t.c.job_id == job_id).order_by(file_t.c.name)
    return [File(row.name, row.size, row.media_type, row.path, row.at) for row in connection.execute(query)]


def file(connection: Connection, job_id: str, name: str) -> File | None:
    """Return one file kept with a job."""
    row = connection.execute(select(file_t).where(file_t.c.job_id == job_id, file_t.c.name == name)).first()
    return None if row is None else File(row.name, row.size, row.media_type, row.path, row.at)


def some(connection: Connection, ids: Sequence[str]) -> list[Job]:
    """Return the jobs of these ids that exist."""
    return [from_row(row) for row in connection.execute(select(*JOB).where(job_t.c.id.in_(ids)))]


def existing(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return those of the ids that jobs have."""
    return set(connection.execute(select(job_t.c.id).where(job_t.c.id.in_(ids))).scalars())


def milestones(connection: Connection, job_id: str, *, most: int) -> list[Event]:
    """Return a job's newest durable events, oldest first, its log lines left out."""
    query = (
        select(*EVENT, *JOB)
        .join(job_t, job_t.c.id == event_t.c.job_id)
        .where(event_t.c.job_id == job_id, event_t.c.line.is_(None))
        .order_by(event_t.c.seq.desc())
        .limit(most)
    )
    return [event_in(row) for row in connection.execute(query)][::-1]


def between(after: int, upto: int) -> Select[Any]:
    """Return the query of all jobs' durable events with `after` < number <= `upto`, in order, each with its job."""
    return (
        select(*EVENT, *JOB)
        .join(job_t, job_t.c.id == event_t.c.job_id)
        .where(event_t.c.number > after, event_t.c.number <= upto)
        .order_by(event_t.c.number)
    )


def events(connection: Connection, *, after: int, upto: int, limit: int) -> list[Event]:
    """Return the durable events of all jobs with `after` < number <= `upto`, in order."""
    return [event_in(row) for row in connection.execute(between(after, upto).limit(limit))]


def last_number(connection: Connection) -> int:
    """Return the number of the last event that was committed."""
    newest = select(func.coalesce(func.max(event_t.c.number), 0)).scalar_subquery()
    kept = select(cast(meta_t.c.value, Integer)).where(meta_t.c.name == "number").scalar_subquery()
    found, noted = connection.execute(select(newest, kept)).one()
    return max(int(found), int(noted))  # the newest may have been deleted


def floor(connection: Connection) -> int:
    """Return the highest number of an event that retention has purged, 0 before the first."""
    return int(connection.execute(select(meta_t.c.value).where(meta_t.c.name == "floor")).scalar_one())


def keyed(connection: Connection, caller: str, key: str) -> tuple[str, list[str]] | None:
    """Return the fingerprint of the request that an idempotency key stands for, and the ids of its jobs."""
    query = select(key_t.c.fingerprint, key_t.c.jobs).where(key_t.c.caller == caller, key_t.c.key == key)
    row = connection.execute(query).first()
    return None if row is None else (row.fingerprint, msgspec.json.decode(row.jobs))


def usage(connection: Connection) -> tuple[int, int]:
    """Return how many bytes the database and the files of jobs take up, free pages left out."""
    pages, free, size = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("page_count", "freelist_count", "page_size")
    )
    files = connection.execute(select(func.coalesce(func.sum(file_t.c.size), 0))).scalar_one()
    return (pages - free) * size, int(files)


def counts(connection: Connection) -> dict[str, int]:
    """Return how many jobs are in each state; exact."""
    query = select(tally_t.c.state, func.sum(tally_t.c.n)).group_by(tally_t.c.state)
    found = {state: int(n) for state, n in connection.execute(query)}
    return {state.value: found.get(state.value, 0) for state in State}


def queue_counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Return the same by queue."""
    return _counts_by(connection, tally_t.c.queue)


def kind_counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Return the same by kind."""
    return _counts_by(connection, tally_t.c.kind)


def _counts_by(connection: Connection, column: ColumnElement[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    query = select(column, tally_t.c.state, func.sum(tally_t.c.n)).group_by(column, tally_t.c.state)
    for name, state, n in connection.execute(query):
        found.setdefault(name, {})[state] = int(n)
    return found


def pulse(connection: Connection, *, since: float) -> list[tuple[int, int, int, int, int]]:
    """Return (second, created, completed, failed, cancelled) for every second since then in which something was."""
    query = select(pulse_t).where(pulse_t.c.second > since).order_by(pulse_t.c.second)
    return [(row.second, row.created, row.completed, row.failed, row.cancelled) for row in connection.execute(query)]


def ended(connection: Connection, windows: Iterable[int], *, now: float) -> dict[int, tuple[int, int]]:
    """Return how many jobs have ended, and how many of them failed, by the seconds until now that they span."""
    failed = func.coalesce(func.sum(pulse_t.c.failed), 0)
    total = func.coalesce(func.sum(pulse_t.c.completed + pulse_t.c.failed + pulse_t.c.cancelled), 0)
    query = select(total, failed).where(pulse_t.c.second <= now)
    rows = {seconds: connection.execute(query.where(pulse_t.c.second > now - seconds)).one() for seconds in windows}
    return {seconds: (int(row[0]), int(row[1])) for seconds, row in rows.items()}


def positions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Return the place in line of each of these queued jobs; 1 is next in its queue.

    Of each queue the line is counted once, from one of the jobs to the next.
    """
    if not ids:
        return {}
    columns = [job_t.c.queue, job_t.c.priority, job_t.c.id]
    query = select(*columns).where(job_t.c.id.in_(ids), _QUEUED)
    places: dict[str, int] = {}
    last: tuple[str, int, str] | None = None
    place = 0
    for queue, priority, job_id in connection.execute(
        query.order_by(job_t.c.queue, job_t.c.priority.desc(), job_t.c.id)
    ):
        if last is None or last[0] != queue:
            place = 1
            ranges = [(_ABOVE, (priority,)), (_WITHIN, (priority, "", job_id))]
        elif last[1] == priority:
            ranges = [(_WITHIN, (priority, last[2], job_id))]
        else:
            ranges = [(_FROM, (last[1], last[2])), (_BETWEEN, (last[1], priority)), (_WITHIN, (priority, "", job_id))]
        place += sum(_queued(connection, where, queue, *values) for where, values in ranges)
        places[job_id] = place
        last = (queue, priority, job_id)
    return places


def _queued(connection: Connection, where: str, *values: Any) -> int:
    """Count a range of the index of a queue's line; as text, for a page asks for hundreds."""
    found = connection.exec_driver_sql(f"{_LINE} AND {where}", values).scalar_one()
    return int(found)


def durations(connection: Connection, kind: str) -> list[tuple[str, float]]:
    """Return the last completed jobs of a kind, oldest first: the id of each, and how many seconds it took."""
    completed: ColumnElement[bool] = literal_column("job.state = 'completed'")  # as the index has it
    query = (
        select(job_t.c.id, job_t.c.finished_at - job_t.c.started_at)
        .where(job_t.c.kind == kind, completed, job_t.c.started_at.is_not(None))
        .order_by(job_t.c.id.desc())
        .limit(SAMPLE)
    )
    return [(job_id, max(0.0, seconds)) for job_id, seconds in connection.execute(query)][::-1]


def active(connection: Connection) -> list[Job]:
    """Return all jobs of which an attempt runs."""
    return [
        from_row(row) for row in connection.execute(select(*JOB).where(job_t.c.state.in_(["running", "cancelling"])))
    ]


def longest_running(connection: Connection, *, limit: int, queue: str | None = None) -> list[Job]:
    """Return the active jobs that started first, of a queue or of all."""
    query = select(*JOB).where(job_t.c.state.in_(["running", "cancelling"])).order_by(job_t.c.started_at).limit(limit)
    if queue is not None:
        query = query.where(literal_column("+job.queue") == queue)  # the plus: whatever runs is few, a queue is not
    return [from_row(row) for row in connection.execute(query)]


def id_floor(at: float) -> str:
    """Return the smallest UUIDv7 that could have been made at a Unix time (RFC 9562: 48 bits of milliseconds)."""
    digits = f"{max(0, int(at * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:12]}"


def _log_line(row: Row[*tuple[Any, ...]]) -> LogLine:
    log = msgspec.json.decode(row.body)["log"]
    return LogLine(row.line, row.at, log["level"], log["message"])


def event_in(row: Row[*tuple[Any, ...]], job: Job | None = None) -> Event:
    """Return the event in a row of EVENT, of `job` as it is now; where none is given, the row goes on with JOB."""
    number, seq, type_, at, line, body = row[: len(EVENT)]
    return event_from(job or from_row(row[len(EVENT) :]), number, seq, type_, at, line, body)
