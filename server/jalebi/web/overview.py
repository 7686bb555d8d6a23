"""The overview: how many jobs are where, what runs, what fails, and how the queues are."""

import time
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from jalebi.jobs import Job
from jalebi.store import reads
from jalebi.store.faults import Fault, faults
from jalebi.store.lines import Line, lines
from jalebi.store.pace import Pace, pace, paces
from jalebi.web import charts
from jalebi.web.contents import grouped
from jalebi.web.rooms import Rooms, rooms_of
from jalebi.web.templating import cursor, page

#: Rows of the lists on the overview.
RUNNING_SHOWN: Final = 8
FAULTS_SHOWN: Final = 5
QUEUES_SHOWN: Final = 8
#: Seconds for which an error counts as recent.
RECENTLY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Board:
    """What the overview shows."""

    counts: dict[str, int]
    pace: Pace
    running: list[Job]
    faults: list[Fault]
    queues: list[tuple[Line, Pace]]
    more_queues: int
    oldest_wait: float | None


def board(connection: Connection) -> Board:
    """Read the overview."""
    now = time.time()
    all_queues = lines(connection, now)
    busiest = sorted(all_queues, key=lambda line: (-grouped(line.counts)["waiting"], line.name))[:QUEUES_SHOWN]
    queues = sorted(busiest, key=lambda line: line.name)
    lately = paces(connection, [line.name for line in queues], now)
    newest = faults(connection, now=now, limit=FAULTS_SHOWN, within=RECENTLY)
    return Board(
        counts=grouped(reads.counts(connection)),
        pace=pace(connection, now),
        running=reads.longest_running(connection, limit=RUNNING_SHOWN),
        # By what does not change, so that no row moves while somebody reads.
        faults=sorted(newest, key=lambda fault: -fault.first_at),
        queues=[(line, lately[line.name]) for line in queues],
        more_queues=len(all_queues) - len(queues),
        oldest_wait=max((line.oldest_wait for line in all_queues if line.oldest_wait is not None), default=None),
    )


def values(rooms: Rooms, found: Board) -> dict[str, Any]:
    """Return what the template of the board shows, with progress that is newer than the store's."""
    live = replace(found, running=[rooms.queue.live(job) for job in found.running])
    worker = rooms.worker
    return {
        "board": live,
        "workers": rooms.queue.workers,
        "busy": worker.busy if worker else 0,
        "slots": worker.concurrency if worker else 0,
    }


async def overview(request: Request) -> Response:
    """`GET /`: what runs now, and how it goes."""
    rooms, chosen = rooms_of(request), charts.range_of(request.query_params.get("range"))
    now = rooms.store.clock()

    def query(connection: Connection) -> tuple[int, Board, list[charts.Chart]]:
        number = reads.last_number(connection)
        return number, board(connection), charts.charts(connection, None, chosen, now)

    number, found, drawn = await rooms.store.read(query)
    return page(
        request, "overview.html", view="overview", cursor=cursor(rooms, number), charts=drawn, range=chosen,
        ranges=charts.RANGES, queue=None, **values(rooms, found),
    )  # fmt: skip
