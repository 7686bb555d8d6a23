"""The pages of queues: what waits in each, pause, limits, charts."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import ValidationFailed
from jalebi.jobs import Job
from jalebi.store import reads
from jalebi.store.lines import Line, lines
from jalebi.store.pace import Pace, paces
from jalebi.web import charts
from jalebi.web.contents import grouped
from jalebi.web.queue_api import line_named, with_empty
from jalebi.web.rooms import Rooms, rooms_of, root_of
from jalebi.web.templating import cursor, page
from jalebi.web.told import telling

JOBS_SHOWN: Final = 8
_MOST: Final = 100_000


async def cards(rooms: Rooms) -> dict[str, Any]:
    """Return what the template of all queues shows."""
    found = await rooms.figures.read(rooms.store, rooms.hub, _all)  # shared: it looks at every queue
    return {"queues": [_card(rooms, line, found[1].get(line.name, Pace())) for line in with_empty(rooms, found[0])]}


def _all(connection: Connection) -> tuple[list[Line], dict[str, Pace]]:
    now = time.time()
    found = lines(connection, now)
    return found, paces(connection, [line.name for line in found], now)


def _card(rooms: Rooms, line: Line, pace: Pace) -> dict[str, Any]:
    kinds = [kind.name for kind in rooms.kinds.all() if kind.queue == line.name]
    return {"line": line, "pace": pace, "kinds": kinds, **grouped(line.counts)}


async def queues(request: Request) -> Response:
    """`GET /queues`: every queue."""
    rooms = rooms_of(request)
    return page(request, "queues.html", view="queues", cursor=cursor(rooms, 0), **await cards(rooms))


async def card(rooms: Rooms, name: str) -> dict[str, Any]:
    """Return what the template of one queue shows. Raises NotFound."""
    line, now = await line_named(rooms, name), rooms.store.clock()

    def query(connection: Connection) -> tuple[Pace, list[Job]]:
        return paces(connection, [name], now)[name], reads.longest_running(connection, limit=JOBS_SHOWN, queue=name)

    pace, running = await rooms.store.read(query)
    return {"queue": _card(rooms, line, pace), "running": [rooms.queue.live(job) for job in running]}


async def queue(request: Request) -> Response:
    """`GET /queues/{name}`: one queue with its charts."""
    return await _queue_page(request)


async def _queue_page(request: Request, wrong: str = "", typed: str | None = None, status: int = 200) -> Response:
    rooms, name = rooms_of(request), request.path_params["name"]
    chosen, now = charts.range_of(request.query_params.get("range")), rooms.store.clock()
    shown = await card(rooms, name)
    drawn = await rooms.store.read(lambda connection: charts.charts(connection, name, chosen, now))
    return page(
        request, "queue.html", status, view="queue", cursor=cursor(rooms, 0), charts=drawn, range=chosen,
        ranges=charts.RANGES, wrong=wrong, typed=typed, **shown,
    )  # fmt: skip


async def pause(request: Request) -> Response:
    """`POST /queues/{name}/pause`: start no more of its jobs."""
    return await _act(request, rooms_of(request).queue.pause, "queue-paused")


async def resume(request: Request) -> Response:
    """`POST /queues/{name}/resume`: go on."""
    return await _act(request, rooms_of(request).queue.resume, "queue-resumed")


async def limit(request: Request) -> Response:
    """`POST /queues/{name}/limit`: let at most so many of its jobs run at once; any number where it is empty."""
    form = await request.form(max_fields=10)
    text = str(form.get("max_running", "")).strip()
    if text and not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST):
        wrong = f"It must be a whole number from 1 to {_MOST}, or empty."
        return await _queue_page(request, wrong, text, ValidationFailed.status)
    most = int(text) if text else None
    return await _act(request, lambda name: rooms_of(request).queue.limit(name, most), "queue-limited")


async def _act(request: Request, do: Callable[[str], Awaitable[None]], done: str) -> Response:
    name = request.path_params["name"]
    await line_named(rooms_of(request), name)
    await do(name)
    rooms_of(request).figures.forget()
    form = await request.form(max_fields=10)
    own = "/queues" if form.get("back") == "all" else f"/queues/{quote(name, safe='')}"
    return telling(request, RedirectResponse(f"{root_of(request)}{own}", 303), done)
