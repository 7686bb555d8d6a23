"""The dashboard's pages: everything that a GET shows."""

from functools import partial

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import MethodNotAllowed, NotFound, Problem
from jalebi.events import cursor_text
from jalebi.ids import new_id
from jalebi.jobs import Job
from jalebi.kinds import Kind
from jalebi.store import reads
from jalebi.web import answers, contents, forms
from jalebi.web.guard import authenticated
from jalebi.web.listing import MOST_COUNTED, PAGE, Listing
from jalebi.web.rooms import Rooms, rooms_of, root_of
from jalebi.web.templating import page


def cursor(rooms: Rooms, number: int) -> str:
    """Return the place in the feed at which a page is rendered."""
    return cursor_text(rooms.store.epoch, number)


async def overview(request: Request) -> Response:
    """`GET /`: what runs now, and how it goes."""
    rooms = rooms_of(request)

    def query(connection: Connection) -> tuple[int, contents.Board]:
        return reads.last_number(connection), contents.board(connection)

    number, board = await rooms.store.read(query)
    return page(
        request, "overview.html", view="overview", cursor=cursor(rooms, number), board=board.live(rooms),
        workers=rooms.queue.workers,
    )  # fmt: skip


async def jobs(request: Request) -> Response:
    """`GET /jobs`: a page of the jobs that pass the filters in the address, newest first."""
    rooms, listing = rooms_of(request), Listing(request.query_params)

    def query(connection: Connection) -> tuple[int, list[Job], int, dict[str, int], list[str]]:
        number = reads.last_number(connection)  # before the rows: what comes after it is sent again
        found = reads.jobs(connection, listing.wanted, limit=PAGE + 1, before=listing.before)
        matching = reads.count(connection, listing.wanted, most=MOST_COUNTED)
        return number, found, matching, reads.counts(connection), sorted(reads.queue_counts(connection))

    number, found, matching, counts, queues = await rooms.store.read(query)
    kinds = [kind.name for kind in rooms.kinds.all()]
    return page(
        request,
        "jobs.html",
        view="jobs",
        cursor=cursor(rooms, number),
        listing=listing,
        tabs=listing.tabs(),
        counts={} if listing.narrowed else contents.grouped(counts),
        jobs=[rooms.queue.live(job) for job in found[:PAGE]],
        back=listing.here,
        older=listing.after(found[PAGE - 1].id) if len(found) > PAGE else None,
        matching=matching,
        most=MOST_COUNTED,
        kinds=sorted({*kinds, *listing.wanted.kinds}),
        queues=sorted({*queues, *listing.wanted.queues}),
        any_job=sum(counts.values()) > 0,
    )


async def job(request: Request) -> Response:
    """`GET /jobs/{id}`: everything about one job."""
    return await job_page(request)


async def job_page(request: Request, problem: Problem | None = None) -> Response:
    """Return a job's page; `problem` is why an action on it was refused. Raises NotFound."""
    rooms, job_id = rooms_of(request), request.path_params["id"]
    number = await rooms.store.read(reads.last_number)
    lines = await contents.last_lines(rooms, job_id)
    whole = await contents.whole(rooms, job_id)
    return page(
        request,
        "job.html",
        200 if problem is None else problem.status,
        view="job",
        cursor=cursor(rooms, number),
        whole=whole,
        lines=lines,
        problem=problem,
    )


async def confirm_delete(request: Request) -> Response:
    """`GET /jobs/{id}/delete`: ask before a job is deleted."""
    found = await rooms_of(request).queue.get(request.path_params["id"])
    return page(request, "job/delete.html", job=found)


async def kinds(request: Request) -> Response:
    """`GET /kinds`: every kind of job."""
    rooms = rooms_of(request)
    found = rooms.kinds.all()

    def query(connection: Connection) -> dict[str, float | None]:
        return {kind.name: typical(reads.durations(connection, kind.name)) for kind in found}

    return page(request, "kinds.html", kinds=found, typical=await rooms.store.read(query))


def typical(durations: list[float]) -> float | None:
    """Return the middle of some durations."""
    return durations[len(durations) // 2] if durations else None


async def kind(request: Request) -> Response:
    """`GET /kinds/{name}`: one kind and the form that submits a job of it."""
    found = kind_of(request)
    return await kind_page(request, found, forms.Filled({}, {}, {}), key=new_id())


def kind_of(request: Request) -> Kind:
    """Return the kind in the address. Raises NotFound."""
    name = request.path_params["name"]
    rooms = rooms_of(request)
    if name not in rooms.kinds:
        raise NotFound(f"There is no kind {name!r}.")
    return rooms.kinds.named(name)


async def kind_page(
    request: Request,
    found: Kind,
    filled: forms.Filled,
    *,
    key: str,
    status: int = 200,
    others: list[str] | None = None,
) -> Response:
    """Return a kind's page, its form as it was filled in, with what is wrong beside each field.

    `key` is the form's own: sent twice, it makes one job.
    """
    rooms = rooms_of(request)
    took = await rooms.store.read(partial(reads.durations, kind=found.name))
    wanted = forms.fields(found.args_schema)
    return page(
        request,
        "kind.html",
        status,
        kind=found,
        key=key,
        fields=wanted,
        labels=forms.option_labels(wanted),
        typed=filled.typed,
        again=bool(filled.typed) or status != 200,
        wrong=filled.wrong,
        others=others or [],
        typical=typical(took),
        label=forms.label,
        option=forms.option,
    )


async def queues(request: Request) -> Response:
    """`GET /queues`: every queue with what waits and runs in it."""
    rooms = rooms_of(request)
    found = contents.with_kinds(rooms, await rooms.store.read(contents.queues))
    return page(request, "queues.html", view="queues", cursor=cursor(rooms, 0), queues=found)


async def workers(request: Request) -> Response:
    """`GET /workers`: who works, and at what."""
    rooms = rooms_of(request)
    active, waiting = await rooms.store.read(contents.crew)
    values = contents.crew_values(rooms, active, waiting)
    return page(request, "workers.html", view="workers", cursor=cursor(rooms, 0), **values)


async def login(request: Request) -> Response:
    """`GET /login`: ask for the token, where there is one and the reader has not given it yet."""
    token = rooms_of(request).settings.token
    if token is None or authenticated(request.headers, token):
        return RedirectResponse(f"{root_of(request)}/", 303)
    return page(request, "login.html", wrong=False, next=request.query_params.get("next", ""))


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer an error with a page where a browser asks for a page, and with a problem document elsewhere."""
    if not wants_page(request):
        return await answers.on_problem(request, error)
    problem = answers.problem_of(error)
    if isinstance(problem, MethodNotAllowed):
        return await answers.on_problem(request, error)
    return page(request, "problem.html", problem.status, problem.headers, problem=problem)


def wants_page(request: Request) -> bool:
    """Whether a person asks, outside of the API."""
    path = request.url.path.removeprefix(root_of(request))
    return not path.startswith(("/v1/", "/ws/", "/static/")) and "text/html" in request.headers.get("accept", "")
