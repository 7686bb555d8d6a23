"""Following jobs without gap or repeat: attach, replay what is stored, leave out what was told, go on live.

Every channel tells its reader what comes from here; what differs is only how a message is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from typing import Final, TypeVar

from jalebi.errors import MalformedRequest, NotFound
from jalebi.events import TERMINAL_TYPES, Event, Hello, Reset, Snapshot, cursor_number
from jalebi.fanout import Direct
from jalebi.mailbox import Lagged, Mailbox
from jalebi.mailbox import Message as News
from jalebi.store import batches, missed, reads
from jalebi.web.frames import Message
from jalebi.web.rooms import Rooms

T = TypeVar("T")
#: Gives a reader some messages, and returns once its connection has room for more.
Tell = Callable[[Sequence[Message]], Awaitable[None]]

#: Seconds after which it is asked whether what is followed has ended without an event.
LOOK_AGAIN: Final = 5.0
REASON: Final = "Events after your cursor were purged. Forget what you know; the jobs that matter follow."


class End(Enum):
    """Why there is no more to follow."""

    DONE = "the job is over"
    DRAINING = "the server stops"
    GONE = "there is no such job"


class Gone(Exception):
    """The reader went away."""


async def follow_job(rooms: Rooms, job_id: str, after: int | None, tell: Tell, direct: Direct | None = None) -> End:
    """Tell what follows the job's event `after` until its newest terminal event; a snapshot first where it is None.

    Where the connection is `direct`, the hub may write to it while there is nothing to catch up with.
    Raises Lagged where the reader is too slow.
    """
    with rooms.hub.subscribe(
        job_id, direct=direct
    ) as mailbox:  # first, so that nothing falls between the replay and the live part
        try:
            found = await rooms.queue.get(job_id)
        except NotFound:
            return End.GONE
        # A number that the job has not reached was never given: there is nothing to leave out.
        last = found.seq if after is None else min(after, found.seq)
        over, behind = found.terminal and last == found.seq, last < found.seq
        if after is None:
            await tell([Snapshot(found)])
        while True:
            if behind:
                last, over = await _replay_job(rooms, job_id, last, tell)
            if over:
                return End.DONE
            if behind and rooms.hub.closed:  # the replay may have stopped short: the mailbox does not join it
                return End.DRAINING
            try:
                while not over:
                    mailbox.told = last
                    batch = await anext(mailbox)
                    last = max(last, mailbox.told)
                    last, over = await _pass_on_job(mailbox, batch, last, tell)
                return End.DONE
            except StopAsyncIteration:
                return End.DRAINING if rooms.hub.closed else End.GONE
            except Lagged:
                last = max(last, mailbox.told)
                behind = _caught_in_a_burst(mailbox)


def _caught_in_a_burst(mailbox: Mailbox) -> bool:
    """Let a reader that the burst did not find waiting for its connection go on from the store. Raises Lagged."""
    if mailbox.slow:
        raise Lagged
    mailbox.reopen()
    return True


async def _replay_job(rooms: Rooms, job_id: str, last: int, tell: Tell) -> tuple[int, bool]:
    """Tell what the store has after `last`; return the newest event's seq, and whether that ended the job."""
    over = False
    while not rooms.hub.closed:
        page = await rooms.store.read(partial(missed.events_of, job_id=job_id, after=last))
        if not page:
            break
        last, over = page[-1].seq, page[-1].type in TERMINAL_TYPES
        await tell(page)
    return last, over


async def _pass_on_job(mailbox: Mailbox, batch: Sequence[News], last: int, tell: Tell) -> tuple[int, bool]:
    """Tell what of a batch comes after `last`; return the newest event's seq, and whether that ended the job."""
    fresh: list[News] = []
    over = False
    for message in batch:
        if isinstance(message, Event):
            if message.seq <= last:
                continue
            last, over = message.seq, message.type in TERMINAL_TYPES
        elif message.seq < last:
            continue  # numbered before the store's newest event was published
        fresh.append(message)
    await _tell_live(mailbox, fresh, tell)
    return last, over


async def _tell_live(mailbox: Mailbox, fresh: Sequence[News], tell: Tell) -> None:
    mailbox.busy = True
    if fresh:
        await tell(fresh)
    mailbox.busy = False


async def tell_stored(rooms: Rooms, job_id: str, after: int, tell: Tell) -> End:
    """Tell what is stored of a job after its event `after`."""
    await _replay_job(rooms, job_id, after, tell)
    return End.DRAINING if rooms.hub.closed else End.DONE


async def tell_all_stored(rooms: Rooms, wanted: reads.Filter, after: int, tell: Tell) -> End:
    """Tell what is stored of all jobs that match after event `after`."""
    await _replay(rooms, wanted, after, await rooms.store.read(reads.last_number), tell)
    return End.DRAINING if rooms.hub.closed else End.DONE


#: Says of the number of the event that was told last whether there is no more to follow.
Over = Callable[[int], Awaitable[bool]]


def batch_over(rooms: Rooms, batch_id: str) -> Over:
    """Return what says whether a batch is over, and its last event told."""

    async def over(last: int) -> bool:
        found = await rooms.store.read(partial(batches.batch, batch_id=batch_id))
        if found is None:
            return True
        return found.terminal and last >= await rooms.store.read(partial(batches.newest, batch_id=batch_id))

    return over


