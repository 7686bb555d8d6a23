"""The list of jobs: its filters, which live in the address, and its pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from jalebi.errors import MalformedRequest
from jalebi.events import rfc3339
from jalebi.jobs import Job
from jalebi.store import reads
from jalebi.web.bodies import filter_of
from jalebi.web.contents import GROUPS

PAGE: Final = 50
#: Matching jobs are counted up to here.
MOST_COUNTED: Final = 10_000
#: Seconds for which a page looks for jobs, and then counts how many there are in all: so that with the drawing of its
#: rows it takes less than 25 ms.
SEARCHED: Final = 0.01
COUNTED: Final = 0.003
_TIMES: Final = ("created_after", "created_before")
_NAMES: Final = ("state", "kind", "queue", "tag", "q", *_TIMES, "error", "batch")

_CHIPS: Final = {
    "kind": "kind {}", "queue": "queue {}", "tag": "tag {}", "q": "with “{}”", "created_after": "after {}",
    "created_before": "before {}", "error": "error {}", "batch": "batch {}",
}  # fmt: skip
_QUICK: Final = (("15 min", 900), ("1 h", 3600), ("24 h", 86_400), ("7 d", 7 * 86_400))


@dataclass(frozen=True, slots=True)
class Tab:
    """One group of states with the address that shows it and keeps the other filters."""

    name: str
    group: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A short text with the address that it leads to."""

    text: str
    href: str


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
    def chips(self) -> list[Chip]:
        """What narrows the list besides the state, each with the address without it."""
        found = []
        for index, (name, value) in enumerate(self.pairs):
            if name != "state":
                rest = [pair for at, pair in enumerate(self.pairs) if at != index]
                shown = f"{self.moment(name).replace('T', ' ')} UTC" if name in _TIMES else _short(value)
                found.append(Chip(_CHIPS[name].format(shown), self.address(rest)))
        return found

    @property
    def folded(self) -> int:
        """How many filters are set by the fields that a small screen folds away."""
        return sum(name in {"kind", "queue", "tag", *_TIMES} for name, _ in self.pairs)

    def last(self, now: float) -> list[Chip]:
        """Return quick choices of the time: what was created within a while before now."""
        rest = [pair for pair in self.pairs if pair[0] not in _TIMES]
        return [
            Chip(text, self.address([*rest, ("created_after", rfc3339(now - seconds) or "")]))
            for text, seconds in _QUICK
        ]

    def moment(self, name: str) -> str:
        """Return a time as its field shows it: UTC, without its zone."""
        at = self.wanted.created_after if name == "created_after" else self.wanted.created_before
        return "" if at is None else (rfc3339(at) or "")[:16]

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
        parts += ["that stand failed with one error"] if self.wanted.errors else []
        parts += ["of one batch"] if self.wanted.batches else []
        parts += ["of that time"] if self.wanted.created_after or self.wanted.created_before else []
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


def _short(value: str) -> str:
    return value if len(value) <= 40 else value[:39] + "…"
