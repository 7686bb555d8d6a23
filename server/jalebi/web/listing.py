"""The list of jobs: its filters, which live in the address, and its pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from jalebi.errors import MalformedRequest
from jalebi.jobs import Job
from jalebi.store import reads
from jalebi.web.bodies import filter_of
from jalebi.web.contents import GROUPS

PAGE: Final = 50
#: Matching jobs are counted up to here.
MOST_COUNTED: Final = 10_000
_NAMES: Final = ("state", "kind", "queue", "tag", "q", "created_after", "created_before")


@dataclass(frozen=True, slots=True)
class Tab:
    """One group of states with the address that shows it and keeps the other filters."""

    name: str
    group: str
    href: str
    current: bool


class Listing:
    """What a query asks for. Raises MalformedRequest where it can't be read."""

    def __init__(self, query: QueryParams) -> None:
        # A form sends its empty fields too; they ask for nothing.
        self.pairs = [(name, value) for name, value in query.multi_items() if value and name in _NAMES]
        given = QueryParams(self.pairs)
        self.wanted = filter_of(given, given.getlist)
        self.before = query.get("cursor") or None
        if self.before is not None and not (len(self.before) == 36 and self.before.replace("-", "").isalnum()):
            raise MalformedRequest("The cursor is not one that a list of jobs has given.", parameter="cursor")
        self._text = (self.wanted.text or "").casefold()

    def address(self, pairs: Iterable[tuple[str, str]], cursor: str | None = None) -> str:
        """Return the query for a list, with its question mark."""
        found = urlencode([*pairs, *([("cursor", cursor)] if cursor else [])])
        return f"?{found}" if found else ""

    @property
    def here(self) -> str:
        """The query of this page."""
        return self.address(self.pairs, self.before)

    @property
    def first(self) -> str:
        """The query of the first page."""
        return self.address(self.pairs)

    def after(self, last: str) -> str:
        """Return the query of the page that follows the job `last`."""
        return self.address(self.pairs, last)

    def tabs(self) -> list[Tab]:
        """Return the groups of states."""
        rest = [pair for pair in self.pairs if pair[0] != "state"]
        states = set(self.wanted.states)
        made = [Tab("All", "", self.address(rest), not states)]
        for group, of_group in GROUPS.items():
            pairs = [*(("state", state) for state in of_group), *rest]
            made.append(Tab(group.capitalize(), group, self.address(pairs), states == set(of_group)))
        return made

    def one(self, name: str) -> str:
        """Return the value of a filter as its field shows it."""
        return next((value for given, value in self.pairs if given == name), "")

    @property
    def narrowed(self) -> bool:
        """Whether anything but the state is asked for."""
        return any(name != "state" for name, _ in self.pairs)

    def sentence(self) -> str:
        """Return what is asked for, as part of a sentence."""
        states = set(self.wanted.states)
        group = next((name for name, of in GROUPS.items() if set(of) == states), " or ".join(sorted(states)))
        parts = [f"{group} jobs" if group else "jobs"]
        parts += [f"of kind {kind}" for kind in self.wanted.kinds]
        parts += [f"in queue {queue}" for queue in self.wanted.queues]
        parts += [f"tagged {tag}" for tag in self.wanted.tags]
        parts += [f"with “{self.wanted.text}”"] if self.wanted.text else []
        return " ".join(parts)

    def wants(self, job: Job) -> bool:
        """Whether a job belongs on this list."""
        wanted = self.wanted
        if not wanted.wants(job):
            return False
        if wanted.created_after is not None and job.created_at <= wanted.created_after:
            return False
        if wanted.created_before is not None and job.created_at >= wanted.created_before:
            return False
        return not self._text or any(self._text in part.casefold() for part in (job.id, job.kind, job.args, *job.tags))

    @property
    def filter(self) -> reads.Filter:
        """The filter as the store takes it."""
        return self.wanted
