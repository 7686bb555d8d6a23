"""Pages with one region that is small enough to be written anew whenever it has changed."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from starlette.websockets import WebSocket

from jalebi.events import Event
from jalebi.hub import Advance
from jalebi.jobs import Job
from jalebi.web import contents
from jalebi.web.templating import patch
from jalebi.web.views.base import View


class RegionView(View):
    """A page with one region that is small enough to be written anew whenever it has changed."""

    template: str
    query: Callable[[Connection], Any]  # the same function every time: all pages share its answer

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
        found = await self.rooms.figures.read(self.rooms.store, self.rooms.hub, self.query)
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
    query = staticmethod(contents.board)

    def values(self, found: contents.Board) -> dict[str, Any]:
        """Return the board with live progress."""
        self._ids = {job.id for job in found.running}
        return {"board": found.live(self.rooms), "workers": self.rooms.queue.workers}


class WorkersView(_WithBars):
    """The workers and what each of them runs."""

    template = "workers/_crew.html"
    query = staticmethod(contents.crew)

    def values(self, found: tuple[list[Job], int]) -> dict[str, Any]:
        """Return the active jobs with live progress."""
        active, waiting = found
        self._ids = {job.id for job in active}
        return contents.crew_values(self.rooms, active, waiting)


class QueuesView(RegionView):
    """The queues with their counts."""

    template = "queues/_queues.html"
    query = staticmethod(contents.queues)

    def values(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the queues."""
        return {"queues": contents.with_kinds(self.rooms, found)}
