"""The WebSockets: one job's events, or those of all jobs, with live progress; both resume where a reader left off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from jalebi.errors import MalformedRequest, NotFound, Problem
from jalebi.events import (
    TERMINAL_TYPES,
    Event,
    cursor_number,
    cursor_text,
    encode,
    job_wire,
)
from jalebi.hub import Advance, Lagged, Mailbox
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
#: The scope extension with which our server lets a connection be aborted.
ABORT: Final = "jalebi.abort"
#: Seconds that one message may take to leave.
STUCK: Final = 10.0
#: Seconds that the close frame may take.
LAST_WORD: Final = 1.0


class _Stuck(Exception):
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
        await serve(socket, _job(socket, rooms, job_id, after))


async def _job(socket: WebSocket, rooms: Rooms, job_id: str, after: int | None) -> int:
    with rooms.hub.subscribe(job_id) as mailbox:  # first, so that nothing falls between the replay and the live part
        try:
            found = await rooms.queue.get(job_id)
        except NotFound:
            return NO_SUCH_JOB
        last, over = found.seq, found.terminal
        if after is None:
            shown = job_wire(found, root=root_of(socket), epoch=rooms.store.epoch)
            await send(socket, encode({"type": "snapshot", "seq": last, "job": shown}).decode())
        else:
            # A number that the job has not reached was never given: there is nothing to leave out.
            async for event in _replay_job(rooms, job_id, min(after, last)):
                await send(socket, rooms.frames.text(event, root_of(socket)))
                last, over = event.seq, event.type in TERMINAL_TYPES
        if over:
            return DONE
        async for message in _following(mailbox, last):
            await send(socket, rooms.frames.text(message, root_of(socket)))
            if isinstance(message, Event) and message.type in TERMINAL_TYPES:
                return DONE
    return DRAINING if rooms.hub.closed else NO_SUCH_JOB


async def _following(mailbox: Mailbox, last: int) -> AsyncIterator[Event | Advance]:
    """Yield what comes after the job's event `last`, which the reader has already."""
    async for batch in mailbox:
        for message in batch:
            if isinstance(message, Event):
                if message.seq <= last:
                    continue
                last = message.seq
            elif message.seq < last:
                continue  # numbered before the store's newest event was published
            yield message


async def _replay_job(rooms: Rooms, job_id: str, after: int) -> AsyncIterator[Event]:
    last = after
    while page := await rooms.store.read(partial(reads.events_of, job_id=job_id, after=last, limit=PAGE)):
        last = page[-1].seq
        for event in page:
            yield event


async def events(socket: WebSocket) -> None:
    """`/ws/events`: hello with a cursor, then the matching events of all jobs, from `?after=CURSOR` or from now."""
    rooms, query = rooms_of(socket), socket.query_params
    try:
        known_parameters(query, "kind", "queue", "state", "tag", "after")
        wanted = filter_of(query, query.getlist)
        after = await _after(rooms, query.get("after"))
    except Problem as problem:
        await refuse(socket, problem)
        return
    if await _admitted(socket, rooms):
        await serve(socket, _events(socket, rooms, wanted, after))


async def _events(socket: WebSocket, rooms: Rooms, wanted: reads.Filter, after: int | None) -> int:
    with rooms.hub.subscribe(wants=wanted.wants) as mailbox:
        # Everything up to here is in the store, everything after it will come to the mailbox.
        upto = await rooms.store.read(reads.last_number)
        last = upto if after is None else after
        await send(socket, encode({"type": "hello", "cursor": cursor_text(rooms.store.epoch, last)}).decode())
        async for event in _replay(rooms, wanted, last, upto):
            await send(socket, rooms.frames.text(event, root_of(socket)))
        last = max(last, upto)
        async for batch in mailbox:
            early = rooms.hub.number < upto  # progress may be older than what was replayed
            for message in batch:
                if isinstance(message, Event):
                    if message.number <= last:
                        continue
                    last = message.number
                elif early:
                    continue
                await send(socket, rooms.frames.text(message, root_of(socket)))
    return DRAINING


async def _replay(rooms: Rooms, wanted: reads.Filter, after: int, upto: int) -> AsyncIterator[Event]:
    last = after
    while page := await rooms.store.read(partial(reads.events, after=last, upto=upto, limit=PAGE)):
        last = page[-1].number
        for event in page:
            if wanted.wants(event.job):
                yield event


async def _after(rooms: Rooms, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = cursor_number(rooms.store.epoch, text)
    except ValueError as error:
        raise MalformedRequest(f"The parameter after is wrong: {error}.", parameter="after") from None
    if number > await rooms.store.read(reads.last_number):
        raise MalformedRequest("The parameter after is wrong: no event has that cursor yet.", parameter="after")
    return number


async def send(socket: WebSocket, text: str) -> None:
    """Send one message. Raises _Stuck where it does not leave."""
    try:
        async with asyncio.timeout(STUCK):
            await socket.send_text(text)
    except TimeoutError:
        raise _Stuck from None


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
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(listen(socket, take))
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
    try:
        await asyncio.wait_for(socket.close(code), LAST_WORD)
    except TimeoutError:
        abort(socket)
    except (RuntimeError, WebSocketDisconnect):
        pass


def abort(socket: WebSocket) -> None:
    """Drop the connection of a reader that takes nothing, not even the close frame."""
    # Closing would wait for what is not read; only our own server hands out the way to abort.
    drop: Callable[[], None] | None = socket.scope.get("extensions", {}).get(ABORT)
    if drop is not None:
        drop()


async def listen(socket: WebSocket, take: Callable[[str], None] = lambda _: None) -> None:
    """Return when the reader is gone; what it sends goes to `take`."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        take(message.get("text") or "")
