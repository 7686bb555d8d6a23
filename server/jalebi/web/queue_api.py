"""The JSON routes of queues: what waits in each, pause, resume."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import NotFound
from jalebi.jobs import WAITING
from jalebi.store.lines import Line, lines
from jalebi.web.answers import json_answer
from jalebi.web.rooms import Rooms, rooms_of


async def all_lines(rooms: Rooms) -> list[Line]:
    """Return every queue, by name: those with jobs, those decided about, and those in which a kind's jobs go."""
    now = rooms.store.clock()
    found = await rooms.store.read(lambda connection: lines(connection, now))
    return with_empty(rooms, found)


def with_empty(rooms: Rooms, found: Sequence[Line]) -> list[Line]:
    """Return queues with those besides in which a kind's jobs go, by name."""
    known = {line.name for line in found}
    empty = {"default", *(kind.queue for kind in rooms.kinds.all())} - known
    return sorted([*found, *(Line(name, {}) for name in empty)], key=lambda line: line.name)


async def line_named(rooms: Rooms, name: str) -> Line:
    """Return one queue. Raises NotFound."""
    for line in await all_lines(rooms):
        if line.name == name:
            return line
    raise NotFound(f"There is no queue {name!r}.")


async def queues(request: Request) -> Response:
    """`GET /v1/queues`: every queue."""
    found: Sequence[Line] = await all_lines(rooms_of(request))
    return json_answer({"queues": [wire(line) for line in found]})


async def pause(request: Request) -> Response:
    """`POST /v1/queues/{name}/pause`: start no more of its jobs; 200 with the queue, paused before or not."""
    rooms = rooms_of(request)
    line = await line_named(rooms, request.path_params["name"])
    await rooms.queue.pause(line.name)
    rooms.figures.forget()
    return json_answer(wire(replace(line, paused=True)))


async def resume(request: Request) -> Response:
    """`POST /v1/queues/{name}/resume`: go on; 200 with the queue."""
    rooms = rooms_of(request)
    line = await line_named(rooms, request.path_params["name"])
    await rooms.queue.resume(line.name)
    rooms.figures.forget()
    return json_answer(wire(replace(line, paused=False)))


def wire(line: Line) -> dict[str, object]:
    """Return a queue as callers see it; `depth` counts its waiting jobs."""
    wait = line.oldest_wait
    return {
        "name": line.name,
        "depth": sum(line.counts.get(state.value, 0) for state in WAITING),
        "running": line.running,
        "oldest_wait_seconds": None if wait is None else round(wait, 3),
        "max_running": line.max_running,
        "paused": line.paused,
    }
