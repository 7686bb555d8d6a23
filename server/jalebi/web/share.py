"""Share links over HTTP: making one, and the page, the stream and the status that whoever has it may see."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import Problem
from jalebi.events import Event, Outlook, Snapshot, encode, progress_wire, rfc3339
from jalebi.jobs import Job, State
from jalebi.mailbox import Advance
from jalebi.shares import LEAST, MOST, USUAL
from jalebi.web import badge, streams
from jalebi.web.answers import json_answer, problem_of
from jalebi.web.bodies import checked, known_parameters, read_json, whole
from jalebi.web.following import End, Tell, follow_job
from jalebi.web.frames import Message
from jalebi.web.pages import on_problem
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import page

#: What is seen by a link is for its holder alone, and not for search engines, nor for the sites that it leads to.
PRIVATE: Final = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex", "Cache-Control": "no-store"}
#: The link is the right, so any site may show what it leads to; cookies play no part.
_ANYWHERE: Final = {**PRIVATE, "Access-Control-Allow-Origin": "*"}


class Sharing(BaseModel):
    """The body of `POST …/share`; it may be left out. `expires_in` is in seconds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    expires_in: Annotated[float, Field(ge=LEAST, le=MOST)] = USUAL


async def share(request: Request) -> Response:
    """`POST /v1/jobs/{id}/share`: a link with which anybody may watch the job, and nothing else, for a time."""
    body = checked(Sharing, await read_json(request, empty={}))
    url, expires_at = await link(request, body.expires_in)
    return json_answer({"url": url, "expires_at": rfc3339(expires_at)}, 201, {"Location": url})


async def shared(request: Request) -> Response:
    """`POST /jobs/{id}/share`: the same for a person, as a page that shows the link."""
    url, expires_at = await link(request, USUAL)
    job = await rooms_of(request).queue.get(request.path_params["id"])
    return page(request, "job/share.html", 201, job=job, url=url, expires_at=expires_at)


async def link(request: Request, seconds: float) -> tuple[str, float]:
    """Return a link to a job's live page, and until when it holds (Unix seconds). Raises NotFound."""
    rooms = rooms_of(request)
    job = await rooms.queue.get(request.path_params["id"])
    expires_at = rooms.store.clock() + seconds
    token = await rooms.shares.token(job.id, expires_at)
    base = (rooms.settings.public_url or f"{request.url.scheme}://{request.url.netloc}{root_of(request)}").rstrip("/")
    return f"{base}/share/{token}", expires_at


async def watch(request: Request) -> Response:
    """`GET /share/{token}`: the live page of the job."""
    try:
        job, outlook, _ = await _job(request)
    except Problem as problem:
        return page(request, "share/gone.html", problem.status, PRIVATE, problem=problem)
    token = request.path_params["token"]
    return page(request, "share/page.html", 200, PRIVATE, job=job, outlook=outlook, token=token)


def _to_anywhere(view: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Let any site read why a view refuses, too."""

    @wraps(view)
    async def answered(request: Request) -> Response:
        try:
            return await view(request)
        except Problem as problem:
            answer = await on_problem(request, problem_of(problem))
            answer.headers.update(_ANYWHERE)
            return answer

    return answered


@_to_anywhere
async def status(request: Request) -> Response:
    """`GET /share/{token}/status`: how the job is, for those who poll."""
    known_parameters(request.query_params)
    job, outlook, _ = await _job(request)
    return json_answer(seen(job, outlook), 200, _ANYWHERE)


@_to_anywhere
async def events(request: Request) -> Response:
    """`GET /share/{token}/events`: the same as server-sent events, until the job or the link ends."""
    rooms = rooms_of(request)
    known_parameters(request.query_params, "after")
    job, _, expires_at = await _job(request)
    name, text = streams.begin(request)
    after = (whole({name: text}, name) if text is not None else None) or 0
    if job.terminal and after >= job.seq:
        return Response(status_code=204, headers=_ANYWHERE)

    async def follow(tell: Tell) -> End:
        try:
            async with asyncio.timeout(expires_at - rooms.store.clock()):
                return await follow_job(rooms, job.id, after, tell)
        except TimeoutError:
            return End.DONE  # whoever comes back is told that the link has expired

    stream = streams.EventStream(rooms, follow, shown, f"id: {min(after, job.seq)}\n")
    stream.headers.update(_ANYWHERE)
    return stream


@_to_anywhere
async def picture(request: Request) -> Response:
    """`GET /share/{token}/badge.svg`: its badge."""
    known_parameters(request.query_params)
    job, outlook, _ = await _job(request)
    return badge.of_job(request, job, outlook)


async def _job(request: Request) -> tuple[Job, Outlook, float]:
    rooms = rooms_of(request)
    job_id, expires_at = await rooms.shares.read(request.path_params["token"])
    job, outlook = await rooms.queue.get_with_outlook(job_id)
    return job, outlook, expires_at


def seen(job: Job, outlook: Outlook | None = None) -> dict[str, Any]:
    """Return what a link shows of a job: how it is, and neither what it was given nor what it has said or returned."""
    message = (job.error or {}).get("message") if job.state is State.FAILED else None
    return {
        "kind": job.kind,
        "state": job.state.value,
        "seq": job.seq,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "finished_at": rfc3339(job.finished_at),
        "progress": progress_wire(job.progress),
        "position": None if outlook is None else outlook.position,
        "estimated_finish_at": None if outlook is None or outlook.finish is None else rfc3339(outlook.finish.median),
        "error": None if message is None else {"message": str(message)},
    }


def shown(message: Message) -> bytes:
    """Return a message as a stream of a link has it; of what it does not show, only that it was."""
    match message:
        case Event(type="log" | "file"):
            return f"id: {message.seq}\n\n".encode()
        case Event():
            told = {"type": message.type, "seq": message.seq, "at": rfc3339(message.at), "job": seen(message.job)}
            return f"id: {message.seq}\ndata: {_text(told)}\n\n".encode()
        case Advance(_, seq, progress):
            return f"data: {_text({'type': 'progress', 'seq': seq, 'progress': progress_wire(progress)})}\n\n".encode()
        case Snapshot(job):
            return f"id: {job.seq}\ndata: {_text({'type': 'snapshot', 'seq': job.seq, 'job': seen(job)})}\n\n".encode()
    return b""


def _text(value: Any) -> str:
    return encode(value).decode()
