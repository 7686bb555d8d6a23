"""The WebSockets: one job's events, or those of all jobs, with live progress; both resume where a reader left off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from jalebi.errors import MalformedRequest, NotFound, Problem
from jalebi.events import (
    TERMINAL_TYPES,
    Event,
    cursor_number,
    cursor_text,
    encode,
    event_wire,
    job_wire,
    progress_event,
)
from jalebi.hub import Advance, Lagged
from jalebi.store import reads
from jalebi.web.answers import problem_answer
from jalebi.web.bodies import filter_of, known_parameters, whole
from jalebi.web.rooms import Rooms, rooms_of, root_of

DONE: Final = 1000
DRAINING: Final = 1001
NO_SUCH_JOB: Final = 4404
TOO_SLOW: Final = 4409
#: Events read from the store at once while a reader catches up.
PAGE: Final = 500
#: Seconds that one message may take to leave.
STUCK: Final = 10.0


class _Stuck(Exception):
    """A message did not leave in time: the reader takes nothing."""


async def job(socket: WebSocket) -> None:
    """`/ws/jobs/{id}`: a snapshot or what came after `?after=SEQ`, then everything until the job is over."""
    rooms, job_id = rooms_of(socket), socket.path_params["id"]
    try:
        after = whole(socket.query_params, "after")
    except Problem as problem:
        await refuse(socket, problem)
        return
    await socket.accept()
    if rooms.hub.closed:
        await socket.close(DRAINING)
        return
    await _serve(socket, _job(socket, rooms, job_id, after))


async def _job(socket: WebSocket, rooms: Rooms, job_id: str, after: int | None) -> int:
    with rooms.hub.subscribe(job_id) as mailbox:  # first, so that nothing falls between the replay and the live part
        try:
            found = await rooms.queue.get(job_id)
        except NotFound:
            return NO_SUCH_JOB
        last = found.seq
        if after is None:
            shown = job_wire(found, root=root_of(socket), epoch=rooms.store.epoch)
            await send(socket, {"type": "snapshot", "seq": last, "job": shown})
        else:
            last = await _replay_job(socket, rooms, job_id, after)
        if found.terminal and last <= found.seq:
            return DONE
        async for batch in mailbox:
            for message in batch:
                if isinstance(message, Event):
                    if message.seq <= last:
                        continue
                    last = message.seq
                await send(socket, _wire(socket, rooms, message))
                if isinstance(message, Event) and message.type in TERMINAL_TYPES:
                    return DONE
    return DRAINING


async def _replay_job(socket: WebSocket, rooms: Rooms, job_id: str, after: int) -> int:
    last = after
    while page := await rooms.store.read(partial(reads.events_of, job_id=job_id, after=last, limit=PAGE)):
        for event in page:
            last = event.seq
            await send(socket, _wire(socket, rooms, event))
    return last


async def events(socket: WebSocket) -> None:
    """`/ws/events`: hello with a cursor, then the matching events of all jobs, from `?after=CURSOR` or from now."""
    rooms, query = rooms_of(socket), socket.query_params
    try:
        known_parameters(query, "kind", "queue", "state", "tag", "after")
        wanted = filter_of(query, query.getlist)
        after = _after(rooms, query.get("after"))
    except Problem as problem:
        await refuse(socket, problem)
        return
    await socket.accept()
    if rooms.hub.closed:
        await socket.close(DRAINING)
        return
    await _serve(socket, _events(socket, rooms, wanted, after))


async def _events(socket: WebSocket, rooms: Rooms, wanted: reads.Filter, after: int | None) -> int:
    with rooms.hub.subscribe(wants=wanted.wants) as mailbox:
        # Everything up to here is in the store, everything after it will come to the mailbox.
        upto = await rooms.store.read(reads.last_number)
        last = upto if after is None else after
        await send(socket, {"type": "hello", "cursor": cursor_text(rooms.store.epoch, last)})
        async for event in _replay(rooms, wanted, last, upto):
            await send(socket, _wire(socket, rooms, event))
        last = max(last, upto)
        async for batch in mailbox:
            for message in batch:
                if isinstance(message, Event):
                    if message.number <= last:
                        continue
                    last = message.number
                await send(socket, _wire(socket, rooms, message))
    return DRAINING


async def _replay(rooms: Rooms, wanted: reads.Filter, after: int, upto: int) -> AsyncIterator[Event]:
    last = after
    while page := await rooms.store.read(partial(reads.events, after=last, upto=upto, limit=PAGE)):
        last = page[-1].number
        for event in page:
            if wanted.wants(event.job):
                yield event


def _after(rooms: Rooms, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return cursor_number(rooms.store.epoch, text)
    except ValueError as error:
        raise MalformedRequest(f"The parameter after is wrong: {error}.", parameter="after") from None


def _wire(socket: WebSocket, rooms: Rooms, message: Event | Advance) -> dict[str, Any]:
    if isinstance(message, Advance):
        return progress_event(message.job.id, message.seq, message.progress)
    return event_wire(message, root=root_of(socket), epoch=rooms.store.epoch)


async def send(socket: WebSocket, message: dict[str, Any]) -> None:
    """Send one message as text. Raises _Stuck where it does not leave."""
    try:
        await asyncio.wait_for(socket.send_text(encode(message).decode()), STUCK)
    except TimeoutError:
        raise _Stuck from None


async def refuse(socket: WebSocket, problem: Problem) -> None:
    """Refuse a handshake with a problem document, where the server can; with a 403 elsewhere."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(problem_answer(problem))
    else:
        await socket.close(1008)


async def _serve(socket: WebSocket, work: Awaitable[int]) -> None:
    """Do the work until it ends or the reader goes; then close with the code that says why."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(listen(socket))
    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if not task.done():
        task.cancel()
    code = DONE
    try:
        code = await task
    except (Lagged, _Stuck):
        code = TOO_SLOW
    except (asyncio.CancelledError, WebSocketDisconnect):
        return
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code)


async def listen(socket: WebSocket, take: Callable[[str], None] = lambda _: None) -> None:
    """Return when the reader is gone; what it sends goes to `take`."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        take(message.get("text") or "")
