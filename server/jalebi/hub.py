"""In-process publish and subscribe: events in order, progress conflated, nobody waited for."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec.structs import replace

from jalebi.events import TERMINAL_TYPES, Event
from jalebi.fanout import Direct, Group
from jalebi.jobs import ACTIVE, Job, Progress
from jalebi.mailbox import BYTES, LARGE, ROOM, Advance, Losses, Mailbox

#: How often the newest progress of a job goes to subscribers, in seconds (10 Hz).
TICK: Final = 0.1


class Hub:
    """Carries committed events and live progress to every reader of one server."""

    def __init__(self, room: int = ROOM, most_bytes: int = BYTES) -> None:
        self._room = room
        self._most_bytes = most_bytes
        self._by_job: dict[str, set[Mailbox]] = {}
        self._all: set[Mailbox] = set()
        #: Readers that are written to directly, by the job that they follow (None: all) and what else makes them alike.
        self._groups: dict[str | None, dict[Hashable, Group]] = {}
        self._wants: dict[Hashable, Callable[[Job], bool]] = {}
        self._args: dict[str, str] = {}  # of active jobs: the large ones, held once however many events there are
        self._seqs: dict[str, int] = {}  # of active jobs: the seq last published
        self._latest: dict[str, tuple[Job, Callable[[], Progress]]] = {}
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._last_tick = 0.0
        self.number = 0  # of the event last published
        self.purges = 0  # how many jobs were deleted; the last of them by id
        self._purged: deque[str] = deque(maxlen=ROOM)
        self.closed = False
        self.losses = Losses()
        #: Told of every event, and at each tick of the newest progress of each job that has moved.
        self.noted: Callable[[Event], None] = lambda _: None
        self.ticked: Callable[[Job, Progress], None] = lambda _job, _progress: None

    @property
    def readers(self) -> int:
        """How many mailboxes are open."""
        written = sum(len(group) for groups in self._groups.values() for group in groups.values())
        return written + len(self._all) + sum(len(boxes) for boxes in self._by_job.values())

    @contextmanager
    def subscribe(
        self,
        job_id: str | None = None,
        *,
        wants: Callable[[Job], bool] = lambda _: True,
        room: int | None = None,
        direct: Direct | None = None,
    ) -> Iterator[Mailbox]:
        """Open a mailbox for one job, or for all that `wants` accepts.

        Where the reader's connection is `direct`, it is written to while the reader waits for news: what it is told
        then moves `told` and does not come into the mailbox.
        """
        mailbox = Mailbox(wants, self._seqs, room or self._room, self._most_bytes, self.losses)
        boxes = self._all if job_id is None else self._by_job.setdefault(job_id, set())
        boxes.add(mailbox)
        if self.closed:
            mailbox.close()
        if direct is not None:
            mailbox.joins = lambda: self._join(mailbox, job_id, wants, direct)
            mailbox.returns = direct.outlet.left = lambda: self._return(mailbox, job_id, direct)
        try:
            yield mailbox
        finally:
            if direct is not None:
                mailbox.returns()
                direct.outlet.left = lambda: None
            boxes = self._all if job_id is None else self._by_job.get(job_id, boxes)
            boxes.discard(mailbox)
            if job_id is not None and not boxes and self._by_job.get(job_id) is boxes:
                del self._by_job[job_id]

    def _join(self, mailbox: Mailbox, job_id: str | None, wants: Callable[[Job], bool], direct: Direct) -> None:
        """Write to a reader's connection from here on, if it has had everything and takes more."""
        published = self.number if job_id is None else self._seqs.get(job_id, -1)
        if published < mailbox.told or not direct.outlet.ready:
            return
        groups = self._groups.setdefault(job_id, {})
        group = groups.get(direct.key)
        if group is None:
            group = groups[direct.key] = Group(direct.frame, published)
            self._wants[direct.key] = wants
        group.join(mailbox, direct.outlet)
        (self._all if job_id is None else self._by_job[job_id]).discard(mailbox)

    def _return(self, mailbox: Mailbox, job_id: str | None, direct: Direct) -> None:
        """Let a reader have its news in its mailbox again, if it was written to."""
        groups = self._groups.get(job_id, {})
        group = groups.get(direct.key)
        if group is None or mailbox not in group:
            return
        group.leave(mailbox)
        mailbox.told = group.told
        (self._all if job_id is None else self._by_job.setdefault(job_id, set())).add(mailbox)
        if not group:
            del groups[direct.key]
            self._wants.pop(direct.key, None)
            if not groups:
                del self._groups[job_id]

    def _return_all(self, job_id: str | None) -> None:
        for group in list(self._groups.get(job_id, {}).values()):
            group.flush()
            for mailbox in group.members():
                mailbox.returns()

    def publish(self, event: Event) -> None:
        """Hand a committed event to every reader that wants it. Never waits."""
        if len(event.job.args) >= LARGE:
            event = self._sharing_args(event)
        job = event.job
        self.number = event.number
        if job.state in ACTIVE:
            self._seqs[job.id] = event.seq
        else:
            # The attempt is over: what it reported last is in the event.
            self._seqs.pop(job.id, None)
            self._latest.pop(job.id, None)
            self._dirty.discard(job.id)
            self._args.pop(job.id, None)
        self.noted(event)
        if self._groups:
            self._write(event)
        size = _size(event)
        for mailbox in self._by_job.get(job.id, ()):
            mailbox.put(event, size)
        for mailbox in self._all:
            mailbox.put(event, size)

    def _write(self, event: Event) -> None:
        """Write an event to the readers that wait with their connections open."""
        job = event.job
        if event.type in TERMINAL_TYPES:
            self._return_all(job.id)  # there is something to be done after this one
        for group in self._groups.get(job.id, {}).values():
            group.told = event.seq
            group.add(event)
        for key, group in self._groups.get(None, {}).items():
            group.told = event.number
            if self._wants[key](job):
                group.add(event)

    def _sharing_args(self, event: Event) -> Event:
        """Return the event with the args that the job's earlier events hold: they never change, and may be large."""
        args = self._args.setdefault(event.job.id, event.job.args)
        return event if args is event.job.args else replace(event, job=replace(event.job, args=args))

    def report(self, job: Job, newest: Callable[[], Progress]) -> None:
        """Hear that a running job has moved; readers get its newest progress at the next tick, at once after a quiet
        time.
        """
        latest = self._latest.get(job.id)
        if latest is not None and latest[0].attempt > job.attempt:
            return  # an attempt that has lost its job and does not know it yet
        self._latest[job.id] = (job, newest)
        self._dirty.add(job.id)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._last_tick + TICK), self._tick)

    def forget(self, job: Job) -> None:
        """Drop what an attempt reported that has lost its job; what its successor reports stays."""
        latest = self._latest.get(job.id)
        if latest is not None and latest[0].attempt <= job.attempt:
            del self._latest[job.id]
            self._dirty.discard(job.id)

    def purged(self, job_id: str) -> None:
        """Let the readers of a job that was deleted finish what they have and stop."""
        self.purges += 1
        self._purged.append(job_id)
        self._return_all(job_id)
        for mailbox in self._by_job.get(job_id, ()):
            mailbox.close()

    def purged_since(self, purges: int) -> list[str]:
        """Return the ids of the jobs that were deleted since there were `purges`, as far as they are remembered."""
        return list(self._purged)[-(self.purges - purges) :] if self.purges > purges else []

    def progress(self, job_id: str) -> Progress | None:
        """Return the newest progress of a running job of this server."""
        news = self._latest.get(job_id)
        return news[1]() if news else None

    def close(self) -> None:
        """Let every reader finish what it has and stop; later readers stop at once."""
        self.closed = True
        for job_id in list(self._groups):
            self._return_all(job_id)
        for mailbox in [*self._all, *(box for boxes in self._by_job.values() for box in boxes)]:
            mailbox.close()

    def _tick(self) -> None:
        self._timer = None
        self._last_tick = asyncio.get_running_loop().time()
        dirty, self._dirty = self._dirty, set()
        for job_id in dirty:
            if job_id in self._seqs:
                job, newest = self._latest[job_id]
                progress = newest()
                self.ticked(job, progress)
                self._write_progress(Advance(job, self._seqs[job_id], progress))
                for mailbox in self._by_job.get(job_id, ()):
                    mailbox.advance(job, progress)
                for mailbox in self._all:
                    mailbox.advance(job, progress)
            elif job_id in self._latest:
                # The start is committed but not yet published; nobody hears of progress before it.
                self.report(*self._latest[job_id])

    def _write_progress(self, news: Advance) -> None:
        for group in self._groups.get(news.job.id, {}).values():
            group.add(news)
        for key, group in self._groups.get(None, {}).items():
            if self._wants[key](news.job):
                group.add(news)


def _size(event: Event) -> int:
    """Return about how many bytes an event is large, without its job's args."""
    error, log = event.job.error, event.extra
    size = 200
    if error is not None:
        size += sum(len(value) for value in error.values() if isinstance(value, str))
    if event.type == "log" and log is not None:
        size += len(log["log"]["message"])
    return size
