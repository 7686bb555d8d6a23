"""What has happened, to one job or to all, in pages; as a stream to those who prefer that."""

from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from jalebi.events import cursor_text, event_wire
from jalebi.store import missed, reads
from jalebi.web import streams
from jalebi.web.answers import json_answer
from jalebi.web.bodies import filter_of, known_parameters, limit_of, whole
from jalebi.web.following import cursor_given
from jalebi.web.rooms import rooms_of, root_of

#: How often one request reads from the store: 10,000 events that may match a filter, far fewer of large ones.
MOST_READS: Final = 20


async def events(request: Request) -> Response:
    """`GET /v1/jobs/{id}/events`: its durable events after `?after=SEQ`, in order; `next` goes on from there."""
    if streams.wants_stream(request):
        return await streams.of_job(request)
    rooms, job_id, query = rooms_of(request), request.path_params["id"], request.query_params
    known_parameters(query, "after", "limit")
    last, limit = whole(query, "after", 0) or 0, limit_of(query)
    newest = (await rooms.queue.get(job_id)).seq
    found: list[dict[str, Any]] = []
    for _ in range(MOST_READS):
        page = await rooms.store.read(partial(missed.events_of, job_id=job_id, after=last))
        for event in page[: limit - len(found)]:
            found.append(event_wire(event, root=root_of(request), epoch=rooms.store.epoch))
            last = event.seq
        if not page or last >= newest or len(found) == limit:
            break
    return _page(found, last if last < newest else None)


async def all_events(request: Request) -> Response:
    """`GET /v1/events`: the events of all jobs that match after `?after=CURSOR`, or from the oldest, in pages too.

    A page may hold fewer events than were asked for, and none: the last is that whose `next` is null. `reset` says
    that events after the cursor were purged: what matters now is in `GET /v1/jobs`, and `reset.cursor` goes on there.
    """
    if streams.wants_stream(request):
        return await streams.of_all(request)
    rooms, query = rooms_of(request), request.query_params
    known_parameters(query, "kind", "queue", "state", "tag", "after", "limit")
    wanted, limit = filter_of(query, query.getlist), limit_of(query)
    after = await cursor_given(rooms, "after", query.get("after"))
    upto, last, purged = await rooms.store.read(reads.last_number), after or 0, False
    found: list[dict[str, Any]] = []
    for _ in range(MOST_READS):
        page, floor = await rooms.store.read(partial(missed.events_of_all, after=last, upto=upto))
        purged |= floor > last
        for event in page:
            if len(found) == limit:
                break
            last = event.number
            if wanted.wants(event.job):
                found.append(event_wire(event, root=root_of(request), epoch=rooms.store.epoch))
        if not page:
            last = upto
        if last >= upto or len(found) == limit:
            break
    more: dict[str, Any] = {}
    if purged and after is not None:
        more["reset"] = {"cursor": cursor_text(rooms.store.epoch, upto)}
    return _page(found, cursor_text(rooms.store.epoch, last) if last < upto else None, **more)


def _page(found: list[dict[str, Any]], following: int | str | None, **more: Any) -> Response:
    return json_answer({"events": found, "next": following, **more}, headers={"Vary": "Accept"})
