"""The door for the request that comes most often: `POST /v1/jobs` with nothing unusual about it.

Routing, request and response objects cost more than the job itself. What is unusual in any way goes the ordinary way,
with what was read of it; the answers are the same.
"""

import hmac
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jalebi.events import encode, job_wire
from jalebi.web import json
from jalebi.web.answers import problem_answer, problem_of, retry_after
from jalebi.web.bodies import Submission, checked, object_of
from jalebi.web.rooms import Rooms

PATH: Final = "/v1/jobs"
#: Headers with which a request goes the ordinary way.
_UNUSUAL: Final = frozenset(
    (b"idempotency-key", b"prefer", b"origin", b"sec-fetch-site", b"transfer-encoding", b"content-encoding")
)
#: Bytes of a body that is read and looked at here.
_MOST: Final = 16 << 10


class Door:
    """ASGI middleware before all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a plain submission in, and pass on everything else."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith(PATH):
            rooms: Rooms = scope["state"]["rooms"]
            root = scope.get("root_path", "").rstrip("/")
            if scope["path"] == root + PATH and _plain(scope, rooms):
                message = await receive()
                body = message.get("body", b"")
                # A body that is not all there, and one of whose webhooks somebody must look first.
                if message["type"] == "http.request" and not message.get("more_body") and b'"webhook"' not in body:
                    await _answer(rooms, body, root, send)
                    return
                receive = _again(message, receive)
        await self._app(scope, receive, send)


def _plain(scope: Scope, rooms: Rooms) -> bool:
    """Whether a request says nothing but what a submission needs, and shows the token where one is set."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    size = headers.get(b"content-length", b"")
    if headers.get(b"content-type") != b"application/json" or not size.isdigit() or not _UNUSUAL.isdisjoint(headers):
        return False
    if int(size) > min(_MOST, rooms.settings.max_body):
        return False
    token = rooms.settings.token
    return token is None or hmac.compare_digest(headers.get(b"authorization", b""), b"Bearer " + token.encode())


async def _answer(rooms: Rooms, body: bytes, root: str, send: Send) -> None:
    """Store the job that a body orders and answer 202, or what is wrong."""
    try:
        order = checked(Submission, object_of(json.parse(body))).order(rooms.store.clock())
        job = await rooms.queue.submit(order)
        content = encode(job_wire(job, root=root, epoch=rooms.store.epoch))
    except Exception as error:
        await problem_answer(problem_of(error))({"type": "http"}, _nothing, send)
        return
    headers = [
        (b"cache-control", b"no-store"),
        (b"location", f"{root}/v1/jobs/{job.id}/status".encode()),
        (b"retry-after", retry_after(rooms, job).encode()),
        (b"content-length", b"%d" % len(content)),
        (b"content-type", b"application/json"),
    ]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _again(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that begins with what was received already."""
    waiting = [first]

    async def received() -> Any:
        return waiting.pop() if waiting else await receive()

    return received
