"""What an open page is told of: for each kind of page, which news concern it and what they change on it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection
from starlette.websockets import WebSocket

from jalebi.errors import NotFound
from jalebi.events import Event, cursor_number, cursor_text
from jalebi.hub import Advance, Mailbox
from jalebi.jobs import ACTIVE, WAITING, Job
from jalebi.store import reads
from jalebi.web import contents, words
from jalebi.web.listing import Listing
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import patch, render

#: Seconds between two looks at figures that all jobs together make: after news, and without any.
EVERY: Final = 1.0
AT_LEAST_EVERY: Final = 10.0
#: Seconds between two looks at a waiting job's place in line.
PLACE_EVERY: Final = 2.0
#: Log lines sent at once; of more, only the newest.
LINES: Final = 200
#: Events looked through for jobs that are new to a list; new jobs counted.
REPLAYED: Final = 1000
MOST_NEW: Final = 999


class Word(msgspec.Struct):
    """What a page says: first what it shows, later which frame it has painted."""

    after: str = ""
    rows: dict[str, int] = {}
    line: int = 0
    seen: int | None = None


class View:
    """A page that shows nothing live but the state of its connection; the others build on it."""

    def __init__(self, socket: WebSocket) -> None:
        self.rooms = rooms_of(socket)
        self.root = root_of(socket)
        self.progress: dict[str, Advance] = {}
        self.known = 0  # the event up to which the page knows everything
        self.news: int | None = None  # how many jobs the list could show besides; None where that is not new
        self._looked = (0.0, -1)

    def mailbox(self) -> AbstractContextManager[Mailbox]:
        """Subscribe to what concerns the page."""
        return self.rooms.hub.subscribe(wants=self.wants)

    def wants(self, _job: Job) -> bool:
        """Whether news of a job concern the page."""
        return False

    def begin(self, word: Word) -> bool:
        """Take what the page shows; False where it is of another installation, and must be fetched again."""
        if not word.after:  # a page of nothing but what does not change
            return True
        try:
            self.known = cursor_number(self.rooms.store.epoch, word.after)
        except ValueError:
            return False
        return True

    async def catch_up(self) -> bool:
        """Find out what the page has missed; False where it must be fetched again."""
        return True

    def take(self, _message: Event | Advance) -> None:
        """Take one piece of news."""

    async def fragments(self) -> str:
        """Return the HTML for what has changed, once."""
        return ""

    def resume(self, job: Job | None) -> None:
        """Note how far a job is that may have moved while nobody listened."""
        progress = self.rooms.hub.progress(job.id) if job is not None and job.state in ACTIVE else None
        if job is not None and progress is not None:
            self.progress[job.id] = Advance(job, job.seq, progress)

    def cursor(self) -> str:
        """Return the place up to which the page knows everything."""
        return cursor_text(self.rooms.store.epoch, self.known)

    def advances(self) -> list[list[Any]]:
        """Return what the bars are to show, once: id, seq, percent or null, the text beside it and that below it."""
        found = [self.advance(one) for one in self.progress.values()]
        self.progress.clear()
        return found

    def advance(self, news: Advance) -> list[Any]:
        """Return what one bar is to show."""
        job = replace(news.job, progress=news.progress)
        return [job.id, news.seq, words.percent(job), words.reached(job), words.note(news.progress, short=True)]

    def due(self) -> bool:
        """Whether it is time to look at figures that all jobs together make."""
        at, number = self._looked
        now, newest = asyncio.get_running_loop().time(), self.rooms.hub.number
        if now - at < EVERY or (newest == number and now - at < AT_LEAST_EVERY):
            return False
        self._looked = (now, newest)
        return True


class JobsView(View):
    """The list of jobs: its rows stay where they are and change in place; jobs that are new to it are counted."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._listing = Listing(socket.query_params)
        self._rows: dict[str, int] = {}  # the version of each job that the page has
        self._dirty: dict[str, Job | None] = {}
        self._new: set[str] = set()
        self._tabs = ""

    def wants(self, job: Job) -> bool:
        """Whether a job is on the page or would be."""
        return job.id in self._rows or self._listing.wants(job)

    def begin(self, word: Word) -> bool:
        """Take the ids and versions of the rows."""
        self._rows = dict(list(word.rows.items())[: 4 * contents.LINES_SHOWN])
        return super().begin(word)

    async def catch_up(self) -> bool:
        """Compare every row with the store, and count what is new."""
        number = self.rooms.hub.number

        def query(connection: Connection) -> tuple[list[Job], list[Event]]:
            upto = reads.last_number(connection)
            missed = reads.events(connection, after=self.known, upto=upto, limit=REPLAYED)
            return reads.some(connection, list(self._rows)), missed

        jobs, missed = await self.rooms.store.read(query)
        found = {job.id: job for job in jobs}
        for job_id, version in self._rows.items():
            job = found.get(job_id)
            if job is None or job.seq > version:
                self._dirty[job_id] = job
            self.resume(job)
        for event in missed:
            if event.job.id not in self._rows:
                self._count(event)
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
        if len(self._new) != before:
            self.news = len(self._new)

    async def fragments(self) -> str:
        """Return the rows that have changed, and the counts."""
        dirty, self._dirty = self._dirty, {}
        html = []
        for job_id, job in dirty.items():
            if job is None:
                self._rows.pop(job_id, None)
                html.append(patch("jobs/_gone.html", self.root, id=job_id))
            else:
                self._rows[job_id] = job.seq
                html.append(patch("jobs/_row.html", self.root, job=self.rooms.queue.live(job), back=self._listing.here))
        if self.due():
            counts = await self.rooms.figures.read(self.rooms.store, self.rooms.hub, reads.counts)
            shown = contents.grouped(counts) if not self._listing.narrowed else {}
            tabs = patch("jobs/_tabs.html", self.root, tabs=self._listing.tabs(), counts=shown)
            if tabs != self._tabs:
                self._tabs = tabs
                html.append(tabs)
        return "".join(html)


