"""A job's log as the dashboard shows it: what is asked for in the address, and lines that are safe to look at."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from jalebi.errors import MalformedRequest
from jalebi.jobs import Job
from jalebi.store import logs
from jalebi.store.reads import LogLine
from jalebi.web.bodies import whole
from jalebi.web.rooms import Rooms, rooms_of, root_of
from jalebi.web.templating import HEADERS, page, render

#: Characters of a line that are shown, and of a text that is looked for.
LONGEST: Final = 4_000
LONGEST_TEXT: Final = 200

#: Colours and other orders to a terminal: CSI … letter, OSC … BEL or ST, and those of two characters.
_ORDERS: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-Z\\^-~]"
)
#: What has no look of its own, or turns the direction of the text around it.
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def plain(message: str) -> str:
    """Return a message as it is shown: without colours, nothing in it unseen, and not too long."""
    rest = len(message) - LONGEST
    text = _ORDERS.sub("", message[:LONGEST].replace("\r\n", "\n")).replace("\r", "\n")
    text = _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)
    return text if rest <= 0 else f"{text}… ({rest:,} more characters)"


def shown(lines: list[LogLine]) -> list[LogLine]:
    """Return lines as they are shown."""
    return [replace(line, message=plain(line.message)) for line in lines]


def wanted_in(query: Mapping[str, str]) -> logs.Wanted:
    """Return which lines an address asks for. Raises MalformedRequest."""
    level = query.get("level") or logs.LEVELS[0]
    if level not in logs.LEVELS:
        raise MalformedRequest(f"There is no level {level!r}; there are {', '.join(logs.LEVELS)}.", parameter="level")
    return logs.Wanted(level, query.get("q", "").strip()[:LONGEST_TEXT])


@dataclass(frozen=True, slots=True)
class Shown:
    """What a template shows of a log."""

    job_id: str
    wanted: logs.Wanted
    page: logs.Page
    levels: tuple[str, ...] = logs.LEVELS

    @property
    def lines(self) -> list[LogLine]:
        """The lines as they are shown."""
        return shown(self.page.lines)

    @property
    def dropped(self) -> int:
        """How many of the oldest lines are not kept any more, as far as the page begins with those that are."""
        first = self.page.lines[0].line if self.page.lines else 1
        return first - 1 if self.page.earlier is None and self.wanted.everything else 0

    def query(self, **place: int | None) -> str:
        """Return the query of an address for lines somewhere else in the log, with its question mark."""
        return asked(self.wanted, **place)


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that are left out of what a page shows: those between two others, and how many where that is known."""

    job_id: str
    wanted: logs.Wanted
    after: int
    before: int
    count: int | None

    @property
    def query(self) -> str:
        """The query of the address where they are."""
        return asked(self.wanted, after=self.after, before=self.before)


def asked(wanted: logs.Wanted, **place: int | None) -> str:
    """Return the query of an address that asks for lines; empty where it asks for the newest of all."""
    pairs: dict[str, Any] = {name: value for name, value in place.items() if value is not None}
    if wanted.level != logs.LEVELS[0]:
        pairs["level"] = wanted.level
    if wanted.text:
        pairs["q"] = wanted.text
    return f"?{urlencode(pairs)}" if pairs else ""


async def read(
    rooms: Rooms, job_id: str, wanted: logs.Wanted, *, before: int | None = None, after: int | None = None
) -> Shown:
    """Read some lines of a job's log; where neither is given, the newest."""
    keep = rooms.settings.max_log_lines
    query = partial(logs.page, job_id=job_id, wanted=wanted, keep=keep, before=before, after=after)
    return Shown(job_id, wanted, await rooms.store.read(query))


async def log(request: Request) -> Response:
    """`GET /jobs/{id}/log?before=&after=&level=&q=`: some lines; a page of its own, or what the job's page asks for."""
    rooms, job_id, query = rooms_of(request), request.path_params["id"], request.query_params
    wanted, before, after = wanted_in(query), whole(query, "before"), whole(query, "after")
    job: Job = await rooms.queue.get(job_id)
    found = await read(rooms, job_id, wanted, before=before, after=after)
    if request.headers.get("jalebi-part") == "lines":
        return HTMLResponse(render("job/_range.html", root_of(request), log=found), headers=HEADERS)
    return page(request, "job/log.html", job=job, log=found)
