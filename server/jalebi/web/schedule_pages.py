"""The page of schedules: the jobs that wait for a time."""

from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from jalebi.jobs import Job
from jalebi.store import reads
from jalebi.store.due import due_next
from jalebi.web.rooms import rooms_of
from jalebi.web.templating import cursor, page

SHOWN: Final = 100


def upcoming(connection: Connection) -> tuple[list[Job], int]:
    """Read what comes due next, and how many jobs wait for a time."""
    counts = reads.counts(connection)
    return due_next(connection, SHOWN), counts["scheduled"] + counts["retrying"]


def values(found: tuple[list[Job], int]) -> dict[str, Any]:
    """Return what the template shows."""
    return {"jobs": found[0], "waiting": found[1]}


async def schedules(request: Request) -> Response:
    """`GET /schedules`: what waits for its time."""
    rooms = rooms_of(request)
    found = await rooms.store.read(upcoming)
    kinds = [kind.name for kind in rooms.kinds.all()]
    return page(
        request, "schedules.html", view="schedules", cursor=cursor(rooms, 0), kinds=kinds, **values(found),
    )  # fmt: skip
