"""Errors by groups: how often, since when, and which jobs stand failed with them. They are kept, not searched for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select
from sqlmodel import SQLModel

from jalebi.events import Event, encode
from jalebi.jobs import State
from jalebi.store.fingerprints import fingerprint
from jalebi.store.tables import FaultHourRow, FaultRow

_tables = SQLModel.metadata.tables
fault_t = _tables[str(FaultRow.__tablename__)]
hour_t = _tables[str(FaultHourRow.__tablename__)]
HOURS: Final = 24
HOUR: Final = 3600
#: Characters of a message that are kept.
_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """A group of errors. Times are Unix seconds; `hours` are counts of the last 24 hours, the oldest first."""

    fingerprint: str
    kind: str
    type: str
    message: str
    first_at: float
    last_at: float
    hours: tuple[int, ...]
    total: int
    failed: int
    sample: str


def faults(
    connection: Connection, *, now: float, limit: int, before: float | None = None, within: float | None = None
) -> list[Fault]:
    """Return groups of errors, the last seen first: those last seen before a time, within so many seconds of now."""
    query = select(fault_t).order_by(fault_t.c.last_at.desc()).limit(limit)
    if before is not None:
        query = query.where(fault_t.c.last_at < before)
    if within is not None:
        query = query.where(fault_t.c.last_at > now - within)
    return _with_hours(connection, connection.execute(query).all(), now)


def fault(connection: Connection, wanted: str, *, now: float) -> Fault | None:
    """Return one group of errors."""
    row = connection.execute(select(fault_t).where(fault_t.c.fingerprint == wanted)).first()
    return None if row is None else _with_hours(connection, [row], now)[0]


def _with_hours(connection: Connection, rows: Sequence[Row[Any]], now: float) -> list[Fault]:
    start = int(now // HOUR) - HOURS + 1
    ids = [row.fingerprint for row in rows]
    query = select(hour_t).where(hour_t.c.fingerprint.in_(ids), hour_t.c.hour >= start)
    counts = {(row.fingerprint, row.hour): row.n for row in connection.execute(query)} if ids else {}
    return [
        Fault(
            row.fingerprint, row.kind, row.type, row.message, row.first_at, row.last_at,
            tuple(counts.get((row.fingerprint, start + hour), 0) for hour in range(HOURS)), row.total, row.failed,
            row.sample,
        )
        for row in rows
    ]  # fmt: skip


_FAULTS: Final = (
    "INSERT INTO fault (fingerprint, kind, type, message, first_at, last_at, total, failed, sample) "
    "SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>4, value->>5, 0, value->>6 "
    "FROM json_each(?) WHERE true ON CONFLICT DO UPDATE SET message = excluded.message, last_at = excluded.last_at, "
    "total = total + excluded.total, sample = excluded.sample"
)
_HOURS: Final = (
    "INSERT INTO fault_hour (fingerprint, hour, n) SELECT value->>0, ?, value->>5 FROM json_each(?) WHERE true "
    "ON CONFLICT DO UPDATE SET n = n + excluded.n"
)
_MARK: Final = (
    "UPDATE job SET fingerprint = v.mark FROM (SELECT value->>0 AS id, value->>1 AS mark FROM json_each(?)) AS v "
    "WHERE job.id = v.id"
)


def record(connection: Any, events: Sequence[Event], now: float) -> None:
    """Count the failed attempts among some events, and mark the jobs that stand failed. Part of their transaction."""
    groups: dict[str, list[Any]] = {}
    marks: dict[str, str] = {}
    for event in events:
        job = event.job
        if event.type not in {"failed", "retrying"} or job.error is None:
            if event.type not in {"log", "file"}:
                marks.pop(job.id, None)  # it was failed, and somebody has started it over
            continue
        mark = fingerprint(job.kind, job.error)
        group = groups.setdefault(mark, [mark, job.kind, "", "", now, 0, ""])
        group[2], group[3], group[6] = str(job.error.get("type") or ""), _message(job.error), job.id
        group[5] += 1
        if job.state is State.FAILED:
            marks[job.id] = mark
    if groups:
        rows = encode(list(groups.values())).decode()
        connection.execute(_FAULTS, (rows,))
        connection.execute(_HOURS, (int(now // HOUR), rows))
    if marks:
        connection.execute(_MARK, (encode(list(marks.items())).decode(),))


def _message(error: Mapping[str, Any]) -> str:
    text = str(error.get("message") or "")
    return text if len(text) <= _MESSAGE else text[: _MESSAGE - 1] + "…"


def forget(connection: Any, before: float) -> None:
    """Drop groups that nobody has seen since a time and no job stands failed with, and the counts of before it."""
    connection.execute(
        "DELETE FROM fault WHERE fingerprint IN "
        "(SELECT fingerprint FROM fault WHERE last_at < ? AND failed <= 0 ORDER BY last_at LIMIT 100)",
        (before,),
    )
    connection.execute(
        "DELETE FROM fault_hour WHERE (fingerprint, hour) IN (SELECT fingerprint, hour FROM fault_hour "
        "WHERE hour < ? LIMIT 200)",
        (int(before // HOUR),),
    )
