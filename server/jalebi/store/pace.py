"""How fast things went lately, summed up by the database: small curves and rates, for which no histogram is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, func, select
from sqlmodel import SQLModel

from jalebi.store.tables import TrendRow
from jalebi.store.trends import ALL, FINE

#: Seconds that a curve shows, and those of one of its points.
LONG: Final = 3600
STEP: Final = 60
#: Seconds over which a rate is measured.
LATELY: Final = 60
_trend_t = SQLModel.metadata.tables[str(TrendRow.__tablename__)]


def _nothing() -> list[int]:
    return [0] * (LONG // STEP)


@dataclass(frozen=True, slots=True)
class Pace:
    """The last hour of a queue, minute by minute, oldest first; `waiting` and `running` are the most of each minute.

    `rate` is how many jobs completed or failed a second within the last minute.
    """

    completed: list[int] = field(default_factory=_nothing)
    failed: list[int] = field(default_factory=_nothing)
    waiting: list[int] = field(default_factory=_nothing)
    running: list[int] = field(default_factory=_nothing)
    rate: float = 0.0


def pace(connection: Connection, now: float) -> Pace:
    """Return how it went in all queues together; `now` in Unix seconds."""
    return paces(connection, [ALL], now)[ALL]


def paces(connection: Connection, queues: Sequence[str], now: float) -> dict[str, Pace]:
    """Return how it went in each of some queues."""
    rates = _rates(connection, queues, now)
    found = {queue: Pace(rate=rates.get(queue, 0.0)) for queue in queues}
    start = int(now) // FINE * FINE - LONG
    at = _trend_t.c.at
    query = (
        select(
            _trend_t.c.queue, ((at - start) // STEP).label("minute"), func.sum(_trend_t.c.completed),
            func.sum(_trend_t.c.failed), func.max(_trend_t.c.waiting), func.max(_trend_t.c.running),
        )
        .where(_trend_t.c.step == FINE, _trend_t.c.queue.in_(queues), at >= start, at < start + LONG)
        .group_by(_trend_t.c.queue, "minute")
    )  # fmt: skip
    for queue, index, *sums in connection.execute(query):
        one = found[queue]
        one.completed[index], one.failed[index], one.waiting[index], one.running[index] = sums
    return found


def _rates(connection: Connection, queues: Sequence[str], now: float) -> dict[str, float]:
    begin = int(now) // FINE * FINE - LATELY  # steps that are over
    query = (
        select(_trend_t.c.queue, func.sum(_trend_t.c.completed + _trend_t.c.failed))
        .where(_trend_t.c.step == FINE, _trend_t.c.queue.in_(queues), _trend_t.c.at >= begin)
        .group_by(_trend_t.c.queue)
    )
    return {queue: int(ended) / LATELY for queue, ended in connection.execute(query)}
