"""What waits for one reader: events in order, the newest progress of each job, and no more than a bounded number."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from jalebi.events import Event
from jalebi.jobs import Job, Progress

#: Durable events that a mailbox holds before it overflows, and the bytes of what makes them large.
ROOM: Final = 1024
BYTES: Final = 1 << 20
#: From so many bytes on the args of a job are worth being held once.
LARGE: Final = 1024
#: Jobs of which a mailbox holds the newest progress; more are dropped until the next tick.
PROGRESS_ROOM: Final = 10_000


@dataclass(frozen=True, slots=True)
class Advance:
    """A running job's newest progress; `seq` is that of the last durable event before it."""

    job: Job
    seq: int
    progress: Progress


Message = Event | Advance


class Lagged(Exception):
    """The mailbox overflowed and lost what it held; the store has it."""


@dataclass(slots=True)
class Losses:
    """What readers did not get, counted: positions that a newer one has replaced, those that had no room, and mailboxes
    that overflowed (their events are in the store).
    """

    conflated: int = 0
    dropped: int = 0
    overflowed: int = 0


class Mailbox:
    """What waits for one reader. `async for` yields batches: the events in order, then each job's newest progress.

    A reader sets `busy` while it waits for its connection to take a batch: a mailbox that overflows meanwhile belongs
    to a reader that is too slow, and `slow` says so. Any other overflow is a burst, which nobody could have taken.
    """

    __slots__ = (
        "_bytes", "_closed", "_counted", "_events", "_lagged", "_losses", "_most_bytes", "_progress", "_room", "_seqs",
        "_waiter", "_wants", "busy", "joins", "returns", "slow", "told",
    )  # fmt: skip

    def __init__(
        self, wants: Callable[[Job], bool], seqs: Mapping[str, int], room: int, most_bytes: int, losses: Losses
    ) -> None:
        self._losses = losses
        self._wants = wants
        self._seqs = seqs
        self._room = room
        self._most_bytes = most_bytes
        self._bytes = 0
        self._counted: set[int] | None = None  # the large args that are in `_bytes`: a job's events share them
        self.busy = False
        self.slow = False
        self._events: list[Event] = []
        self._progress: dict[str, tuple[Job, Progress]] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._lagged = False
        self._closed = False
        self.told = 0  # the place of the last event that the reader was told, by `seq` or by number
        self.joins: Callable[[], None] = lambda: None  # leaves the mailbox for a group, if it can
        self.returns: Callable[[], None] = lambda: None  # comes back

    def put(self, event: Event, size: int) -> None:
        """Take an event that the reader wants, `size` bytes large without its job's args; older progress gives way."""
        if self._lagged:
            return
        if not self._wants(event.job):
            if event.job.terminal:
                self._progress.pop(event.job.id, None)
            return
        size += self._args_of(event.job)
        # A single event always has room: its reader could never get past it.
        if self._events and (len(self._events) >= self._room or self._bytes + size > self._most_bytes):
            self._lagged, self.slow = True, self.busy
            self._losses.overflowed += 1
            self._empty()
            self._progress.clear()
        else:
            self._bytes += size
            self._events.append(event)
            if event.type != "log":
                self._progress.pop(event.job.id, None)
        self._wake()

    def _args_of(self, job: Job) -> int:
        size = len(job.args)
        if size >= LARGE:
            self._counted = self._counted or set()
            if id(job.args) in self._counted:
                return 0
            self._counted.add(id(job.args))
        return size

    def _empty(self) -> None:
        self._events = []
        self._counted = None
        self._bytes = 0

    def reopen(self) -> None:
        """Take events again after an overflow; the reader gets from the store what came before."""
        self._lagged = self.slow = False

    def advance(self, job: Job, progress: Progress) -> None:
        """Take a job's newest progress in place of an older one."""
        if self._lagged or not self._wants(job):
            return
        if job.id in self._progress:
            self._losses.conflated += 1
        elif len(self._progress) >= PROGRESS_ROOM:
            self._losses.dropped += 1
            return
        self._progress[job.id] = (job, progress)
        self._wake()

    def close(self) -> None:
        """Let the reader finish what is here and stop."""
        self._closed = True
        self._wake()

    def __aiter__(self) -> "Mailbox":
        return self

    async def __anext__(self) -> list[Message]:
        """Wait for news. Raises Lagged where the mailbox overflowed, StopAsyncIteration once it is closed."""
        while True:
            if self._lagged:
                raise Lagged
            batch = self.take()
            if batch:
                return batch
            if self._closed:
                raise StopAsyncIteration
            self.joins()
            # No Event, each of which holds a queue of those who wait: a box has one reader, and boxes are many.
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> list[Message]:
        """Return what has gathered, without waiting."""
        batch: list[Message] = [*self._events]
        self._empty()
        for job, progress in self._progress.values():
            # Numbered only now: every event published so far is in this batch or before it.
            batch.append(Advance(job, self._seqs.get(job.id, job.seq), progress))
        self._progress.clear()
        return batch
