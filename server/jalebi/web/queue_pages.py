"""The pages of queues: what waits in each, pause, limits, charts."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import ValidationFailed
from jalebi.jobs import Job
from jalebi.store import search
from jalebi.store.lines import Line
from jalebi.store.reads import Filter
from jalebi.store.trends import FINE, counted
from jalebi.web import charts
from jalebi.web.contents import grouped
from jalebi.web.queue_api import all_lines, line_named
from jalebi.web.rooms import Rooms, rooms_of, root_of
from jalebi.web.templating import cursor, page
from jalebi.web.told import telling

#: Seconds over which a queue's rate is measured, and those over which its failures are counted.
_RATE: Final = 60
_HOUR: Final = 3600
JOBS_SHOWN: Final = 8
_MOST: Final = 100_000


async def cards(rooms: Rooms) -> dict[str, Any]:
    """Return what the template of all queues shows."""
    found = await all_lines(rooms)
    now = rooms.store.clock()
    active = [line.name for line in found if any(line.counts.values())]
    rates = await rooms.store.read(lambda connection: {name: _rates(connection, name, now) for name in active})
    return {"queues": [_card(rooms, line, rates.get(line.name, (0.0, 0))) for line in found]}


def _rates(connection: Connection, name: str, now: float) -> tuple[float, int]:
    """Return how many jobs of a queue complete a second, and how many failed within an hour."""
    rate = sum(counted(connection, name, since=now - _RATE - FINE)) / _RATE
    return rate, counted(connection, name, since=now - _HOUR)[1]


def _card(rooms: Rooms, line: Line, rates: tuple[float, int]) -> dict[str, Any]:
    kinds = [kind.name for kind in rooms.kinds.all() if kind.queue == line.name]
    return {"line": line, "rate": rates[0], "failed": rates[1], "kinds": kinds, **grouped(line.counts)}


async def queues(request: Request) -> Response:
    """`GET /queues`: every queue."""
    rooms = rooms_of(request)
    return page(request, "queues.html", view="queues", cursor=cursor(rooms, 0), **await cards(rooms))


async def card(rooms: Rooms, name: str) -> dict[str, Any]:
    """Return what the template of one queue shows. Raises NotFound."""
    line, now = await line_named(rooms, name), rooms.store.clock()

    def query(connection: Connection) -> tuple[tuple[float, int], list[Job]]:
        here = Filter(queues=(name,), states=("running", "cancelling"))
        return _rates(connection, name, now), search.find(connection, here, limit=JOBS_SHOWN, within=0.02).jobs

    rates, running = await rooms.store.read(query)
    return {"queue": _card(rooms, line, rates), "running": [rooms.queue.live(job) for job in running]}


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
    form = await request.form(max_fields=10)
    own = "/queues" if form.get("back") == "all" else f"/queues/{quote(name, safe='')}"
    return telling(request, RedirectResponse(f"{root_of(request)}{own}", 303), done)
