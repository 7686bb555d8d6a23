"""The page of workers: who works at what, with which processes, and whether more is started."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import NotFound
from jalebi.jobs import Job
from jalebi.store import reads
from jalebi.web.contents import grouped
from jalebi.web.rooms import Crew, Rooms, rooms_of, root_of
from jalebi.web.templating import cursor, page
from jalebi.web.told import telling

#: Active jobs that the page shows, those that have run longest; the list of jobs has the rest, page by page.
SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Process:
    """A child process: `memory` in bytes where it is known, and the job in it."""

    pid: int
    memory: int | None
    job: str | None


def crew(connection: Connection) -> tuple[list[Job], dict[str, int]]:
    """Read the active jobs that are shown, and how many jobs there are in each group of states."""
    active = reads.longest_running(connection, limit=SHOWN)
    return active, grouped(reads.counts(connection))


def values(rooms: Rooms, found: tuple[list[Job], dict[str, int]]) -> dict[str, Any]:
    """Return what the template of the workers shows."""
    active, counts = found
    worker = rooms.worker
    children = [] if worker is None else [Process(*child) for child in worker.children()]
    return {
        "active": [rooms.queue.live(job) for job in active],
        "waiting": counts["waiting"],
        "more": max(0, counts["running"] - len(active)),
        "worker": worker,
        "processes": children,
        "now": rooms.store.clock(),
    }


async def workers(request: Request) -> Response:
    """`GET /workers`: who works, and at what."""
    rooms = rooms_of(request)
    found = await rooms.store.read(crew)
    return page(request, "workers.html", view="workers", cursor=cursor(rooms, 0), **values(rooms, found))


async def confirm_drain(request: Request) -> Response:
    """`GET /workers/{id}/drain`: ask before a worker stops to start jobs."""
    return page(request, "workers/drain.html", worker=_worker(request))


async def drain(request: Request) -> Response:
    """`POST /workers/{id}/drain`: start nothing more; what runs goes on."""
    await _worker(request).pause()
    rooms_of(request).figures.forget()
    return telling(request, RedirectResponse(f"{root_of(request)}/workers", 303), "worker-paused")


async def resume(request: Request) -> Response:
    """`POST /workers/{id}/resume`: go on."""
    _worker(request).resume()
    rooms_of(request).figures.forget()
    return telling(request, RedirectResponse(f"{root_of(request)}/workers", 303), "worker-resumed")


def _worker(request: Request) -> Crew:
    worker = rooms_of(request).worker
    if worker is None or worker.id != request.path_params["id"]:
        raise NotFound("There is no such worker (any more).")
    return worker
