"""The JSON routes of jobs: submit, look, wait, fetch, cancel, retry, delete, list."""

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import (
    JobCancelledProblem,
    JobFailedProblem,
    JobNotFinished,
    MalformedRequest,
    NotFound,
)
from jalebi.estimates import quantile
from jalebi.events import Outlook
from jalebi.jobs import Job, State
from jalebi.web.answers import NO_STORE, json_answer, retry_after, status_link, wire
from jalebi.web.bodies import (
    MATCHES,
    Cancellation,
    Submission,
    check_hooks,
    checked,
    filter_of,
    flag,
    keyed_of,
    known_parameters,
    limit_of,
    read_json,
    read_object,
)
from jalebi.web.following import Gone
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.waiting import REVALIDATE, applied, etag, known, not_modified, preferred_wait, until


async def submit(request: Request) -> Response:
    """`POST /v1/jobs`: store a job and answer 202 with it."""
    body = await read_object(request)
    rooms = rooms_of(request)
    keyed = keyed_of(request, body)
    wanted = checked(Submission, body)
    await check_hooks(request, wanted, keyed)
    order = wanted.order(rooms.store.clock())
    replayed = False
    if keyed is None:
        job = await rooms.queue.submit(order)
    else:
        job, replayed = await rooms.queue.submit_once(order, keyed)
    seconds = preferred_wait(request)
    if seconds:
        job = await _ended(request, job.id, seconds) or job
    return accepted(request, job, replayed=replayed, waited=seconds)


async def _ended(request: Request, job_id: str, seconds: int) -> Job | None:
    """Return a job as it is when it has ended, or when the time is up; None where it or the caller is gone."""
    rooms = rooms_of(request)
    try:
        await until(request, rooms, job_id, seconds, lambda job: job.terminal)
        return await rooms.queue.get(job_id)
    except (Gone, NotFound):
        return None


def accepted(request: Request, job: Job, *, replayed: bool = False, waited: int = 0) -> Response:
    """Return 202 with where to watch the job; 200 where the caller has waited for its end."""
    headers = {"Location": status_link(request, job), **applied(waited)}
    over = waited > 0 and job.terminal
    if not over:
        headers["Retry-After"] = retry_after(rooms_of(request), job)
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return json_answer(wire(request, job), 200 if over else 202, headers)


async def jobs(request: Request) -> Response:
    """`GET /v1/jobs`: a page of jobs, newest first."""
    query = request.query_params
    known_parameters(query, *MATCHES, "q", "created_after", "created_before", "limit", "cursor")
    wanted, limit = filter_of(query, query.getlist), limit_of(query)
    page, following = await rooms_of(request).queue.page(wanted, limit=limit, before=_before(request))
    found = [wire(request, job, outlook) for job, outlook in page]
    return json_answer({"jobs": found, "next": following})


def _before(request: Request) -> str | None:
    cursor = request.query_params.get("cursor")
    if cursor is not None and (len(cursor) != 36 or not cursor.replace("-", "").isalnum() or not cursor.isascii()):
        raise MalformedRequest("The cursor is not one that a list of jobs has given.", parameter="cursor")
    return cursor


async def job(request: Request) -> Response:
    """`GET /v1/jobs/{id}`: the job, in every state; 304 where it is as the caller knows it.

    With `Prefer: wait=N` it waits for a change of what the caller knows, or of what there is now.
    """
    found, outlook, waited = await _changed(request, over_too=True)
    tag = etag(found, outlook)
    if known(request, tag):
        return not_modified(tag, waited)
    return json_answer(wire(request, found, outlook), 200, {**REVALIDATE, "ETag": tag, **waited})


async def _changed(request: Request, *, over_too: bool) -> tuple[Job, Outlook, dict[str, str]]:
    """Return a job once it has changed, or the time that the caller prefers is up; and what says so.

    `over_too` says whether a caller who knows that it is over waits for the retry that may come.
    """
    rooms, job_id, seconds = rooms_of(request), request.path_params["id"], preferred_wait(request)
    found, outlook = await rooms.queue.get_with_outlook(job_id)
    tag = etag(found, outlook)
    news = bool(request.headers.get("if-none-match")) and not known(request, tag)
    over = found.terminal and not (over_too and "if-none-match" in request.headers)
    if seconds and not news and not over:
        with suppress(Gone):
            await until(request, rooms, job_id, seconds, lambda job: etag(job, outlook) != tag)
        found, outlook = await rooms.queue.get_with_outlook(job_id)
    return found, outlook, applied(seconds)


