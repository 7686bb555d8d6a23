"""The pages of errors: failed attempts by what went wrong, newest first."""

from functools import partial
from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import MalformedRequest, NotFound
from jalebi.jobs import Job
from jalebi.store import reads, search
from jalebi.store.faults import Fault, fault, faults
from jalebi.web.rooms import Rooms, rooms_of
from jalebi.web.templating import cursor, page

PAGE: Final = 50
_JOBS_SHOWN: Final = 8


async def newest(rooms: Rooms, before: float | None = None) -> dict[str, Any]:
    """Return what the template of the groups shows."""
    now = rooms.store.clock()
    found = await rooms.store.read(partial(faults, now=now, limit=PAGE + 1, before=before))
    older = found[PAGE - 1].last_at if len(found) > PAGE else None
    return {"faults": found[:PAGE], "older": older, "now": now}


async def errors(request: Request) -> Response:
    """`GET /errors`: groups of errors."""
    rooms = rooms_of(request)
    text = request.query_params.get("before")
    try:
        before = float(text) if text else None
    except ValueError:
        raise MalformedRequest("The parameter before is no time.", parameter="before") from None
    view = "errors" if before is None else "plain"
    shown = await newest(rooms, before)
    return page(request, "errors.html", view=view, cursor=cursor(rooms, 0), before=before, **shown)


async def error(request: Request) -> Response:
    """`GET /errors/{fingerprint}`: one group, its newest occurrence, and the jobs that stand failed with it."""
    rooms, mark = rooms_of(request), request.path_params["fingerprint"]
    now = rooms.store.clock()

    def query(connection: Connection) -> tuple[Fault | None, list[Job], Job | None]:
        found = fault(connection, mark, now=now)
        failed = search.find(connection, reads.Filter(errors=(mark,)), limit=_JOBS_SHOWN, within=0.02).jobs
        return found, failed, None if found is None else reads.job(connection, found.sample)

    found, failed, sample = await rooms.store.read(query)
    if found is None:
        raise NotFound("There is no such error (any more).")
    if sample is not None and sample.error is None:  # it has been started over since
        sample = failed[0] if failed else None
    return page(request, "error.html", fault=found, jobs=failed, sample=sample)
