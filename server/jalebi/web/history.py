"""What has happened to a job, in pages."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from jalebi.events import event_wire
from jalebi.store import reads
from jalebi.web.answers import json_answer
from jalebi.web.bodies import known_parameters, limit_of, whole
from jalebi.web.rooms import rooms_of, root_of


async def events(request: Request) -> Response:
    """`GET /v1/jobs/{id}/events`: its durable events after `?after=SEQ`, in order; `next` goes on from there."""
    rooms, job_id, query = rooms_of(request), request.path_params["id"], request.query_params
    known_parameters(query, "after", "limit")
    after, limit = whole(query, "after", 0) or 0, limit_of(query)
    await rooms.queue.get(job_id)
    found = await rooms.store.read(partial(reads.events_of, job_id=job_id, after=after, limit=limit + 1))
    page = [event_wire(event, root=root_of(request), epoch=rooms.store.epoch) for event in found[:limit]]
    return json_answer({"events": page, "next": page[-1]["seq"] if len(found) > limit else None})
