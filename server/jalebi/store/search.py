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

#: Rows of the index that one query looks through at most, and the first one where time is short.
WINDOW: Final = 2000
FIRST: Final = 500
#: Steps on an index that tell how rare it is what is looked for there.
STEPS: Final = 200
#: Seconds by which a job's id may be ahead of its time: ids go on growing while a clock that was set back catches up.
AHEAD: Final = 86_400.0
_LAST: Final = "g"  # above every id


@dataclass(frozen=True, slots=True)
class Found:
    """Some jobs, newest first. Where time ran out, `reached` is the id down to which was looked."""

    jobs: list[Job]
    reached: str | None = None


def find(
    connection: Connection,
    wanted: Filter,
    *,
    limit: int,
    before: str | None = None,
    within: float | None = None,
    thorough: bool | None = None,
) -> Found:
    """Return up to `limit` jobs that pass the filter, older than the job id `before`.

    Where `within` seconds do not suffice, it is what was found until then, with the place to go on from. `thorough`
    finds what a clock that was set back has put out of order too; it is what is done where time does not matter.
    """
    if _kept(connection, wanted) == 0:
        return Found([])
    if wanted.ids:
        here = [job_t.c.id.in_(wanted.ids), job_t.c.id < (before or _LAST), *_rest(wanted, "")]
        rows = connection.execute(select(*JOB).where(*here).order_by(job_t.c.id.desc()).limit(limit))
        return Found([from_row(row) for row in rows])
    walk = _Walk.of(connection, wanted, before, within, thorough=within is None if thorough is None else thorough)
    found: list[Job] = []
    for job_id, row in merge(*walk.streams(limit), key=lambda item: item[0], reverse=True):
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
    if wanted.ids:
        return len(find(connection, wanted, limit=len(wanted.ids)).jobs), True
    return _Walk.of(connection, wanted, None, within, thorough=within is None).count(most)


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


@dataclass(frozen=True, slots=True)
class _Path:
    """One walk of an index: its column of job ids, what it holds still, and what else leads from there to the jobs."""

    key: ColumnElement[str]
    held: list[ColumnElement[bool]]
    joined: list[ColumnElement[bool]]


