"""The dashboard's pages: everything that a GET shows."""

from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.errors import MethodNotAllowed
from jalebi.ids import id_time
from jalebi.store import reads, search
from jalebi.web import answers, contents
from jalebi.web.guard import authenticated
from jalebi.web.listing import COUNTED, MOST_COUNTED, PAGE, SEARCHED, Listing
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import cursor, page


async def jobs(request: Request) -> Response:
    """`GET /jobs`: a page of the jobs that pass the filters in the address, newest first."""
    rooms, listing = rooms_of(request), Listing(request.query_params)

    def query(connection: Connection) -> tuple[int, search.Found, tuple[int, bool], Any, dict[str, int], list[str]]:
        number = reads.last_number(connection)  # before the rows: what comes after it is sent again
        found = search.find(connection, listing.wanted, limit=PAGE + 1, before=listing.before, within=SEARCHED)
        if listing.before is None and len(found.jobs) <= PAGE:  # the page has all there are, or all that time allows
            matching = len(found.jobs), found.reached is None
        else:
            matching = search.count(connection, listing.wanted, most=MOST_COUNTED, within=COUNTED)
        by_state = search.by_state(connection, listing.wanted)
        return number, found, matching, by_state, reads.counts(connection), sorted(reads.queue_counts(connection))

    number, page_found, (matching, exact), by_state, counts, queues = await rooms.store.read(query)
    found = page_found.jobs
    more = len(found) > PAGE
    reached = None if more else page_found.reached
    kinds = [kind.name for kind in rooms.kinds.all()]
    return page(
        request,
        "jobs.html",
        view="jobs",
        cursor=cursor(rooms, number),
        listing=listing,
        tabs=listing.tabs(),
        counts={} if by_state is None else contents.grouped(by_state),
        jobs=[rooms.queue.live(job) for job in found[:PAGE]],
        back=listing.here,
        older=listing.after(found[PAGE - 1].id) if more else None,
        looked=None if reached is None else (id_time(reached), listing.after(reached)),
        matching=matching,
        exact=exact,
        kinds=sorted({*kinds, *listing.wanted.kinds}),
        queues=sorted({*queues, *listing.wanted.queues}),
        any_job=sum(counts.values()) > 0,
        quick=listing.last(rooms.store.clock()),
    )


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
