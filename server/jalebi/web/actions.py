"""What the dashboard's buttons and forms do; each answers with a redirect, or with the page that says what is wrong."""

import hmac
from collections.abc import Awaitable
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import NotFound, Problem
from jalebi.jobs import Job
from jalebi.web.guard import COOKIE, session
from jalebi.web.job_page import job_page
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import page
from jalebi.web.told import telling


async def cancel(request: Request) -> Response:
    """`POST /jobs/{id}/cancel`: cancel it, or ask it to stop."""
    return await _act(request, rooms_of(request).queue.cancel(request.path_params["id"]))


async def retry(request: Request) -> Response:
    """`POST /jobs/{id}/retry`: start it over."""
    return await _act(request, rooms_of(request).queue.retry(request.path_params["id"]), "retried")


async def _act(request: Request, doing: Awaitable[Job], done: str | None = None) -> Response:
    try:
        job = await doing
    except NotFound:
        raise
    except Problem as problem:
        return await job_page(request, problem)
    form = await request.form(max_fields=10)
    own = f"{root_of(request)}/jobs/{request.path_params['id']}"
    answer = RedirectResponse(_local(request, form.get("back")) or own, 303)
    return telling(request, answer, done or job.state)


async def delete(request: Request) -> Response:
    """`POST /jobs/{id}/delete`: purge it."""
    try:
        await rooms_of(request).queue.delete(request.path_params["id"])
    except NotFound:
        raise
    except Problem as problem:
        return await job_page(request, problem)
    return telling(request, RedirectResponse(f"{root_of(request)}/jobs", 303), "deleted")


async def redeliver(request: Request) -> Response:
    """`POST /jobs/{id}/webhooks/{delivery}/redeliver`: send a message about it again."""
    job_id = request.path_params["id"]
    await rooms_of(request).webhooks.redeliver(job_id, request.path_params["delivery"])
    return telling(request, RedirectResponse(f"{root_of(request)}/jobs/{job_id}#webhooks", 303), "redelivered")


async def login(request: Request) -> Response:
    """`POST /login`: open a session for the token, and go where the reader wanted to go."""
    token = rooms_of(request).settings.token
    form = await request.form(max_fields=10)
    given, following = str(form.get("token", "")), str(form.get("next", ""))
    if token is None:
        return RedirectResponse(f"{root_of(request)}/", 303)
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        return page(request, "login.html", 401, wrong=True, next=following)
    answer = RedirectResponse(_local(request, following) or f"{root_of(request)}/", 303)
    answer.set_cookie(
        COOKIE, session(token), path=root_of(request) or "/", httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def _local(request: Request, target: object) -> str | None:
    """Return an address under our root that a form or a query names as a path, or None."""
    if not isinstance(target, str) or not target.startswith("/") or target.startswith("//") or "\\" in target:
        return None
    if any(ord(char) < 32 for char in target) or urlsplit(target).netloc:
        return None
    return root_of(request) + quote(target, safe="/?&=%+:,;@!$'()*-._~")