async def follow_all(
    rooms: Rooms,
    wanted: reads.Filter,
    after: int | None,
    tell: Tell,
    over: Over | None = None,
    direct: Direct | None = None,
) -> End:
    """Tell what follows event `after` (now, where it is None) of all jobs that match, until the server stops.

    `over` is asked after the replay and after each end of a job. Raises Lagged where the reader is too slow.
    """
    with rooms.hub.subscribe(wants=wanted.wants, direct=direct) as mailbox:
        # Everything up to here is in the store, everything after it will come to the mailbox.
        upto = await rooms.store.read(reads.last_number)
        last = upto if after is None else after
        await tell([Hello(last)])
        while True:
            last = upto = await _replay(rooms, wanted, last, upto, tell)
            if rooms.hub.closed:  # the replay may have stopped short: the mailbox does not join it
                return End.DRAINING
            if over is not None and await over(last):
                return End.DONE
            try:
                while True:
                    mailbox.told = max(last, upto)
                    try:
                        async with asyncio.timeout(None if over is None else LOOK_AGAIN):
                            batch = await anext(mailbox)
                    except TimeoutError:  # a job that is deleted leaves no event
                        if over is not None and await over(last):
                            return End.DONE
                        continue
                    last = max(last, mailbox.told)
                    early = rooms.hub.number < upto  # progress may be older than what was replayed
                    last = await _pass_on(mailbox, batch, last, early, tell)
                    if over is not None and _ends_one(batch) and await over(last):
                        return End.DONE
            except StopAsyncIteration:
                return End.DRAINING
            except Lagged:
                last = max(last, mailbox.told)
                _caught_in_a_burst(mailbox)
                upto = await rooms.store.read(reads.last_number)


def _ends_one(batch: Sequence[News]) -> bool:
    return any(isinstance(message, Event) and message.type in TERMINAL_TYPES for message in batch)


async def _pass_on(mailbox: Mailbox, batch: Sequence[News], last: int, early: bool, tell: Tell) -> int:
    fresh: list[News] = []
    for message in batch:
        if isinstance(message, Event):
            if message.number <= last:
                continue
            last = message.number
        elif early:
            continue
        fresh.append(message)
    await _tell_live(mailbox, fresh, tell)
    return last


async def _replay(rooms: Rooms, wanted: reads.Filter, last: int, upto: int, tell: Tell) -> int:
    """Tell what the store has after `last`, as far as `upto`; return the number after which the mailbox goes on."""
    while last < upto and not rooms.hub.closed:
        page, floor = await rooms.store.read(partial(missed.events_of_all, after=last, upto=upto, wanted=wanted))
        if floor > last:
            return await _reset(rooms, wanted, last, tell)
        if not page:
            break  # the newest were deleted by hand
        last = page[-1].number
        if matching := [event for event in page if wanted.wants(event.job)]:
            await tell(matching)
    return upto


async def _reset(rooms: Rooms, wanted: reads.Filter, asked: int, tell: Tell) -> int:
    """Tell a reader to start over: Reset, the jobs as of an event, and Hello with that event's number, returned too.

    The jobs are those that match and are not over, or have changed since event `asked`. Hello comes last: a reader
    that is cut off before it must not believe that it has seen them all.
    """
    number = await rooms.store.read(reads.last_number)
    await tell([Reset(number, rooms.store.clock(), REASON)])
    last = ""
    while not rooms.hub.closed:
        found = await rooms.store.read(partial(missed.jobs_since, asked=asked, after=last))
        if not found:
            await tell([Hello(number)])
            break
        last = found[-1].id
        jobs = await rooms.store.read(partial(missed.as_of, jobs=found, number=number))
        matter = [job for job in jobs if wanted.wants(job) and (not job.terminal or job.cursor > asked)]
        if matter:
            await tell([Snapshot(rooms.queue.live(job)) for job in matter])
    return number


async def cursor_given(rooms: Rooms, name: str, text: str | None) -> int | None:
    """Return the number in the cursor that a request gave as `name`. Raises MalformedRequest."""
    if text is None:
        return None
    try:
        number = cursor_number(rooms.store.epoch, text)
    except ValueError as error:
        raise MalformedRequest(f"The parameter {name} is wrong: {error}.", parameter=name) from None
    if number > await rooms.store.read(reads.last_number):
        raise MalformedRequest(f"The parameter {name} is wrong: no event has that cursor yet.", parameter=name)
    return number


async def while_there(work: Awaitable[T], *beside: Awaitable[object]) -> T:
    """Do the work and return what comes of it. Raises Gone where something of `beside` ends first, or its error."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def leave(_: object) -> None:
        nonlocal gone
        gone = True
        task.cancel()

    # The work has no task of its own: of readers there are many.
    others = [asyncio.ensure_future(one) for one in beside]
    for other in others:
        other.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if not gone or task.uncancel() > 0:  # it is we who are to stop
            raise
        for other in others:
            if other.done():
                other.result()
        raise Gone from None
    finally:
        for other in others:
            other.remove_done_callback(leave)
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
