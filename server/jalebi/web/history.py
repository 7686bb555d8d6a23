"""What has happened, to one job or to many, in pages; as a stream or as lines to those who prefer that."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from jalebi.web.following import Gone, Over, cursor_given
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.waiting import applied, preferred_wait, until, until_news

#: How often one request reads from the store: 10,000 events that may match a filter, far fewer of large ones.
MOST_READS: Final = 20


async def events(request: Request) -> Response:
    """`GET /v1/jobs/{id}/events`: its durable events after `?after=SEQ`, in order; `next` goes on from there.

    With `Prefer: wait=N` a page that would be empty waits for the first of them.
    """
    media_type = streams.preferred(request)
    if media_type == streams.STREAM:
        return await streams.of_job(request)
    rooms, job_id, query = rooms_of(request), request.path_params["id"], request.query_params
    known_parameters(query, "after", "follow" if media_type == streams.LINES else "limit")
    last = whole(query, "after", 0) or 0
    newest = (await rooms.queue.get(job_id)).seq
    if media_type == streams.LINES:
        return streams.of_job_lines(request, last, follow=flag(query, "follow", default=False))
    limit, seconds = limit_of(query), preferred_wait(request)
    if seconds and last >= newest:
        with suppress(Gone):
            await until(request, rooms, job_id, seconds, lambda job: job.seq > last)
        newest = (await rooms.queue.get(job_id)).seq
    found: list[dict[str, Any]] = []
    for _ in range(MOST_READS):
        page = await rooms.store.read(partial(missed.events_of, job_id=job_id, after=last))
        for event in page[: limit - len(found)]:
            found.append(event_wire(event, root=root_of(request), epoch=rooms.store.epoch))
            last = event.seq
        if not page or last >= newest or len(found) == limit:
            break
    return _page(found, last if last < newest else None, seconds)


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
    """Return a page, as soon as there is one where the caller prefers to wait.

    It may hold fewer events than were asked for, and none: the last is that whose `next` is null.

    `reset` says that events after the cursor were purged: what matters now is in `GET /v1/jobs`, and `reset.cursor`
    goes on there.
    """
    rooms, seconds, epoch = rooms_of(request), preferred_wait(request), rooms_of(request).store.epoch
    read = partial(_matching, request, wanted, first if after is None else after, limit_of(request.query_params))
    read_so_far = await read()

    async def some() -> bool:
        nonlocal read_so_far
        read_so_far = await read()
        return bool(read_so_far.found)

    if seconds and not read_so_far.found and read_so_far.last >= read_so_far.upto:
        with suppress(Gone):
            await until_news(request, rooms, wanted.wants, seconds, some, progress=False)
    at = read_so_far
    more: dict[str, Any] = {"reset": {"cursor": cursor_text(epoch, at.upto)}} if at.purged and after is not None else {}
    return _page(at.found, cursor_text(epoch, at.last) if at.last < at.upto else None, seconds, **more)


@dataclass(slots=True)
class Matching:
    """Events of the jobs that match, looked for as far as event `last` of those up to `upto`."""

    upto: int
    last: int
    found: list[dict[str, Any]]
    purged: bool = False  # whether there were more that are gone


async def _matching(request: Request, wanted: Filter, after: int, limit: int) -> Matching:
    rooms = rooms_of(request)
    at = Matching(await rooms.store.read(reads.last_number), after, [])
    for _ in range(MOST_READS):
        query = partial(missed.events_of_all, after=at.last, upto=at.upto, wanted=wanted)
        page, floor = await rooms.store.read(query)
        at.purged |= floor > at.last
        for event in page:
            if len(at.found) == limit:
                break
            at.last = event.number
            if wanted.wants(event.job):
                at.found.append(event_wire(event, root=root_of(request), epoch=rooms.store.epoch))
        if not page:
            at.last = at.upto
        if at.last >= at.upto or len(at.found) == limit:
            break
    return at


def _page(found: list[dict[str, Any]], following: int | str | None, waited: int, **more: Any) -> Response:
    return json_answer({"events": found, "next": following, **more}, headers={"Vary": "Accept", **applied(waited)})
