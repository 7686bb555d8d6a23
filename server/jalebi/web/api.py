"""The JSON routes of jobs: submit, look, wait, fetch, cancel, retry, delete, list."""

from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import (
    JobCancelledProblem,
    JobFailedProblem,
    JobNotFinished,
    MalformedRequest,
    NotFound,
    ValidationFailed,
)
from jalebi.estimates import quantile
from jalebi.jobs import Job, State
from jalebi.web.answers import NO_STORE, json_answer, retry_after, status_link, wire
from jalebi.web.bodies import (
    Cancellation,
    Submission,
    checked,
    filter_of,
    flag,
    keyed_of,
    known_parameters,
    limit_of,
    read_json,
)
from jalebi.web.rooms import rooms_of, root_of


async def submit(request: Request) -> Response:
    """`POST /v1/jobs`: store a job and answer 202 with it."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise ValidationFailed([{"pointer": "", "detail": "The body must be an object."}])
    rooms = rooms_of(request)
    keyed = keyed_of(request, body)
    order = checked(Submission, body).order(rooms.store.clock())
    if keyed is None:
        return accepted(request, await rooms.queue.submit(order))
    job, replayed = await rooms.queue.submit_once(order, keyed)
    return accepted(request, job, replayed=replayed)


def accepted(request: Request, job: Job, *, replayed: bool = False) -> Response:
    """Return 202 with where to watch the job."""
    headers = {"Location": status_link(request, job), "Retry-After": retry_after(request, job)}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return json_answer(wire(request, job), 202, headers)


async def jobs(request: Request) -> Response:
    """`GET /v1/jobs`: a page of jobs, newest first."""
    query = request.query_params
    known_parameters(query, "state", "kind", "queue", "tag", "q", "created_after", "created_before", "limit", "cursor")
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
    """`GET /v1/jobs/{id}`: the job, in every state."""
    found, outlook = await rooms_of(request).queue.get_with_outlook(request.path_params["id"])
    return json_answer(wire(request, found, outlook))


async def status(request: Request) -> Response:
    """`GET /v1/jobs/{id}/status`: the status monitor; 303 to the result once the job is over."""
    redirect = flag(request.query_params, "redirect", default=True)
    found, outlook = await rooms_of(request).queue.get_with_outlook(request.path_params["id"])
    body = wire(request, found, outlook)
    if not found.terminal:
        return json_answer(body, 200, {"Retry-After": retry_after(request, found, outlook)})
    if not redirect:
        return json_answer(body)
    return json_answer(body, 303, {"Location": f"{root_of(request)}/v1/jobs/{found.id}/result"})


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
            raise JobNotFinished(
                f"The job is {found.state}.", headers={"Retry-After": retry_after(request, found)}, state=found.state
            )


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
