"""What the pages show, read from the store: the board of the overview, one job in full, queues, workers."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from jalebi.events import Event, Outlook
from jalebi.jobs import ACTIVE, WAITING, Job, State
from jalebi.store import reads
from jalebi.web.rooms import Rooms

#: Rows of the lists on the overview.
RUNNING_SHOWN: Final = 10
RECENT_SHOWN: Final = 6
#: The chart on the overview: so many bars of so many seconds.
BARS: Final = 60
BAR_SECONDS: Final = 15
#: Log lines that a page begins with, and entries of a job's history.
LINES_SHOWN: Final = 500
HISTORY_SHOWN: Final = 60

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "waiting": ("queued", "scheduled", "retrying", "blocked"),
    "running": ("running", "cancelling"),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}


def grouped(counts: dict[str, int]) -> dict[str, int]:
    """Return counts by state as counts by group."""
    return {group: sum(counts.get(state, 0) for state in states) for group, states in GROUPS.items()}


@dataclass(frozen=True, slots=True)
class Bar:
    """What ended within one bar of the chart; heights are in percent of the highest."""

    completed: int
    failed: int
    good: float
    bad: float


@dataclass(frozen=True, slots=True)
class Board:
    """What the overview shows."""

    counts: dict[str, int]
    running: list[Job]
    recent: list[Job]
    chart: list[Bar]

    def live(self, rooms: Rooms) -> "Board":
        """Return the board with the progress that is newer than the store's."""
        return replace(self, running=[rooms.queue.live(job) for job in self.running])

    @property
    def finished(self) -> int:
        """How many jobs completed or failed in the time of the chart."""
        return sum(bar.completed + bar.failed for bar in self.chart)


def board(connection: Connection) -> Board:
    """Read the overview."""
    return Board(
        counts=grouped(reads.counts(connection)),
        running=reads.longest_running(connection, limit=RUNNING_SHOWN),
        recent=reads.finished_recently(connection, limit=RECENT_SHOWN),
        chart=_chart(connection, int(time.time())),
    )


def _chart(connection: Connection, now: int) -> list[Bar]:
    end = now - now % BAR_SECONDS + BAR_SECONDS
    start = end - BARS * BAR_SECONDS
    good, bad = [0] * BARS, [0] * BARS
    for second, _, completed, failed, _ in reads.pulse(connection, since=start - 1):
        slot = (second - start) // BAR_SECONDS
        if 0 <= slot < BARS:
            good[slot] += completed
            bad[slot] += failed
    highest = max(1, *(one + other for one, other in zip(good, bad, strict=True)))
    return [
        Bar(one, other, round(100 * one / highest, 1), round(100 * other / highest, 1))
        for one, other in zip(good, bad, strict=True)
    ]


def queues(connection: Connection) -> list[dict[str, Any]]:
    """Read every queue that has jobs, by name, with its counts by group."""
    return [{"name": name, **grouped(counts)} for name, counts in sorted(reads.queue_counts(connection).items())]


def with_kinds(rooms: Rooms, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return queues with the kinds whose jobs go there; those that had no job yet are there too."""
    names = {queue["name"] for queue in found} | {kind.queue for kind in rooms.kinds.all()} | {"default"}
    empty = dict.fromkeys(GROUPS, 0)
    by_name = {queue["name"]: queue for queue in found}
    return [
        {
            **empty,
            **by_name.get(name, {}),
            "name": name,
            "kinds": [kind.name for kind in rooms.kinds.all() if kind.queue == name],
        }
        for name in sorted(names)
    ]


def crew_values(rooms: Rooms, active: list[Job], waiting: int) -> dict[str, Any]:
    """Return what the template of the workers shows."""
    return {
        "active": [rooms.queue.live(job) for job in active],
        "waiting": waiting,
        "workers": rooms.queue.workers,
        "slots": rooms.settings.concurrency,
    }


def crew(connection: Connection) -> tuple[list[Job], int]:
    """Read the active jobs and how many wait."""
    active = reads.longest_running(connection, limit=200)
    return active, grouped(reads.counts(connection))["waiting"]


@dataclass(frozen=True, slots=True)
class Whole:
    """One job in full."""

    job: Job
    outlook: Outlook
    history: list[Event]
    files: list[reads.File]
    result: str | None

    @property
    def waiting(self) -> bool:
        """Whether the job has yet to start."""
        return self.job.state in WAITING

    @property
    def active(self) -> bool:
        """Whether an attempt runs."""
        return self.job.state in ACTIVE


async def whole(rooms: Rooms, job_id: str) -> Whole:
    """Read one job in full. Raises NotFound."""
    job, outlook = await rooms.queue.get_with_outlook(job_id)

    def query(connection: Connection) -> tuple[list[Event], list[reads.File], str | None]:
        result = reads.result(connection, job_id) if job.state is State.COMPLETED else None
        history = reads.milestones(connection, job_id, most=HISTORY_SHOWN)
        return history, reads.files(connection, job_id), result

    return Whole(job, outlook, *await rooms.store.read(query))


async def last_lines(rooms: Rooms, job_id: str) -> list[reads.LogLine]:
    """Read the lines that a job's page begins with."""
    return await rooms.store.read(partial(reads.last_log_lines, job_id=job_id, most=LINES_SHOWN))