class JobView(View):
    """One job: everything that its page shows."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._id = socket.query_params.get("job", "")
        self._version = -1
        self._line = 0
        self._lines: list[reads.LogLine] = []
        self._skipped = False
        self._job: Job | None = None
        self._place: int | None = None
        self._placed = (0.0, -1)

    def mailbox(self) -> AbstractContextManager[Mailbox]:
        """Subscribe to the job."""
        return self.rooms.hub.subscribe(self._id)

    def begin(self, word: Word) -> bool:
        """Take the version and the last log line that the page has."""
        self._version = word.rows.get(self._id, -1)
        self._line = word.line
        return super().begin(word)

    async def catch_up(self) -> bool:
        """Find the lines that the page has missed; False where the job is gone or the lines are too many."""
        job = await self.rooms.store.read(partial(reads.job, job_id=self._id))
        if job is None:
            return False
        query = partial(reads.log_lines, job_id=self._id, after=self._line, limit=contents.LINES_SHOWN + 1)
        lines = await self.rooms.store.read(query)
        if len(lines) > contents.LINES_SHOWN:
            return False
        self._lines = lines
        if job.seq != self._version:
            self._version = -1
        self._job = job
        self.resume(job)
        return True

    def take(self, message: Event | Advance) -> None:
        """Note a change, a log line, or how far the job is."""
        if isinstance(message, Advance):
            self.progress[self._id] = message
        elif message.type == "log":
            log = (message.extra or {})["log"]
            self._lines.append(reads.LogLine(log["line"], message.at, log["level"], log["message"]))
        else:
            self.progress.clear()
            self._job = message.job
            self._version = -1

    def advance(self, news: Advance) -> list[Any]:
        """Return what the big bar is to show."""
        return [*super().advance(news)[:4], words.note(news.progress)]

    async def fragments(self) -> str:
        """Return the job without its log where it has changed, and the new lines of the log."""
        html = self._new_lines()
        if self._version < 0 or await self._moved_up():
            try:
                found = await contents.whole(self.rooms, self._id)
            except NotFound:
                return html
            self._job, self._version, self._place = found.job, found.job.seq, found.outlook.position
            html += patch("job/_all.html", self.root, whole=found)
        return html

    def _new_lines(self) -> str:
        lines = [line for line in self._lines if line.line > self._line]
        self._lines = []
        if not lines:
            return ""
        self._line, skipped = lines[-1].line, max(0, len(lines) - LINES)
        return render("job/_more_lines.html", self.root, lines=lines[-LINES:], skipped=skipped)

    async def _moved_up(self) -> bool:
        """Whether a waiting job has another place in line than the page shows."""
        at, number = self._placed
        now, newest = asyncio.get_running_loop().time(), self.rooms.hub.number
        if self._job is None or self._job.state not in WAITING or newest == number or now - at < PLACE_EVERY:
            return False
        self._placed = (now, newest)
        places = await self.rooms.store.read(partial(reads.positions, ids=[self._id]))
        return places.get(self._id) != self._place


class RegionView(View):
    """A page with one region that is small enough to be written anew whenever it has changed."""

    template: str
    query: Callable[[Connection], Any]

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._shown = ""

    async def fragments(self) -> str:
        """Return the region where it has changed."""
        if not self.due():
            return ""
        html = await self.region()
        if html == self._shown:
            return ""
        self._shown = html
        return html

    async def region(self) -> str:
        """Return the region."""
        found = await self.rooms.figures.read(self.rooms.store, self.rooms.hub, type(self).query)
        return patch(self.template, self.root, **self.values(found))

    def values(self, found: Any) -> dict[str, Any]:
        """Return what the template shows."""
        raise NotImplementedError


class _WithBars(RegionView):
    """A region with the bars of some running jobs."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._ids: set[str] = set()

    def wants(self, job: Job) -> bool:
        """Whether a job's bar is on the page."""
        return job.id in self._ids

    def take(self, message: Event | Advance) -> None:
        """Note how far a job is; its end is in the region."""
        if isinstance(message, Advance):
            self.progress[message.job.id] = message
        else:
            self.progress.pop(message.job.id, None)


class OverviewView(_WithBars):
    """The overview: counts, what runs now, what has just ended."""

    template = "overview/_board.html"
    query = contents.board

    def values(self, found: contents.Board) -> dict[str, Any]:
        """Return the board with live progress."""
        self._ids = {job.id for job in found.running}
        return {"board": found.live(self.rooms), "workers": self.rooms.queue.workers}


class WorkersView(_WithBars):
    """The workers and what each of them runs."""

    template = "workers/_crew.html"
    query = contents.crew

    def values(self, found: tuple[list[Job], int]) -> dict[str, Any]:
        """Return the active jobs with live progress."""
        active, waiting = found
        self._ids = {job.id for job in active}
        return contents.crew_values(self.rooms, active, waiting)


class QueuesView(RegionView):
    """The queues with their counts."""

    template = "queues/_queues.html"
    query = contents.queues

    def values(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the queues."""
        return {"queues": contents.with_kinds(self.rooms, found)}


VIEWS: Final[dict[str, type[View]]] = {
    "plain": View,
    "overview": OverviewView,
    "jobs": JobsView,
    "job": JobView,
    "queues": QueuesView,
    "workers": WorkersView,
}