async def status(request: Request) -> Response:
    """`GET /v1/jobs/{id}/status`: the status monitor; 303 to the result once the job is over.

    With `Prefer: wait=N` it waits for that, or for a change of what `If-None-Match` says that the caller knows.
    """
    redirect = flag(request.query_params, "redirect", default=True)
    if "if-none-match" in request.headers:
        found, outlook, headers = await _changed(request, over_too=False)
    else:
        seconds = preferred_wait(request)
        if seconds:
            await _ended(request, request.path_params["id"], seconds)
        found, outlook = await rooms_of(request).queue.get_with_outlook(request.path_params["id"])
        headers = applied(seconds)
    if found.terminal and redirect:
        headers["Location"] = f"{root_of(request)}/v1/jobs/{found.id}/result"
        return json_answer(wire(request, found, outlook), 303, headers)
    tag = etag(found, outlook)
    if not found.terminal:
        headers["Retry-After"] = retry_after(rooms_of(request), found, outlook)
    if known(request, tag):
        return not_modified(tag, headers)
    return json_answer(wire(request, found, outlook), 200, {**REVALIDATE, "ETag": tag, **headers})


async def result(request: Request) -> Response:
    """`GET /v1/jobs/{id}/result`: what the job returned, or why there is nothing."""
    queue = rooms_of(request).queue
    found = await queue.get(request.path_params["id"])
    match found.state:
        case State.COMPLETED:
            stored = await queue.result(found.id)
            return Response((stored or "null").encode(), 200, NO_STORE, "application/json")
        case State.FAILED:
            message = (found.error or {}).get("message", "")
            raise JobFailedProblem(f"The job failed: {message}", error=found.error, job_id=found.id)
        case State.CANCELLED:
            raise JobCancelledProblem("The job was cancelled, so it has no result.", job_id=found.id)
        case _:
            later = {"Retry-After": retry_after(rooms_of(request), found)}
            raise JobNotFinished(f"The job is {found.state}.", headers=later, state=found.state)


async def cancel(request: Request) -> Response:
    """`POST /v1/jobs/{id}/cancel`: 200 where it is cancelled now, 202 where it was asked to stop."""
    body = checked(Cancellation, await read_json(request, empty={}))
    found = await rooms_of(request).queue.cancel(request.path_params["id"], body.reason)
    if found.state is State.CANCELLING:
        return json_answer(wire(request, found), 202, {"Location": status_link(request, found), "Retry-After": "1"})
    return json_answer(wire(request, found))


async def retry(request: Request) -> Response:
    """`POST /v1/jobs/{id}/retry`: the same job over again."""
    return accepted(request, await rooms_of(request).queue.retry(request.path_params["id"]))


async def delete(request: Request) -> Response:
    """`DELETE /v1/jobs/{id}`: purge it."""
    await rooms_of(request).queue.delete(request.path_params["id"])
    return Response(status_code=204, headers=NO_STORE)


async def kinds(request: Request) -> Response:
    """`GET /v1/kinds`: every kind with its options and the JSON Schema of its args."""
    return json_answer({"kinds": await _kinds(request, [kind.name for kind in rooms_of(request).kinds.all()])})


async def kind(request: Request) -> Response:
    """`GET /v1/kinds/{name}`: one kind."""
    name = request.path_params["name"]
    if name not in rooms_of(request).kinds:
        raise NotFound(f"There is no kind {name!r}.")
    [found] = await _kinds(request, [name])
    return json_answer(found)


async def _kinds(request: Request, names: list[str]) -> list[dict[str, object]]:
    rooms = rooms_of(request)
    took = await rooms.queue.forecast.durations(names)
    return [
        {
            "name": found.name,
            "description": found.description,
            "options": found.options,
            "args_schema": found.args_schema,
            "duration": {f"p{share}": _rounded(quantile(took[found.name], share / 100)) for share in (50, 95)},
        }
        for found in map(rooms.kinds.named, names)
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
