"""What has happened, to one job or to many, in pages; as a stream or as lines to those who prefer that."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from jalebi.events import cursor_text, event_wire
from jalebi.store import missed, reads
from jalebi.store.reads import Filter
from jalebi.web import streams
from jalebi.web.answers import json_answer
from jalebi.web.bodies import MATCHES, filter_of, flag, known_parameters, limit_of, whole
from jalebi.web.following import Over, cursor_given
from jalebi.web.rooms import rooms_of, root_of

#: How often one request reads from the store: 10,000 events that may match a filter, far fewer of large ones.
MOST_READS: Final = 20


async def events(request: Request) -> Response:
    """`GET /v1/jobs/{id}/events`: its durable events after `?after=SEQ`, in order; `next` goes on from there."""
    media_type = streams.preferred(request)
    if media_type == streams.STREAM:
        return await streams.of_job(request)
    rooms, job_id, query = rooms_of(request), request.path_params["id"], request.query_params
    known_parameters(query, "after", "follow" if media_type == streams.LINES else "limit")
    last = whole(query, "after", 0) or 0
    newest = (await rooms.queue.get(job_id)).seq
    if media_type == streams.LINES:
        return streams.of_job_lines(request, last, follow=flag(query, "follow", default=False))
    limit = limit_of(query)
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
    """`GET /v1/events`: the events of all jobs that match."""
    query = request.query_params
    return await events_matching(request, filter_of(query, query.getlist), MATCHES)


async def events_matching(
    request: Request, wanted: Filter, filters: Sequence[str] = (), first: int | None = None, over: Over | None = None
) -> Response:
    """Answer with what follows `?after=CURSOR` of the jobs that match: a page, a stream or lines, as is preferred.

    Without `after` pages and lines begin with the oldest event, or after event `first`; a stream with what comes now,
    or there too. `over` says when there is no more to follow.
    """
    rooms, query, media_type = rooms_of(request), request.query_params, streams.preferred(request)
    more = {streams.STREAM: (), streams.LINES: ("follow",), streams.JSON: ("limit",)}[media_type]
    known_parameters(query, *filters, "after", *more)
    if media_type == streams.STREAM:
        return await streams.of_all(request, wanted, first, over)
    after = await cursor_given(rooms, "after", query.get("after"))
    if media_type == streams.LINES:
        if after is None:
            after = await rooms.store.read(reads.floor) if first is None else first
        return streams.of_all_lines(request, wanted, after, over, follow=flag(query, "follow", default=False))
    return await _page_of_all(request, wanted, after, first or 0)


async def _page_of_all(request: Request, wanted: Filter, after: int | None, first: int) -> Response:
    """Return a page. It may hold fewer events than were asked for, and none: the last is that whose `next` is null.

    `reset` says that events after the cursor were purged: what matters now is in `GET /v1/jobs`, and `reset.cursor`
    goes on there.
    """
    rooms, limit = rooms_of(request), limit_of(request.query_params)
    upto, last, purged = await rooms.store.read(reads.last_number), first if after is None else after, False
    found: list[dict[str, Any]] = []
    for _ in range(MOST_READS):
        page, floor = await rooms.store.read(partial(missed.events_of_all, after=last, upto=upto, wanted=wanted))
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