@dataclass(slots=True)
class _Walk:
    """Goes through the jobs below `top` on some paths, newest first and window by window, until the deadline."""

    connection: Connection
    paths: list[_Path]
    rest: list[ColumnElement[bool]]
    top: str
    bottom: str
    sure: str  # no id above it should pass, and only a clock that was set back makes one
    deadline: float | None

    @classmethod
    def of(
        cls, connection: Connection, wanted: Filter, before: str | None, within: float | None, *, thorough: bool
    ) -> "_Walk":
        """Choose the way for a filter."""
        deadline = None if within is None else time.monotonic() + within
        top = sure = before or _LAST
        if wanted.created_before is not None:
            sure = id_floor(wanted.created_before + 0.001)
            top = min(top, id_floor(wanted.created_before + AHEAD + 0.001) if thorough else sure)
        bottom = "" if wanted.created_after is None else id_floor(wanted.created_after)
        driver, paths = _way(connection, wanted, top, bottom)
        return cls(connection, paths, _rest(wanted, driver), top, bottom, sure, deadline)

    def streams(self, limit: int) -> list[Iterator[tuple[str, Any]]]:
        """Yield on each path up to `limit` (id, row) of jobs that pass; where time ran out at an id, (id, None)."""
        return [self._stream(path, limit) for path in self.paths]

    def _stream(self, path: _Path, limit: int) -> Iterator[tuple[str, Any]]:
        query = select(*JOB).where(*path.held, *path.joined, *self.rest).order_by(path.key.desc())
        for low, high in self._windows(path) if self.rest else [(self.bottom, self.top)]:
            if low is None:
                yield high, None
                return
            rows = self.connection.execute(query.where(path.key < high, path.key >= low).limit(limit)).all()
            yield from ((row.id, row) for row in rows)
            limit -= len(rows)
            if not limit:
                return

    def count(self, most: int) -> tuple[int, bool]:
        """Count all that pass, and say whether that is all; a job is on one path only."""
        counted = 0
        for path in self.paths:
            query = select(path.key).where(*path.held, *(path.joined if self.rest else ()), *self.rest)
            for low, high in self._windows(path):
                if low is None:
                    return counted, False
                some = query.where(path.key < high, path.key >= low).limit(most + 1 - counted).subquery()
                counted += int(self.connection.execute(select(func.count()).select_from(some)).scalar_one())
                if counted > most:
                    return most, False
        return counted, True

    def _windows(self, path: _Path) -> Iterator[tuple[str | None, str]]:
        """Yield from where up to below where to look next; at last (None, id) where time ran out at that id.

        The first is short, and the others are as long as the time that is left allows at the pace of the one before:
        what the disk must be asked for takes a hundred times as long as what is in memory.
        """
        edge = select(path.key).where(*path.held).order_by(path.key.desc()).limit(1)
        high, span, began = self.top, WINDOW, time.monotonic()
        if self.deadline is not None:
            span = max(1, min(WINDOW, FIRST // len(self.paths)))
        while True:
            here = edge.where(path.key < high, path.key >= self.bottom).offset(span - 1)
            low = self.connection.execute(here).scalar_one_or_none() or self.bottom
            yield low, high
            if low == self.bottom:
                return
            high = low
            if self.deadline is not None:
                now = time.monotonic()
                if high >= self.sure:  # that is not what the time is for
                    self.deadline += now - began
                    span, began = WINDOW, now
                    continue
                left = self.deadline - now
                if left <= 0:
                    yield None, high
                    return
                span = max(1, min(WINDOW, int(span * left / 2 / max(now - began, 1e-6))))
                began = now


def _way(connection: Connection, wanted: Filter, top: str, bottom: str) -> tuple[str, list[_Path]]:
    """Return the condition that narrows most, by name, and one walk of its index for each of its values."""
    by_id = job_t.c.id

    def along(column: ColumnElement[Any], values: tuple[str, ...]) -> list[_Path]:
        return [_Path(by_id, [column == value], []) for value in dict.fromkeys(values)]

    if wanted.batches:
        return "batches", along(job_t.c.batch, wanted.batches)
    if wanted.errors:
        return "errors", along(job_t.c.fingerprint, wanted.errors)
    ways: dict[str, list[_Path]] = {
        tag: [_Path(tag_t.c.job_id, [tag_t.c.tag == tag], [tag_t.c.job_id == by_id])] for tag in wanted.tags
    }
    ways = {f"tag {tag}": paths for tag, paths in ways.items()}
    if wanted.kinds and wanted.states == ("completed",):
        done: ColumnElement[bool] = literal_column("job.state = 'completed'")
        ways["done"] = [_Path(by_id, [job_t.c.kind == kind, done], []) for kind in dict.fromkeys(wanted.kinds)]
    else:
        ways |= {"states": along(job_t.c.state, wanted.states), "kinds": along(job_t.c.kind, wanted.kinds)}
    ways["queues"] = along(job_t.c.queue, wanted.queues)
    ways = {name: paths for name, paths in ways.items() if paths}
    if len(ways) < 2:
        return next(iter(ways.items()), ("", [_Path(by_id, [], [])]))
    return min(ways.items(), key=lambda way: max(_reach(connection, path, top, bottom) for path in way[1]))


def _reach(connection: Connection, path: _Path, top: str, bottom: str) -> str:
    """Return how far back a few steps on a path lead: the rarer what it holds, the farther."""
    query = select(path.key).where(*path.held, path.key < top, path.key >= bottom).order_by(path.key.desc())
    return connection.execute(query.limit(1).offset(STEPS)).scalar_one_or_none() or ""


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
    tags = [tag for tag in wanted.tags if driver != f"tag {tag}"]
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
