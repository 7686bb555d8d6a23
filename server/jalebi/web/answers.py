"""Writes answers: JSON, jobs, and problem documents."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from jalebi.background import log
from jalebi.errors import InternalError, MethodNotAllowed, NotFound, Problem, StorageError
from jalebi.events import Outlook, encode, job_wire
from jalebi.jobs import ACTIVE, Job
from jalebi.web.rooms import Rooms, rooms_of, root_of

NO_STORE = {"Cache-Control": "no-store"}


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as application/json."""
    return Response(encode(value), status, {**NO_STORE, **(headers or {})}, "application/json")


def wire(connection: HTTPConnection, job: Job, outlook: Outlook | None = None) -> dict[str, Any]:
    """Return a job's wire form with the links of this request."""
    return job_wire(job, root=root_of(connection), epoch=rooms_of(connection).store.epoch, outlook=outlook)


def retry_after(rooms: Rooms, job: Job, outlook: Outlook | None = None) -> str:
    """Return in how many seconds it is worth asking again (RFC 9110, 10.2.3): a whole number from 1 to 30.

    That is half of the time that the job probably still takes, so that few questions find its end soon. Where that is
    not known it is a tenth of its age: what has gone on for long goes on for a while.
    """
    now = rooms.store.clock()
    if outlook is not None and outlook.finish is not None:
        wait = (outlook.finish.median - now) / 2
    elif outlook is None and (rest := rooms.queue.forecast.rest(job)) is not None:
        wait = rest / 2
    else:
        wait = (now - (job.started_at if job.state in ACTIVE and job.started_at else job.created_at)) / 10
    if job.run_at is not None:  # there is nothing to see before
        wait = max(wait, job.run_at - now)
    return str(max(1, min(30, ceil(wait))))


def status_link(connection: HTTPConnection, job: Job) -> str:
    """Return the link of a job's status monitor."""
    return f"{root_of(connection)}/v1/jobs/{job.id}/status"


def problem_answer(problem: Problem) -> Response:
    """Return a problem document (RFC 9457)."""
    return Response(
        encode(problem.document()), problem.status, {**NO_STORE, **problem.headers}, "application/problem+json"
    )


def problem_of(error: Exception) -> Problem:
    """Return any error as the problem that a caller is told of."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return NotFound("There is nothing at this address.")
        if error.status_code == 405:
            return MethodNotAllowed("The resource does not know this method.", headers=error.headers)
        problem = Problem(error.detail, headers=error.headers)
        problem.status = HTTPStatus(error.status_code)  # type: ignore[misc]
        problem.title = problem.status.phrase  # type: ignore[misc]
        return problem
    if isinstance(error, StorageError):
        return InternalError(str(error))
    log.error("A request broke", exc_info=error)
    return InternalError("Something broke in the server; its log says what.")


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer any error with a problem document."""
    problem = problem_of(error)
    if isinstance(problem, MethodNotAllowed):
        problem.headers["Allow"] = _methods(request)
    return problem_answer(problem)


def _methods(request: Request) -> str:
    """Return all methods of the request's path; the router knows those of the first route on it only."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return ", ".join(sorted(found))
