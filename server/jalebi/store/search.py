"""Finds jobs by a filter, newest first, and never at the cost of a scan: it walks the narrowest index in windows."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, exists, func, literal_column, or_, select

from jalebi.jobs import Job
from jalebi.store.reads import JOB, Filter, id_floor, job_t, tag_t, tally_t
from jalebi.store.rows import from_row
from jalebi.store.tables import FaultRow

#: Rows of the index that one query looks through.
WINDOW: Final = 2000
#: Seconds by which a job's id may be ahead of its time: ids go on growing while a clock that was set back catches up.
AHEAD: Final = 86_400.0
_LAST: Final = "g"  # above every id


@dataclass(frozen=True, slots=True)
class Found:
    """Some jobs, newest first. Where time ran out, `reached` is the id down to which was looked."""

    jobs: list[Job]
    reached: str | None = None


def find(
    connection: Connection, wanted: Filter, *, limit: int, before: str | None = None, within: float | None = None
) -> Found:
    """Return up to `limit` jobs that pass the filter, older than the job id `before`.

    Where `within` seconds do not suffice, it is what was found until then, with the place to go on from.
    """
    found: list[Job] = []
    if _kept(connection, wanted) == 0:
        return Found(found)
    for job_id, row in _walk(connection, wanted, JOB, limit, before, within):
        if row is None:
            return Found(found, job_id)
        found.append(from_row(row))
        if len(found) == limit:
            break
    return Found(found)


def count(connection: Connection, wanted: Filter, *, most: int, within: float | None = None) -> tuple[int, bool]:
    """Return how many jobs pass the filter, and whether that is all: it counts to `most` and for `within` seconds."""
    if (known := _kept(connection, wanted)) is not None:
        return known, True
    counted = 0
    for _, row in _walk(connection, wanted, [job_t.c.id], WINDOW, None, within):
        if row is None or counted == most:
            return counted, False
        counted += 1
    return counted, True


def by_state(connection: Connection, wanted: Filter) -> dict[str, int] | None:
    """Return how many jobs are in each state of those that pass the rest of the filter; None where that is not kept."""
    if wanted.tags or wanted.errors or wanted.ids or wanted.batches or wanted.text or _times(wanted):
        return None
    query = select(tally_t.c.state, func.sum(tally_t.c.n)).group_by(tally_t.c.state)
    for column, values in ((tally_t.c.kind, wanted.kinds), (tally_t.c.queue, wanted.queues)):
        if values:
            query = query.where(column.in_(values))
    return {state: int(n) for state, n in connection.execute(query)}


def _kept(connection: Connection, wanted: Filter) -> int | None:
    """Return how many jobs pass the filter where that is kept."""
    states = by_state(connection, wanted)
    if states is not None:
        return sum(n for state, n in states.items() if not wanted.states or state in wanted.states)
    errors_only = Filter(states=("failed",), errors=wanted.errors)
    if wanted.errors and wanted in {errors_only, Filter(errors=wanted.errors)}:
        fault_t = FaultRow.__table__  # type: ignore[attr-defined]
        query = select(func.coalesce(func.sum(fault_t.c.failed), 0)).where(fault_t.c.fingerprint.in_(wanted.errors))
        return int(connection.execute(query).scalar_one())
    return None


def _times(wanted: Filter) -> bool:
    return wanted.created_after is not None or wanted.created_before is not None


def _walk(
    connection: Connection, wanted: Filter, columns: list[Any], size: int, before: str | None, within: float | None
) -> Iterator[tuple[str, Any]]:
    """Yield (id, row) of the jobs that pass, newest first; at last (id, None) where time ran out at that id."""
    if wanted.ids:
        query = select(*columns).where(job_t.c.id.in_(wanted.ids), job_t.c.id < (before or _LAST), *_rest(wanted, ""))
        yield from ((row.id, row) for row in connection.execute(query.order_by(job_t.c.id.desc())))
        return
    top = before or _LAST
    if wanted.created_before is not None:
        ahead = AHEAD if within is None else 0.0  # who has time for all gets what a clock that was set back has hidden
        top = min(top, id_floor(wanted.created_before + ahead + 0.001))
    bottom = "" if wanted.created_after is None else id_floor(wanted.created_after)
    deadline = None if within is None else time.monotonic() + within
    driver, paths = _paths(connection, wanted)
    rest = _rest(wanted, driver)
    streams = [_stream(connection, path, rest, columns, size, top, bottom, deadline) for path in paths]
    last = ""
    for job_id, row in merge(*streams, key=lambda item: item[0], reverse=True):
        if row is not None and job_id == last:  # it came by another path already
            continue
        last = job_id
        yield job_id, row
        if row is None:
            return


def _stream(
    connection: Connection,
    path: list[ColumnElement[bool]],
    rest: list[ColumnElement[bool]],
    columns: list[Any],
    size: int,
    top: str,
    bottom: str,
    deadline: float | None,
) -> Iterator[tuple[str, Any]]:
    """Yield (id, row) of the jobs below `top` on one path, window by window where a part of them does not pass."""
    key = tag_t.c.job_id if any(tag_t.c.tag is part.left for part in path if hasattr(part, "left")) else job_t.c.id
    joined = select(*columns).where(*path)
    edge = select(key).where(*path).order_by(key.desc()).limit(1).offset(WINDOW - 1)
    while True:
        low = bottom
        if rest:
            found = connection.execute(edge.where(key < top, key >= bottom)).scalar_one_or_none()
            low = found or bottom
        query = joined.where(key < top, key >= low, *rest).order_by(key.desc())
        rows = connection.execute(query.limit(size)).all()
        yield from ((row.id, row) for row in rows)
        if len(rows) == size:  # there may be more in this window
            top = rows[-1].id
        elif low == bottom:
            return
        else:
            top = low
        if deadline is not None and time.monotonic() > deadline:
            yield top, None
            return


def _paths(connection: Connection, wanted: Filter) -> tuple[str, list[list[ColumnElement[bool]]]]:
    """Return the condition that narrows most, by name, and one walk of its index for each of its values."""
    if wanted.batches:
        return "batches", [[job_t.c.batch == value] for value in dict.fromkeys(wanted.batches)]
    if wanted.errors:
        return "errors", [[job_t.c.fingerprint == value] for value in wanted.errors]
    if wanted.tags:
        return "tags", [[tag_t.c.tag == wanted.tags[0], tag_t.c.job_id == job_t.c.id]]
    if wanted.kinds and wanted.states == ("completed",):
        done: ColumnElement[bool] = literal_column("job.state = 'completed'")
        return "done", [[job_t.c.kind == kind, done] for kind in wanted.kinds]
    choices = {"states": wanted.states, "kinds": wanted.kinds, "queues": wanted.queues}
    sizes = _sizes(connection, {name: values for name, values in choices.items() if values})
    if not sizes:
        return "", [[]]
    narrowest = min(sizes, key=lambda name: sizes[name])
    column = {"states": job_t.c.state, "kinds": job_t.c.kind, "queues": job_t.c.queue}[narrowest]
    return narrowest, [[column == value] for value in dict.fromkeys(choices[narrowest])]


def _sizes(connection: Connection, choices: dict[str, tuple[str, ...]]) -> dict[str, int]:
    if len(choices) == 1:
        return dict.fromkeys(choices, 0)
    columns = {"states": tally_t.c.state, "kinds": tally_t.c.kind, "queues": tally_t.c.queue}
    return {
        name: connection.execute(
            select(func.coalesce(func.sum(tally_t.c.n), 0)).where(columns[name].in_(values))
        ).scalar_one()
        for name, values in choices.items()
    }


def _rest(wanted: Filter, driver: str) -> list[ColumnElement[bool]]:
    """Return the conditions that the driver leaves, written so that no other index is tempted."""
    found: list[ColumnElement[bool]] = []
    for name, column, values in (
        ("states", "state", wanted.states),
        ("kinds", "kind", wanted.kinds),
        ("queues", "queue", wanted.queues),
        ("errors", "fingerprint", wanted.errors),
        ("batches", "batch", wanted.batches),
    ):
        if values and driver != name and not (driver == "done" and name in {"states", "kinds"}):
            found.append(literal_column(f"+job.{column}").in_(values))
    tags = wanted.tags[1:] if driver == "tags" else wanted.tags
    found += [exists().where(tag_t.c.tag == tag, tag_t.c.job_id == job_t.c.id).correlate(job_t) for tag in tags]
    if wanted.text:
        found.append(_mentions(wanted.text))
    if wanted.created_after is not None:
        found.append(job_t.c.created_at > wanted.created_after)
    if wanted.created_before is not None:
        found.append(job_t.c.created_at < wanted.created_before)
    return found


def _mentions(text: str) -> ColumnElement[bool]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    columns: list[Any] = [job_t.c.id, job_t.c.kind, job_t.c.args, job_t.c.tags]
    # SQLite's LIKE takes no notice of the case of ASCII letters, and costs half of what lower() and LIKE do.
    return or_(*(column.like(f"%{escaped}%", escape="\\") for column in columns))
