"""The list of jobs, as an open page: its rows stay where they are and change in place."""

from contextlib import suppress
from functools import partial
from typing import Final

from sqlalchemy import Connection
from starlette.websockets import WebSocket

from jalebi.events import Event, cursor_number
from jalebi.jobs import Job
from jalebi.mailbox import Advance
from jalebi.store import missed, reads, search
from jalebi.web import contents
from jalebi.web.listing import Listing
from jalebi.web.templating import patch
from jalebi.web.views.base import View, Word

#: Rows that a page may have; pages of events looked through for jobs that are new to it; new jobs counted.
MOST_ROWS: Final = 500
REPLAYED: Final = 2
MOST_NEW: Final = 999


class JobsView(View):
    """The list of jobs: its rows stay where they are and change in place; jobs that are new to it are counted."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._listing = Listing(socket.query_params)
        self._rows: dict[str, int] = {}  # the version of each job that the page has
        self._dirty: dict[str, Job | None] = {}
        self._new: set[str] = set()
        self._told = 0  # how many new jobs the page has been told of
        self._since: int | None = None  # the event from which on they were counted
        self._tabs = ""
        self._purges = self.rooms.hub.purges

    def wants(self, job: Job) -> bool:
        """Whether a job is on the page, would be, or was counted as one that would be."""
        return job.id in self._rows or job.id in self._new or self._listing.wants(job)

    def begin(self, word: Word) -> bool:
        """Take the ids and versions of the rows."""
        self._rows = dict(list(word.rows.items())[:MOST_ROWS])
        if not super().begin(word):
            return False
        if word.new > 0:
            self._told = word.new
            with suppress(ValueError):
                self._since = cursor_number(self.rooms.store.epoch, word.since)
        return True

    async def catch_up(self) -> bool:
        """Compare every row with the store, and count what is new."""
        number = self.rooms.hub.number
        after, self._since = self.known if self._since is None else min(self._since, self.known), None

        def query(connection: Connection) -> tuple[list[Job], list[Event], bool]:
            return reads.some(connection, list(self._rows)), *_missed(connection, after)

        jobs, events, more = await self.rooms.store.read(query)
        self.more = self.more or more
        found = {job.id: job for job in jobs}
        for job_id, version in self._rows.items():
            job = found.get(job_id)
            if job is None or job.seq > version:
                self._dirty[job_id] = job
            self.resume(job)
        for event in events:
            if event.job.id not in self._rows:
                self._count(event)
        if self._told != len(self._new):
            self.news = len(self._new)
        self.known = max(self.known, number)
        return True

    def take(self, message: Event | Advance) -> None:
        """Mark a row that has changed, or count a job that is new."""
        job = message.job
        if isinstance(message, Advance):
            if job.id in self._rows:
                self.progress[job.id] = message
        elif message.type not in {"log", "file"}:
            self.progress.pop(job.id, None)
            if job.id not in self._rows:
                self._count(message)
            elif job.seq > self._rows[job.id]:
                self._dirty[job.id] = job

    def _count(self, event: Event) -> None:
        before = len(self._new)
        if not self._listing.wants(event.job):
            self._new.discard(event.job.id)
        elif (event.type == "created" or self._listing.wanted.states) and before < MOST_NEW:
            self._new.add(event.job.id)
        self.more = self.more or len(self._new) == MOST_NEW
        self._changed(before)

    def _changed(self, before: int) -> None:
        if len(self._new) != before:
            self.news = self._told = len(self._new)

    def _note_deleted(self) -> None:
        hub = self.rooms.hub
        deleted, self._purges = hub.purged_since(self._purges), hub.purges
        self._dirty.update((job_id, None) for job_id in deleted if job_id in self._rows)
        before = len(self._new)
        self._new.difference_update(deleted)
        self._changed(before)

    async def fragments(self) -> str:
        """Return the rows that have changed, and the counts."""
        self._note_deleted()
        dirty, self._dirty = self._dirty, {}
        html = []
        for job_id, job in dirty.items():
            if job is None:
                self._rows.pop(job_id, None)
                html.append(patch("jobs/_gone.html", self.root, id=job_id))
            else:
                self._rows[job_id] = job.seq
                html.append(self._row(self.rooms.queue.live(job)))
        if self.due():
            counts = await self._counts()
            shown = {} if counts is None else contents.grouped(counts)
            tabs = patch("jobs/_tabs.html", self.root, tabs=self._listing.tabs(), counts=shown)
            if tabs != self._tabs:
                self._tabs = tabs
                html.append(tabs)
        return "".join(html)

    def _row(self, job: Job) -> str:
        values = {"job": job, "back": self._listing.here, "picking": True, "unmatched": not self._listing.wants(job)}
        return patch("jobs/_row.html", self.root, **values)

    async def _counts(self) -> dict[str, int] | None:
        """Return the counts for the tabs; those of all jobs are read once for all pages."""
        if not self._listing.narrowed:
            return await self.rooms.figures.read(self.rooms.store, self.rooms.hub, reads.counts)
        return await self.rooms.store.read(partial(search.by_state, wanted=self._listing.wanted))


def _missed(connection: Connection, after: int) -> tuple[list[Event], bool]:
    """Return the events after a number, as far as a few pages go, and whether there are more."""
    upto = reads.last_number(connection)
    found: list[Event] = []
    for _ in range(REPLAYED):
        page, _floor = missed.events_of_all(connection, after=after, upto=upto)
        if not page:
            return found, False
        found += page
        after = page[-1].number
    return found, after < upto
