"""Server-sent events (WHATWG HTML, section 9.2): what the WebSockets tell, over plain HTTP."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jalebi.background import log
from jalebi.errors import Problem
from jalebi.mailbox import Lagged
from jalebi.store.reads import Filter
from jalebi.web.answers import NO_STORE
from jalebi.web.bodies import known_parameters, whole
from jalebi.web.channels import LAST_WORD, Stuck, abort
from jalebi.web.following import (
    End,
    Gone,
    Over,
    Tell,
    cursor_given,
    follow_all,
    follow_job,
    tell_all_stored,
    tell_stored,
    while_there,
)
from jalebi.web.frames import Message
from jalebi.web.rooms import Rooms, rooms_of, root_of

JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
STREAM: Final = "text/event-stream"
#: Seconds without a word after which a comment keeps the connection open in every proxy between.
BEAT: Final = 15.0
#: Milliseconds after which a reader comes back: usually, and when the server stops. Spread, or all would come at once.
RETRY: Final = (1_000, 3_000)
RETRY_LATER: Final = (2_000, 10_000)
#: Bytes that are put together into one write.
CHUNK: Final = 64 << 10

_HEADERS: Final = {**NO_STORE, "Vary": "Accept", "X-Accel-Buffering": "no"}
_WEIGHT: Final = re.compile(r"[01](\.\d{0,3})?", re.ASCII)


def preferred(request: Request) -> str:
    """Return the media type that a request prefers for events (RFC 9110, section 12.5.1); JSON where it does not say.

    Of those that are equally welcome it is the one that was named, and a page where more were.
    """
    ranges = _ranges(",".join(request.headers.getlist("accept")))
    best = max((STREAM, LINES), key=lambda media_type: _welcome(ranges, media_type))
    welcome = _welcome(ranges, best)
    return best if welcome[0] > 0 and welcome > _welcome(ranges, JSON) else JSON


def _ranges(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        weights = [value for name, _, value in (one.partition("=") for one in parameters) if name.strip() == "q"]
        known = bool(weights) and _WEIGHT.fullmatch(weights[0].strip())
        found[media_range] = min(1.0, float(weights[0])) if known else 1.0
    return found


def _welcome(ranges: dict[str, float], media_type: str) -> tuple[float, int]:
    names = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next(((ranges[name], 3 - place) for place, name in enumerate(names) if name in ranges), (0.0, 0))


def begin(request: Request) -> tuple[str, str | None]:
    """Return where a reader left off, and the name under which it says so."""
    header = request.headers.get("last-event-id")
    # An EventSource that reconnects repeats the address of its first request; the header is newer.
    return ("Last-Event-ID", header) if header else ("after", request.query_params.get("after"))


def of_job_lines(request: Request, after: int, *, follow: bool) -> Response:
    """`GET /v1/jobs/{id}/events` as lines: what is stored after `?after=SEQ`, and with `follow` what comes then."""
    rooms, job_id, root = rooms_of(request), request.path_params["id"], root_of(request)
    telling = follow_job if follow else tell_stored
    return EventLines(rooms, lambda tell: telling(rooms, job_id, after, tell), lambda one: rooms.frames.line(one, root))


def of_all_lines(request: Request, wanted: Filter, after: int, over: Over | None, *, follow: bool) -> Response:
    """`GET /v1/events` as lines: what is stored after `?after=CURSOR`, and with `follow` what comes then."""
    rooms, root = rooms_of(request), root_of(request)

    def telling(tell: Tell) -> Awaitable[End]:
        return follow_all(rooms, wanted, after, tell, over) if follow else tell_all_stored(rooms, wanted, after, tell)

    return EventLines(rooms, telling, lambda one: rooms.frames.line(one, root))


async def of_job(request: Request) -> Response:
    """`GET /v1/jobs/{id}/events` as a stream: what came after `Last-Event-ID` or `?after=SEQ`, until the end."""
    rooms, job_id, root = rooms_of(request), request.path_params["id"], root_of(request)
    known_parameters(request.query_params, "after")
    name, text = begin(request)
    after = (whole({name: text}, name) if text is not None else None) or 0
    found = await rooms.queue.get(job_id)
    if found.terminal and after >= found.seq:
        # An EventSource comes back after every end; this is the answer that stops it.
        return Response(status_code=204, headers={**NO_STORE, "Vary": "Accept"})
    return EventStream(
        rooms,
        lambda tell: follow_job(rooms, job_id, after, tell),
        lambda message: rooms.frames.of_job(message, root),
        f"id: {min(after, found.seq)}\n",
    )


async def of_all(request: Request, wanted: Filter, first: int | None = None, over: Over | None = None) -> Response:
    """`GET /v1/events` as a stream: the events of the jobs that match, from `Last-Event-ID`, `?after=CURSOR` or now.

    Of a batch they begin with its first, and end when it is over.
    """
    rooms, root = rooms_of(request), root_of(request)
    after = await cursor_given(rooms, *begin(request))
    if after is not None and over is not None and await over(after):
        return Response(status_code=204, headers={**NO_STORE, "Vary": "Accept"})
    after = first if after is None else after
    return EventStream(
        rooms,
        lambda tell: follow_all(rooms, wanted, after, tell, over),
        lambda message: rooms.frames.of_all(message, root),
    )


class EventStream(Response):
    """An answer that goes on: what `follow` tells, written by `shown`, until that ends or the reader goes.

    `begin` is written first. An `id` field without data moves the reader's last event id and is no event, so that a
    reconnection before the first event resumes too; progress has no `id` and leaves it alone.
    """

    media_type = STREAM

    def __init__(
        self,
        rooms: Rooms,
        follow: Callable[[Tell], Awaitable[End]],
        shown: Callable[[Message], bytes],
        begin: str = "",
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**_HEADERS, "Content-Type": self.media_type})
        self._rooms = rooms
        self._follow = follow
        self._shown = shown
        self._begin = begin
        self._lock = asyncio.Lock()
        self._written = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self._send = send
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            last = await while_there(self._work(), _listen(receive), self._beat())
        except (Gone, OSError):  # a server may say by an error of its send that the reader is gone
            return
        except Stuck:
            await _drop(scope, receive)
            return
        try:
            async with asyncio.timeout(LAST_WORD):
                await send({"type": "http.response.body", "body": last})
        except TimeoutError:
            await _drop(scope, receive)

    async def _work(self) -> bytes:
        """Tell everything; return the last that is to be said."""
        if self._rooms.hub.closed:
            # No problem document: an EventSource would take it for the end and never come back.
            return self.end(RETRY_LATER)
        if first := self.opening(self._begin):
            await self._write(first)
        try:
            end = await self._follow(self._tell)
        except Lagged:
            return b""  # it comes back with the last event that it has
        except Problem as problem:
            log.warning("A stream of events ends: %s", problem)
            return self.end(RETRY_LATER)
        return self.end(RETRY_LATER) if end is End.DRAINING else b""

    def opening(self, begin: str) -> bytes:
        """Return what is written first."""
        return f"retry: {random.randint(*RETRY)}\n{begin}\n".encode()

    def end(self, bounds: tuple[int, int]) -> bytes:
        """Return what is written last where there is more to come, but not now."""
        return f"retry: {random.randint(*bounds)}\n\n".encode()

    def alive(self) -> bytes:
        """Return what is written after a while without a word: a comment."""
        return b":\n"

    async def _tell(self, messages: Sequence[Message]) -> None:
        chunk: list[bytes] = []
        size = 0
        for message in messages:
            data = self._shown(message)
            chunk.append(data)
            size += len(data)
            if size >= CHUNK:
                await self._write(b"".join(chunk))
                chunk.clear()
                size = 0
        if chunk:
            await self._write(b"".join(chunk))

    async def _write(self, data: bytes) -> None:
        """Write bytes. Raises Stuck where there is no room for them in time."""
        try:
            async with self._lock, asyncio.timeout(self._rooms.settings.subscriber_timeout):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise Stuck from None
        self._written = asyncio.get_running_loop().time()

    async def _beat(self) -> None:
        """Write a comment whenever nothing was written for a while."""
        loop = asyncio.get_running_loop()
        self._written = loop.time()
        while True:
            await asyncio.sleep(self._written + BEAT - loop.time())
            if loop.time() >= self._written + BEAT:
                await self._write(self.alive())


class EventLines(EventStream):
    """The same as JSON, a message a line; an empty line keeps the connection open."""

    media_type = LINES

    def alive(self) -> bytes:
        """Return an empty line."""
        return b"\n"

    def opening(self, begin: str) -> bytes:
        """Return nothing: a line is a message."""
        return b""

    def end(self, bounds: tuple[int, int]) -> bytes:
        """Return nothing: who reads lines goes on from the last one."""
        return b""


async def _listen(receive: Receive) -> None:
    """Return when the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drop(scope: Scope, receive: Receive) -> None:
    """Drop a reader that takes nothing, and wait until the server has noticed: it would complain of half an answer."""
    abort(scope)
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORD):
            await _listen(receive)
