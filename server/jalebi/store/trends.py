"""How things went over time: what came, ended, waited and took how long, by queue, in steps of 10 s and of 15 min.

The figures are gathered in memory and written with the step's end, so that no submission pays for a chart; a server
that is killed loses the last few seconds of its charts, never of its jobs.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import msgspec
from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from jalebi.events import Event
from jalebi.jobs import ACTIVE, WAITING
from jalebi.store.rows import states
from jalebi.store.tables import TrendRow
from jalebi.store.tx import Op, Tx

FINE: Final = 10
COARSE: Final = 900
#: Seconds for which the steps are kept.
KEPT: Final[Mapping[int, float]] = {FINE: 2 * 3600.0, COARSE: 8 * 86400.0}
#: The queue under which all queues together are kept.
ALL: Final = ""
#: Every bucket of a histogram is a quarter longer than the one before; bucket 0 begins at a second.
_BASE: Final = math.log(1.25)
_COUNTED: Final = ("created", "completed", "failed", "cancelled")
_decode = msgspec.json.Decoder(dict[int, int]).decode
_trend_t = SQLModel.metadata.tables[str(TrendRow.__tablename__)]


@dataclass(frozen=True, slots=True)
class Slot:
    """What happened in one step from `at` (Unix seconds); `waits` and `runs` count durations by bucket."""

    at: int
    seconds: int
    created: int
    completed: int
    failed: int
    cancelled: int
    waiting: int
    running: int
    waits: Mapping[int, int]
    runs: Mapping[int, int]


def trend(connection: Connection, queue: str | None, *, since: float, step: Literal[10, 900]) -> list[Slot]:
    """Return the steps from `since` on (Unix seconds) in which something was, of a queue or of all, oldest first."""
    query = (
        select(_trend_t)
        .where(_trend_t.c.step == step, _trend_t.c.queue == (queue or ALL), _trend_t.c.at >= since)
        .order_by(_trend_t.c.at)
    )
    return [
        Slot(
            row.at, step, row.created, row.completed, row.failed, row.cancelled, row.waiting, row.running,
            _histogram(row.waits), _histogram(row.runs),
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def bucket(seconds: float) -> int:
    """Return the bucket of a duration."""
    return max(-42, min(80, math.floor(math.log(max(seconds, 1e-4)) / _BASE)))


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """Return the seconds below which `share` (0 to 1) of the durations lie, within a tenth; None of none."""
    wanted = share * sum(histogram.values())
    reached = 0
    for index in sorted(histogram):
        reached += histogram[index]
        if reached >= wanted > 0:
            return math.exp(_BASE * (index + 0.5))
    return None


def added(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return histograms as one."""
    total: dict[int, int] = {}
    for one in histograms:
        for index, n in one.items():
            total[index] = total.get(index, 0) + n
    return total


def _histogram(text: str) -> dict[int, int]:
    return {} if text == "{}" else _decode(text)


@dataclass(slots=True)
class _Step:
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    waits: dict[int, int] = field(default_factory=dict)
    runs: dict[int, int] = field(default_factory=dict)


class Gathered:
    """What has happened since it was last written, by step and queue."""

    def __init__(self) -> None:
        self._steps: dict[tuple[int, str], _Step] = {}

    def add(self, events: Sequence[Event]) -> None:
        """Take the events of one commit."""
        for event in events:
            if event.type in _COUNTED or event.type == "started":
                self._count(int(event.at) // FINE * FINE, event.job.queue, event)

    def _count(self, at: int, queue: str, event: Event) -> None:
        step = self._steps.get((at, queue))
        if step is None:
            step = self._steps[at, queue] = _Step()
        job = event.job
        if event.type == "started":
            if event.seq == 2:  # straight from its submission: others wait for a time, or again
                index = bucket(event.at - job.created_at)
                step.waits[index] = step.waits.get(index, 0) + 1
            return
        step.counts[event.type] += 1
        if event.type in {"completed", "failed"} and job.started_at is not None:
            index = bucket((job.finished_at or event.at) - job.started_at)
            step.runs[index] = step.runs.get(index, 0) + 1

    def take(self, before: float) -> dict[tuple[int, str], _Step]:
        """Return the steps that are over by then (Unix seconds), once."""
        done = {key: self._steps[key] for key in self._steps if key[0] + FINE <= before}
        for key in done:
            del self._steps[key]
        return done | {(at, ALL): _together(step for key, step in done.items() if key[0] == at) for at, _ in done}

    def give_back(self, steps: Mapping[tuple[int, str], _Step], now: float) -> None:
        """Take back steps that could not be written; those that would be too old to be kept go."""
        kept = {key: step for key, step in steps.items() if key[0] > now - KEPT[FINE] and key[1] != ALL}
        self._steps = {**kept, **self._steps}


def _together(steps: Iterable[_Step]) -> _Step:
    """Return what has happened in all queues."""
    found = list(steps)
    counts = {name: sum(step.counts[name] for step in found) for name in _COUNTED}
    return _Step(counts, added(step.waits for step in found), added(step.runs for step in found))


@dataclass(eq=False)
class RecordTrends(Op):
    """Write the steps that are over, with how many jobs wait and run now."""

    rank: ClassVar[int] = 95
    steps: Mapping[tuple[int, str], _Step]

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[RecordTrends]") -> list[Any]:
        """Add each step to its own row, and to that of its quarter of an hour."""
        for op in ops:
            op._write(tx)
        return [None] * len(ops)

    def _write(self, tx: Tx) -> None:
        gauges = _gauges(tx)
        at = int(tx.now) // FINE * FINE - FINE
        steps = dict(self.steps)
        for queue in gauges:  # queues in which nothing happened, but jobs wait
            steps.setdefault((at, queue), _Step())
        for (begin, queue), step in steps.items():
            waiting, running = gauges.get(queue, (0, 0))
            for length in (FINE, COARSE):
                _add(tx, (length, queue, begin // length * length), step, waiting, running)
        for length, kept in KEPT.items():
            queues = {queue for _, queue in steps}
            tx.connection.executemany(
                "DELETE FROM trend WHERE step = ? AND queue = ? AND at < ?",
                [(length, queue, tx.now - kept) for queue in queues],
            )


def _gauges(tx: Tx) -> dict[str, tuple[int, int]]:
    rows = tx.execute(
        f"SELECT queue, sum(n * (state IN {states(WAITING)})), sum(n * (state IN {states(ACTIVE)})) FROM tally "
        f"WHERE state IN {states(WAITING | ACTIVE)} GROUP BY queue"
    )
    found = {queue: (waiting, running) for queue, waiting, running in rows if waiting or running}
    if found:
        found[ALL] = (sum(one for one, _ in found.values()), sum(other for _, other in found.values()))
    return found


def _add(tx: Tx, key: tuple[int, str, int], step: _Step, waiting: int, running: int) -> None:
    row = tx.execute(
        "SELECT created, completed, failed, cancelled, waits, runs FROM trend WHERE step = ? AND queue = ? AND at = ?",
        *key,
    ).fetchone()
    counts = [step.counts[name] + (row[index] if row else 0) for index, name in enumerate(_COUNTED)]
    waits, runs = step.waits, step.runs
    if row:
        waits, runs = added((waits, _histogram(row[4]))), added((runs, _histogram(row[5])))
    tx.execute(
        "INSERT OR REPLACE INTO trend VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *key, *counts, waiting, running, json.dumps(waits), json.dumps(runs),
    )  # fmt: skip
