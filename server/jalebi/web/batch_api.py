"""The JSON routes of batches: submit, look, follow, fetch what came of it, cancel."""

import asyncio
from contextlib import suppress
from math import ceil
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import MalformedRequest
from jalebi.events import batch_wire
from jalebi.jobs import State
from jalebi.store.batches import Batch
from jalebi.store.reads import Filter
from jalebi.web import history
from jalebi.web.answers import json_answer, wire
from jalebi.web.bodies import (
    BatchSubmission,
    Cancellation,
    check_hooks,
    checked,
    keyed_of,
    known_parameters,
    limit_of,
    read_json,
    read_object,
)
from jalebi.web.following import Gone, batch_over
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.waiting import REVALIDATE, applied, known, not_modified, preferred_wait, tag_of, until_news

#: JSON values in a batch's body; its bytes are limited as those of every body.
MOST_VALUES = 400_000


async def submit(request: Request) -> Response:
    """`POST /v1/jobs/batch`: store jobs together, all or none, and answer 202 with them and their batch."""
    body = await read_object(request, most=MOST_VALUES)
    rooms = rooms_of(request)
    keyed = await asyncio.to_thread(keyed_of, request, body)
    wanted = await asyncio.to_thread(checked, BatchSubmission, body)
    await check_hooks(request, wanted, keyed)
    now = rooms.store.clock()
    new, replayed = await rooms.batches.submit(
        [one.order(now) for one in wanted.jobs],
        last=None if wanted.last is None else wanted.last.order(now),
        webhook=None if wanted.webhook is None else wanted.webhook.webhook(),
        keyed=keyed,
    )
    batch_id = str(new[0].batch)
    found, running = await rooms.batches.get(batch_id)
    shown = _wire(request, found, running)
    headers = {"Location": shown["links"]["self"], "Retry-After": "1"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    # In a thread: it may be ten thousand jobs.
    answer = await asyncio.to_thread(lambda: json_answer({"jobs": [wire(request, job) for job in new], "batch": shown}))
    answer.status_code = 202
    answer.headers.update(headers)
    return answer


def _wire(request: Request, found: Batch, running: float) -> dict[str, Any]:
    return batch_wire(
        found.id, found.counts, running, created_at=found.created_at, last=found.last, root=root_of(request)
    )


async def batch(request: Request) -> Response:
    """`GET /v1/batches/{id}`: how it stands; ETag, 304 and `Prefer: wait=N` as for a job."""
    rooms, batch_id, seconds = rooms_of(request), request.path_params["id"], preferred_wait(request)
    found, running = await rooms.batches.get(batch_id)
    shown = _wire(request, found, running)
    tag, conditional = tag_of(shown), "if-none-match" in request.headers
    if seconds and (known(request, tag) if conditional else shown["state"] not in _OVER):

        async def changed() -> bool:
            return tag_of(_wire(request, *await rooms.batches.get(batch_id))) != tag

        with suppress(Gone):  # nobody reads the answer
            await until_news(request, rooms, Filter(batches=(batch_id,)).wants, seconds, changed)
        found, running = await rooms.batches.get(batch_id)
        shown = _wire(request, found, running)
        tag = tag_of(shown)
    if known(request, tag):
        return not_modified(tag, applied(seconds))
    headers = {**REVALIDATE, "ETag": tag, **applied(seconds)}
    if shown["state"] not in _OVER:
        headers["Retry-After"] = _retry_after(found, running, rooms.store.clock())
    return json_answer(shown, 200, headers)


def _retry_after(found: Batch, running: float, now: float) -> str:
    """Return in how many seconds it is worth asking again: half of what is left at the pace so far, from 1 to 30."""
    total = sum(found.counts.values())
    done = sum(n for state, n in found.counts.items() if state in _OVER) + running
    age = now - found.created_at
    left = age * (total - done) / done if done else age / 5
    return str(max(1, min(30, ceil(left / 2))))


_OVER = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


async def events(request: Request) -> Response:
    """`GET /v1/batches/{id}/events`: the events of its jobs, from the first on, in pages or as a stream to its end."""
    rooms, batch_id = rooms_of(request), request.path_params["id"]
    found, _ = await rooms.batches.get(batch_id)
    return await history.events_matching(
        request, Filter(batches=(batch_id,)), first=found.number, over=batch_over(rooms, batch_id)
    )


async def results(request: Request) -> Response:
    """`GET /v1/batches/{id}/results`: what came of each of its jobs, in the order in which they were submitted."""
    query = request.query_params
    known_parameters(query, "after", "limit")
    after, limit = query.get("after", ""), limit_of(query)
    if len(after) > 36 or not after.isascii():
        raise MalformedRequest("The parameter after is wrong: it must be the id of a job.", parameter="after")
    found = await rooms_of(request).batches.outcomes(request.path_params["id"], after=after, limit=limit + 1)
    page = [
        {"job_id": job.id, "state": job.state.value, "result": _raw(result), "error": job.error}
        for job, result in found[:limit]
    ]
    return json_answer({"results": page, "next": page[-1]["job_id"] if len(found) > limit else None})


def _raw(result: str | None) -> msgspec.Raw | None:
    return None if result is None else msgspec.Raw(result.encode())


async def cancel(request: Request) -> Response:
    """`POST /v1/batches/{id}/cancel`: cancel all its jobs that are not over; 202 while some are still asked to stop."""
    body = checked(Cancellation, await read_json(request, empty={}))
    rooms, batch_id = rooms_of(request), request.path_params["id"]
    await rooms.batches.cancel(batch_id, body.reason)
    shown = _wire(request, *await rooms.batches.get(batch_id))
    return json_answer(shown, 200 if shown["state"] in _OVER else 202)
