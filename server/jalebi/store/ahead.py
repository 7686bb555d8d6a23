"""What waiting jobs have before them: their places, the limits of the queues, and the line as far as it is short."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from jalebi.events import encode
from jalebi.jobs import Job, State
from jalebi.store import reads

#: Kinds whose durations are asked for by one look.
AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Stood:
    """A job in line; jobs start in the order of `key`."""

    key: tuple[int, str]  # minus its priority, its id
    kind: str
    queue: str


@dataclass(slots=True)
class Ahead:
    """What was found. `counts` are the queued jobs by kind and queue, of queues that are not paused.

    `line` is those jobs in order, or None where there are too many. `histories` are the durations of finished jobs, by
    kind, as far as they were not known.
    """

    places: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    limits: dict[str, int] = field(default_factory=dict)
    counts: list[tuple[str, str, int]] = field(default_factory=list)
    line: list[Stood] | None = None
    histories: dict[str, list[tuple[str, float]]] = field(default_factory=dict)


def look(
    connection: Connection,
    jobs: Sequence[Job],
    *,
    kinds: Collection[str],
    lacks: Callable[[str], bool],
    running: Iterable[str],
    most: int,
) -> Ahead:
    """Return what these jobs have before them: of the `kinds` that are run, the line up to so many jobs.

    `running` are the kinds of what runs now; `lacks` says of which kinds the durations are not known yet.
    """
    waiting = [job for job in jobs if job.state in {State.QUEUED, State.SCHEDULED, State.RETRYING}]
    found = Ahead(places=reads.positions(connection, [job.id for job in waiting if job.state is State.QUEUED]))
    wanted = {job.kind for job in jobs if not job.terminal}
    if waiting:
        for name, paused, limit in connection.exec_driver_sql("SELECT name, paused, max_running FROM queue"):
            if paused:
                found.paused.add(name)
            elif limit is not None:
                found.limits[name] = limit
        rows = connection.exec_driver_sql(
            "SELECT kind, queue, n FROM tally INDEXED BY tally_ready WHERE state = 'queued' AND n > 0"
        )
        found.counts = [(row[0], row[1], row[2]) for row in rows if row[0] in kinds and row[1] not in found.paused]
        if sum(count for _, _, count in found.counts) <= most:
            found.line = _line(connection, found.counts)
        wanted |= {kind for kind, _, _ in found.counts} | set(running)
    found.histories = histories(connection, [kind for kind in sorted(wanted) if lacks(kind)][:AT_ONCE])
    return found


def histories(connection: Connection, kinds: Iterable[str]) -> dict[str, list[tuple[str, float]]]:
    """Return the last completed jobs of each kind, oldest first: ids, and how many seconds they took."""
    return {kind: reads.durations(connection, kind) for kind in kinds}


def _line(connection: Connection, counts: Sequence[tuple[str, str, int]]) -> list[Stood]:
    """Return the queued jobs of some kinds and queues in the order in which they start; the index has all of it."""
    rows = connection.exec_driver_sql(
        "SELECT job.priority, job.id, job.kind, job.queue FROM json_each(?) AS v "
        "CROSS JOIN job INDEXED BY job_ready_kind "
        "ON job.state = 'queued' AND job.kind = v.value->>0 AND job.queue = v.value->>1",
        (encode(counts).decode(),),
    )
    return sorted((Stood((-row[0], row[1]), row[2], row[3]) for row in rows), key=lambda one: one.key)
