"""The WebSockets: one job's events, or those of all jobs, with live progress; both resume where a reader left off."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, MutableMapping, Sequence
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from jalebi.background import log
from jalebi.errors import Problem
from jalebi.fanout import Direct, Outlet
from jalebi.mailbox import Lagged
from jalebi.web.answers import problem_answer
from jalebi.web.bodies import MATCHES, filter_of, known_parameters, whole
from jalebi.web.following import End, Gone, Tell, cursor_given, follow_all, follow_job, while_there
from jalebi.web.frames import Message
from jalebi.web.rooms import Rooms, rooms_of, root_of

#: Close codes: those of RFC 6455, section 7.4.1, and our own.
DONE: Final = 1000
DRAINING: Final = 1001
BROKEN: Final = 1011
NO_SUCH_JOB: Final = 4404
TOO_SLOW: Final = 4409
_CODES: Final = {End.DONE: DONE, End.DRAINING: DRAINING, End.GONE: NO_SUCH_JOB}
#: The scope extension with which our server lets a connection be aborted.
ABORT: Final = "jalebi.abort"
#: And the one with which it offers to be written to directly (see `fanout.Outlet`).
OUTLET: Final = "jalebi.outlet"
#: Seconds that the close frame may take.
LAST_WORD: Final = 1.0


class Stuck(Exception):
    """A message did not leave in time: the reader takes nothing."""


async def job(socket: WebSocket) -> None:
    """`/ws/jobs/{id}`: a snapshot or what came after `?after=SEQ`, then everything until the job is over."""
    rooms, job_id = rooms_of(socket), socket.path_params["id"]
    try:
        known_parameters(socket.query_params, "after")
        after = whole(socket.query_params, "after")
    except Problem as problem:
        await refuse(socket, problem)
        return
    if await _admitted(socket, rooms):
        await serve(socket, _code(follow_job(rooms, job_id, after, _teller(socket, rooms), _direct(socket, rooms))))


async def events(socket: WebSocket) -> None:
    """`/ws/events`: hello with a cursor, then the matching events of all jobs, from `?after=CURSOR` or from now."""
    rooms, query = rooms_of(socket), socket.query_params
    try:
        known_parameters(query, *MATCHES, "after")
        wanted = filter_of(query, query.getlist)
        after = await cursor_given(rooms, "after", query.get("after"))
    except Problem as problem:
        await refuse(socket, problem)
        return
    if await _admitted(socket, rooms):
        await serve(
            socket,
            _code(follow_all(rooms, wanted, after, _teller(socket, rooms), direct=_direct(socket, rooms, wanted))),
        )


async def _code(following: Awaitable[End]) -> int:
    return _CODES[await following]


def _teller(socket: WebSocket, rooms: Rooms) -> Tell:
    root = root_of(socket)

    async def tell(messages: Sequence[Message]) -> None:
        for message in messages:
            await send(socket, rooms.frames.text(message, root))

    return tell


def _direct(socket: WebSocket, rooms: Rooms, wanted: Hashable = None) -> Direct | None:
    """Return the connection as one that is written to directly, None where the server does not offer it."""
    outlet: Outlet | None = socket.scope.get("extensions", {}).get(OUTLET)
    root = root_of(socket)
    return None if outlet is None else Direct(outlet, (wanted, root), lambda message: rooms.frames.frame(message, root))


async def send(socket: WebSocket, text: str) -> None:
    """Send one message. Raises Stuck where it does not leave."""
    try:
        async with asyncio.timeout(rooms_of(socket).settings.subscriber_timeout):
            await socket.send_text(text)
    except TimeoutError:
        raise Stuck from None


async def _admitted(socket: WebSocket, rooms: Rooms) -> bool:
    """Accept a handshake; False where the server drains, and the reader has been told."""
    await socket.accept()
    if rooms.hub.closed:
        await socket.close(DRAINING)
    return not rooms.hub.closed


async def refuse(socket: WebSocket, problem: Problem) -> None:
    """Refuse a handshake with a problem document, where the server can; with a 403 elsewhere."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(problem_answer(problem))
    else:
        await socket.close(1008)


async def serve(socket: WebSocket, work: Awaitable[int], take: Callable[[str], None] = lambda _: None) -> None:
    """Do the work until it ends or the reader goes; then close with the code that says why."""
    try:
        code = await while_there(work, listen(socket, take))
    except (Lagged, Stuck):
        code = TOO_SLOW
    except (Gone, WebSocketDisconnect):
        return
    except Problem as problem:
        log.warning("A WebSocket is closed: %s", problem)
        code = BROKEN
    try:
        await asyncio.wait_for(socket.close(code), LAST_WORD)
    except TimeoutError:
        abort(socket.scope)
    except (RuntimeError, WebSocketDisconnect):
        pass


def abort(scope: MutableMapping[str, Any]) -> None:
    """Drop the connection of a reader that takes nothing, not even the close frame."""
    # Closing would wait for what is not read; only our own server hands out the way to abort.
    drop: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT)
    if drop is not None:
        drop()


async def listen(socket: WebSocket, take: Callable[[str], None] = lambda _: None) -> None:
    """Return when the reader is gone; what it sends goes to `take`."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        take(message.get("text") or "")
