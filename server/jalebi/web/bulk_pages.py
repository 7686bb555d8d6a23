"""Bulk actions of the list of jobs: a question that says what will be touched, and the job that does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jalebi.bulk import Action, Matching
from jalebi.errors import BulkGrew, MalformedRequest
from jalebi.store.reads import Filter
from jalebi.web.listing import Listing
from jalebi.web.rooms import rooms_of, root_of
from jalebi.web.templating import page
from jalebi.web.told import telling

#: By how much more than the reader saw may be touched without asking again.
GROWTH: Final = 1.1
#: Jobs that a page's selection may have.
_MOST_IDS: Final = 1000
_SAMPLE: Final = 5
_FIELDS: Final = _MOST_IDS + 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to be done: with the jobs of some ids, or with all that pass a filter."""

    action: Action
    wanted: Filter
    listing: Listing
    seen: int | None
    everything: bool
    picked: bool  # whether only jobs that are picked by their ids are meant, not all that pass the filter

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The hidden fields that ask for the same again."""
        ids = [("id", job_id) for job_id in self.wanted.ids]
        scope = [("scope", "all")] if self.everything else []
        return [("action", self.action), *(ids or [*scope, *self.listing.pairs])]

    @property
    def chosen(self) -> bool:
        """Whether it says which jobs: nothing at all is everything only where that is said."""
        return bool(self.wanted.ids or self.everything or (self.listing.pairs and not self.picked))


def asked(given: QueryParams) -> Asked:
    """Return what a form asks for. Raises MalformedRequest."""
    action = given.get("action", "")
    if action not in get_args(Action):
        raise MalformedRequest(f"There is no bulk action {action!r}.", parameter="action")
    listing = Listing(given)
    scopes = given.getlist("scope")
    everything = "all" in scopes
    ids = () if everything else tuple(dict.fromkeys(given.getlist("id")))
    if len(ids) > _MOST_IDS:
        raise MalformedRequest(f"At most {_MOST_IDS} jobs can be selected; use a filter.", parameter="id")
    seen = given.get("seen", "")
    known = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 15 else None
    wanted = Filter(ids=ids) if ids else listing.wanted
    return Asked(action, wanted, listing, known, everything, "picked" in scopes)  # type: ignore[arg-type]


async def confirm(request: Request) -> Response:
    """`GET /jobs/bulk`: say what will be touched, and ask."""
    wish = asked(request.query_params)
    if not wish.chosen:
        return _nothing(request, wish)
    found = await rooms_of(request).bulk.matching(wish.wanted, sample=_SAMPLE)
    return _ask(request, wish, found)


async def act(request: Request) -> Response:
    """`POST /jobs/bulk`: start the job that does it; ask again where much more matches than the reader saw."""
    form = await request.form(max_fields=_FIELDS)
    wish = asked(QueryParams([(name, value) for name, value in form.multi_items() if isinstance(value, str)]))
    if not wish.chosen:
        return _nothing(request, wish)
    rooms = rooms_of(request)
    expect = None if wish.seen is None else int(wish.seen * GROWTH)
    try:
        job = await rooms.bulk.start(wish.action, wish.wanted, expect)
    except BulkGrew:
        found = await rooms.bulk.matching(wish.wanted, sample=_SAMPLE)
        return _ask(request, wish, found, BulkGrew.status)
    return telling(request, RedirectResponse(f"{root_of(request)}/jobs/{job.id}", 303), "bulk")


def _ask(request: Request, wish: Asked, found: Matching, status: int = 200) -> Response:
    rooms = rooms_of(request)
    grew = wish.seen is not None and found.count > wish.seen * GROWTH
    values: dict[str, Any] = {"wish": wish, "found": found, "grew": grew, "what": _what(wish)}
    sample: Sequence[Any] = [rooms.queue.live(job) for job in found.sample]
    return page(request, "bulk/confirm.html", status, sample=sample, **values)


def _nothing(request: Request, wish: Asked) -> Response:
    return page(request, "bulk/nothing.html", 400, wish=wish)


def _what(wish: Asked) -> str:
    if wish.wanted.ids:
        return "the selected jobs"
    return f"the {wish.listing.sentence()}" if wish.listing.pairs else "all the jobs there are"
