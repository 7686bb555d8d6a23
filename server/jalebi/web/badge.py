"""A picture of a job's state and percent, for wikis and chats."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from jalebi.events import Outlook
from jalebi.jobs import Job, State
from jalebi.web import words
from jalebi.web.bodies import known_parameters
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import render
from jalebi.web.waiting import etag, known, not_modified

#: Colours on which white text has the contrast that WCAG 2.2 asks for (AA).
_COLOURS: Final = {State.COMPLETED: "#23683a", State.FAILED: "#a5251c", State.RUNNING: "#9a4508"}
_OTHER: Final = "#4a5568"
_MOST: Final = 40
#: Pixels of a character at the badge's size, about; the picture stretches the text to what it was given.
_ADVANCE: Final = 6.6
_HEADERS: Final = {
    "Cache-Control": "no-cache",  # proxies of chats ask again, and are answered 304
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


async def badge(request: Request) -> Response:
    """`GET /v1/jobs/{id}/badge.svg`: how the job is, as a picture."""
    known_parameters(request.query_params)
    return of_job(request, *await rooms_of(request).queue.get_with_outlook(request.path_params["id"]))


def of_job(request: Request, job: Job, outlook: Outlook) -> Response:
    """Return a job's badge, or 304 to who has it."""
    tag = etag(job, outlook)
    if known(request, tag):
        return not_modified(tag, _HEADERS)
    left, right = _cut(job.kind), _cut(says(job))
    svg = render(
        "badge.svg", root_of(request), left=left, right=right, colour=_COLOURS.get(job.state, _OTHER),
        left_width=_width(left), right_width=_width(right),
    )  # fmt: skip
    return Response(svg, 200, {**_HEADERS, "ETag": tag}, "image/svg+xml")


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def says(job: Job) -> str:
    """Return a job's state, with the percent of what runs."""
    return f"{job.state} {words.plain(words.reached(job))}".rstrip() if job.state is State.RUNNING else job.state.value


def _width(text: str) -> int:
    return round(sum(2 * _ADVANCE if ord(char) > 0x2E80 else _ADVANCE for char in text)) + 12
