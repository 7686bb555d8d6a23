"""Pages with one region that is small enough to be written anew whenever it has changed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from sqlalchemy import Connection
from starlette.websockets import WebSocket

from jalebi.errors import NotFound
from jalebi.events import Event
from jalebi.jobs import Job
from jalebi.mailbox import Advance
from jalebi.store import reads
from jalebi.web import error_pages, overview, queue_pages, schedule_pages, system_page, worker_pages
from jalebi.web.templating import patch
from jalebi.web.views.base import View, Word
from jalebi.web.views.slots import Slots


class RegionView(View):
    """A page with one region that is small enough to be written anew whenever it has changed."""

    template: ClassVar[str]

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._shown = ""
        self._version = self.rooms.figures.version

    def due(self) -> bool:
        """Whether it is time to look: at once where somebody has decided something."""
        decided, self._version = self._version != self.rooms.figures.version, self.rooms.figures.version
        return decided or super().due()

    async def fragments(self) -> str:
        """Return the region where it has changed."""
        if not self.due():
            return ""
        html = patch(self.template, self.root, **await self.values())
        if html == self._shown:
            return ""
        self._shown = html
        return html

    async def values(self) -> dict[str, Any]:
        """Return what the template shows."""
        raise NotImplementedError


class _Read(RegionView):
    """A region that one query fills, whose answer all pages share."""

    query: Callable[[Connection], Any]  # the same function every time

    async def read(self) -> Any:
        """Return the answer."""
        return await self.rooms.figures.read(self.rooms.store, self.rooms.hub, self.query)


class _WithBars(_Read):
    """A region with the bars of some running jobs."""

    most: ClassVar[int] = worker_pages.SHOWN

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self.slots = Slots(self.most)

    def begin(self, word: Word) -> bool:
        """Take the jobs that the page shows."""
        self.slots.begin(word.rows)
        return super().begin(word)

    def wants(self, job: Job) -> bool:
        """Whether a job's bar is on the page."""
        return job.id in self.slots.ids

    def take(self, message: Event | Advance) -> None:
        """Note how far a job is; its end is in the region."""
        if isinstance(message, Advance):
            self.progress[message.job.id] = message
        else:
            self.progress.pop(message.job.id, None)


class OverviewView(_WithBars):
    """The overview: counts, what runs now, what fails, the queues."""

    template = "overview/_board.html"
    query = staticmethod(overview.board)
    most = overview.RUNNING_SHOWN

    async def values(self) -> dict[str, Any]:
        """Return the board with live progress."""
        found = await self.read()
        return overview.values(self.rooms, replace(found, running=await self.slots.place(self.rooms, found.running)))


class WorkersView(_WithBars):
    """The workers and what each of them runs."""

    template = "workers/_crew.html"
    query = staticmethod(worker_pages.crew)

    async def values(self) -> dict[str, Any]:
        """Return the active jobs with live progress."""
        active, counts = await self.read()
        return worker_pages.values(self.rooms, (await self.slots.place(self.rooms, active), counts))


class QueuesView(RegionView):
    """The queues with their counts."""

    template = "queues/_queues.html"

    async def values(self) -> dict[str, Any]:
        """Return the queues."""
        return await queue_pages.cards(self.rooms)


class QueueView(_WithBars):
    """One queue."""

    template = "queues/_one.html"
    most = queue_pages.JOBS_SHOWN

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._name = socket.query_params.get("queue", "")

    async def values(self) -> dict[str, Any]:
        """Return the queue with its running jobs."""
        found = await queue_pages.card(self.rooms, self._name)
        return {**found, "running": await self.slots.place(self.rooms, found["running"])}

    async def fragments(self) -> str:
        """Return the region where it has changed; a queue that nobody knows any more stays as it was."""
        try:
            return await super().fragments()
        except NotFound:
            return ""


class ErrorsView(RegionView):
    """The groups of errors."""

    template = "errors/_groups.html"

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._order: dict[str, int] = {}

    async def values(self) -> dict[str, Any]:
        """Return the newest groups in the order in which the page first had them: rows do not move under the reader."""
        found = await error_pages.newest(self.rooms)
        for fault in found["faults"]:
            self._order.setdefault(fault.fingerprint, len(self._order))
        return {**found, "faults": sorted(found["faults"], key=lambda fault: self._order[fault.fingerprint])}


class SchedulesView(_Read):
    """What waits for a time."""

    template = "schedules/_due.html"
    query = staticmethod(schedule_pages.upcoming)

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._ids: list[str] = []

    def begin(self, word: Word) -> bool:
        """Take the jobs that the page shows."""
        self._ids = list(word.rows)[: schedule_pages.SHOWN]
        return super().begin(word)

    async def values(self) -> dict[str, Any]:
        """Return what is due next; a job whose time has come stays in its row, so that none moves under the reader."""
        coming, waiting = await self.read()
        known = {job.id: job for job in coming}
        past = [job_id for job_id in self._ids if job_id not in known]
        if past:
            found = await self.rooms.store.read(partial(reads.some, ids=past))
            known |= {job.id: job for job in found}
        shown = [known[job_id] for job_id in self._ids if job_id in known]
        shown += [job for job in coming if job.id not in self._ids][: schedule_pages.SHOWN - len(shown)]
        self._ids = [job.id for job in shown]
        return schedule_pages.values((shown, waiting))


class SystemView(RegionView):
    """How the server is."""

    template = "system/_now.html"

    def due(self) -> bool:
        """Whether it is time to look: every few seconds, whatever happens to jobs."""
        return self.every(2.0)

    async def values(self) -> dict[str, Any]:
        """Return the figures."""
        return await system_page.values(self.rooms)
