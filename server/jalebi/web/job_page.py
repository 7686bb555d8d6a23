"""The page of one job: everything that is known of it, and where it is shown in the browser's tab."""

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import NotFound, Problem
from jalebi.events import Event, Outlook, cursor_text
from jalebi.jobs import ACTIVE, WAITING, Job, State
from jalebi.store import batches, reads
from jalebi.store.deliveries import Delivery
from jalebi.store.moves import moves
from jalebi.web import log_page, words
from jalebi.web.pages import on_problem, wants_page
from jalebi.web.rooms import Rooms, rooms_of, root_of
from jalebi.web.templating import page
from jalebi.web.timeline import Attempt, attempts

#: Entries of a job's history, and moves of which its attempts are made.
HISTORY_SHOWN: Final = 60
MOVES_SHOWN: Final = 200
_MARKS: Final = {State.COMPLETED: "✓", State.FAILED: "✗", State.CANCELLED: "⊘"}


@dataclass(frozen=True, slots=True)
class Whole:
    """One job in full."""

    job: Job
    outlook: Outlook
    history: list[Event]
    files: list[reads.File]
    result: str | None
    attempts: list[Attempt]
    deliveries: list[Delivery]
    known: bool  # whether its kind has a page
    expected: str  # when it will start or be done, where that is known

    @property
    def waiting(self) -> bool:
        """Whether the job has yet to start."""
        return self.job.state in WAITING

    @property
    def active(self) -> bool:
        """Whether an attempt runs."""
        return self.job.state in ACTIVE

    @property
    def tab(self) -> str:
        """What the browser's tab says of the job."""
        mark = _MARKS.get(self.job.state) or (words.reached(self.job) if self.active else "")
        return f"{mark} {self.job.kind}".strip()


async def whole(rooms: Rooms, job_id: str) -> Whole:
    """Read one job in full. Raises NotFound."""
    job, outlook = await rooms.queue.get_with_outlook(job_id)

    def query(connection: Connection) -> tuple[list[Event], list[Event], list[reads.File], str | None]:
        result = reads.result(connection, job_id) if job.state is State.COMPLETED else None
        history = reads.milestones(connection, job_id, most=HISTORY_SHOWN)
        return history, moves(connection, job, most=MOVES_SHOWN), reads.files(connection, job_id), result

    history, moved, files, result = await rooms.store.read(query)
    now = rooms.store.clock()
    tries, expected = attempts(job, moved, now), words.expected(job, outlook, now)
    told = await rooms.webhooks.history(job_id) if job.ties is not None and job.ties.webhook is not None else []
    return Whole(job, outlook, history, files, result, tries, told, known=job.kind in rooms.kinds, expected=expected)


async def job(request: Request) -> Response:
    """`GET /jobs/{id}`: everything about one job; the jobs of a batch, where that is what has the id."""
    try:
        return await job_page(request)
    except NotFound:
        batch_id = request.path_params["id"]
        if await rooms_of(request).store.read(partial(batches.batch, batch_id=batch_id)) is None:
            raise
        return RedirectResponse(f"{root_of(request)}/jobs?batch={batch_id}", 303)


async def job_page(request: Request, problem: Problem | None = None) -> Response:
    """Return a job's page; `problem` is why an action on it was refused. Raises NotFound."""
    rooms, job_id = rooms_of(request), request.path_params["id"]
    wanted = log_page.wanted_in(request.query_params)
    number = await rooms.store.read(reads.last_number)
    log = await log_page.read(rooms, job_id, wanted)
    return page(
        request,
        "job.html",
        200 if problem is None else problem.status,
        view="job",
        cursor=cursor_text(rooms.store.epoch, number),
        whole=await whole(rooms, job_id),
        log=log,
        problem=problem,
    )


async def confirm_delete(request: Request) -> Response:
    """`GET /jobs/{id}/delete`: ask before a job is deleted."""
    found = await rooms_of(request).queue.get(request.path_params["id"])
    return page(request, "job/delete.html", job=found)


async def gone(request: Request, error: Exception) -> Response:
    """Answer a person who asks for what is not there; of a job, with where it may have gone."""
    if isinstance(error, NotFound) and wants_page(request) and "/jobs/" in request.url.path:
        return page(request, "job/gone.html", HTTPStatus.NOT_FOUND, problem=error)
    return await on_problem(request, error)
