"""What every open page has in common: what it says of itself, and when to look for what."""

import asyncio
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket

from jalebi.events import Event, cursor_number, cursor_text
from jalebi.jobs import ACTIVE, Job
from jalebi.mailbox import Advance, Mailbox
from jalebi.web import words
from jalebi.web.rooms import rooms_of, root_of

#: Seconds between two looks at figures that all jobs together make: after news, and without any.
EVERY: Final = 1.0
AT_LEAST_EVERY: Final = 10.0


class Word(msgspec.Struct):
    """What a page says: first what it shows, later which frame it has painted."""

    after: str = ""
    rows: dict[str, int] = {}
    since: str = ""  # the cursor at which its list was made, where it has been told of new jobs
    new: int = 0  # how many of them it was told of
    line: int = 0
    trouble: str = ""
    seen: int | None = None


class View:
    """A page that shows nothing live but the state of its connection; the others build on it."""

    short = True  # whether there is little room below a bar

    def __init__(self, socket: WebSocket) -> None:
        self.rooms = rooms_of(socket)
        self.root = root_of(socket)
        self.progress: dict[str, Advance] = {}
        self.known = 0  # the event up to which the page knows everything
        self.news: int | None = None  # how many jobs the list could show besides; None where that is not new
        self.more = False  # whether there are even more
        self._looked = (0.0, (-1, 0))
        self._ticked = 0.0

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

    def patience(self) -> float:
        """Return the seconds to wait for news before it is looked for what comes without any."""
        return 1.0

    def resume(self, job: Job | None) -> None:
        """Note how far a job is that may have moved while nobody listened."""
        progress = self.rooms.hub.progress(job.id) if job is not None and job.state in ACTIVE else None
        if job is not None and progress is not None:
            self.progress[job.id] = Advance(job, job.seq, progress)

    def cursor(self) -> str:
        """Return the place up to which the page knows everything."""
        return cursor_text(self.rooms.store.epoch, self.known)

    def advances(self) -> list[list[Any]]:
        """Return what the bars are to show, once.

        For each: id, seq, percent or null, the text beside it and that below it, whether it has stalled.
        """
        found = []
        for news in self.progress.values():
            # The page may have been rendered since the news came: a bar must not go back to them.
            if self.rooms.hub.progress(news.job.id) is not None:
                found.append(self.advance(news))
        self.progress.clear()
        return found

    def advance(self, news: Advance) -> list[Any]:
        """Return what one bar is to show."""
        job = self.rooms.queue.live(news.job)
        note = words.note(job.progress, short=self.short)
        return [job.id, news.seq, words.percent(job), words.reached(job), note, words.stalled(job)]

    def every(self, seconds: float) -> bool:
        """Whether so many seconds have passed since this last said so."""
        now = asyncio.get_running_loop().time()
        if now - self._ticked < seconds:
            return False
        self._ticked = now
        return True

    def due(self) -> bool:
        """Whether it is time to look at figures that all jobs together make."""
        at, known = self._looked
        now, hub = asyncio.get_running_loop().time(), self.rooms.hub
        newest = hub.number, hub.purges
        if now - at < EVERY or (newest == known and now - at < AT_LEAST_EVERY):
            return False
        self._looked = (now, newest)
        return True
