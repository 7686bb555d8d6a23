"""What can be asked of a job's log: pages before or after a line, by level and by text, each bounded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, select

from jalebi.store.reads import LogLine, event_t

LEVELS: Final = ("debug", "info", "warning", "error")
#: Lines of a page, lines read at once while a filter is looked for, and lines that one query looks at.
PAGE: Final = 500
CHUNK: Final = 2_000
MOST_LOOKED_AT: Final = 50_000
#: The oldest lines are dropped now and then only: so many more than the limit may still be there.
SLACK: Final = 200


class _Log(msgspec.Struct):
    level: str
    message: str


class _Body(msgspec.Struct):
    log: _Log


_body = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are asked for: those of a level at least, those that have a text; upper case or lower is the same."""

    level: str = LEVELS[0]
    text: str = ""
    _levels: frozenset[str] = field(init=False, repr=False, compare=False)
    _folded: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every line is compared with."""
        object.__setattr__(self, "_levels", frozenset(LEVELS[LEVELS.index(self.level) :]))
        object.__setattr__(self, "_folded", self.text.casefold())

    @property
    def everything(self) -> bool:
        """Whether no line is left out."""
        return self.level == LEVELS[0] and not self.text

    def wants(self, level: str, message: str) -> bool:
        """Whether a line is one of them."""
        return self.everything or (level in self._levels and self._folded in message.casefold())


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, oldest first, as read when line `end` was the newest.

    `earlier` is the line before which to go on, `later` the one after which; None where nothing is left there.
    """

    lines: list[LogLine]
    end: int
    earlier: int | None = None
    later: int | None = None


def newest(connection: Connection, job_id: str) -> int:
    """Return the number of a job's newest line, 0 where it has none."""
    query = select(func.max(event_t.c.line)).where(event_t.c.job_id == job_id, event_t.c.line.is_not(None))
    return connection.execute(query).scalar() or 0


def page(
    connection: Connection,
    job_id: str,
    wanted: Wanted,
    *,
    keep: int,
    after: int | None = None,
    before: int | None = None,
    most: int = PAGE,
) -> Page:
    """Return the first lines after line `after` or, without it, the last ones; all before line `before`.

    `keep` is how many lines of a job are kept.
    """
    end = newest(connection, job_id)
    first = max(0, end - keep - SLACK) + 1  # what is older has no text any more
    stop = end + 1 if before is None else min(before, end + 1)
    if after is not None:
        start = max(after + 1, first)
        lines, reached = _look(connection, job_id, wanted, range(start, stop), most)
        return Page(lines, end, start if start > first else None, reached if reached < end else None)
    lines, reached = _look(connection, job_id, wanted, range(stop - 1, first - 1, -1), most)
    return Page(lines[::-1], end, reached if reached > first else None, stop - 1 if stop <= end else None)


def _look(connection: Connection, job_id: str, wanted: Wanted, numbers: range, most: int) -> tuple[list[LogLine], int]:
    """Return the first wanted lines of some in their order, and the last line that was looked at."""
    found: list[LogLine] = []
    reached = numbers.start - numbers.step
    for part in _parts(numbers, most if wanted.everything else CHUNK):
        for row in _rows(connection, job_id, part):
            reached = row.line
            log = _body.decode(row.body).log
            if wanted.wants(log.level, log.message):
                found.append(LogLine(row.line, row.at, log.level, log.message))
                if len(found) == most:
                    return found, reached
        reached = part[-1]
    return found, reached


def _parts(numbers: range, size: int) -> Iterator[range]:
    for start in range(0, min(len(numbers), MOST_LOOKED_AT), size):
        yield numbers[start : min(start + size, MOST_LOOKED_AT)]


def _rows(connection: Connection, job_id: str, numbers: range) -> list[Row[*tuple[Any, ...]]]:
    low, high = sorted((numbers[0], numbers[-1]))
    order = event_t.c.line if numbers.step > 0 else event_t.c.line.desc()
    query = (
        select(event_t.c.line, event_t.c.at, event_t.c.body)
        .where(event_t.c.job_id == job_id, event_t.c.line.between(low, high), event_t.c.body.is_not(None))
        .order_by(order)
    )
    return list(connection.execute(query).all())
