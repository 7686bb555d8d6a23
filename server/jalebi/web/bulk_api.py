"""The JSON route of bulk actions: cancel, retry or delete everything that passes a filter."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from jalebi.jobs import State
from jalebi.store.reads import Filter
from jalebi.web.answers import json_answer, wire
from jalebi.web.api import accepted
from jalebi.web.bodies import MAX_VALUE, MAX_VALUES, Instant, checked, read_object
from jalebi.web.rooms import rooms_of

Value = Annotated[str, Field(max_length=MAX_VALUE, pattern=r"^[^\x00]*$")]
StateName = Annotated[State, Field(strict=False)]
OneOrMore = Value | Annotated[list[Value], Field(max_length=MAX_VALUES)]
_SAMPLE = 5


class BulkFilter(BaseModel):
    """Which jobs: the filters of `GET /v1/jobs`, each a value or a list of values; `id` selects jobs by id."""

    model_config = ConfigDict(extra="forbid", strict=True)

    state: StateName | list[StateName] = []
    kind: OneOrMore = []
    queue: OneOrMore = []
    tag: OneOrMore = []
    q: Value | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    batch: OneOrMore = []
    id: Value | Annotated[list[Value], Field(max_length=1000)] = []

    def filter(self) -> Filter:
        """Return the filter as the store takes it."""
        after, before = self.created_after, self.created_before
        return Filter(
            states=tuple(str(state) for state in _many(self.state)),
            kinds=_many(self.kind),
            queues=_many(self.queue),
            tags=_many(self.tag),
            text=self.q or None,
            created_after=None if after is None else after.timestamp(),
            created_before=None if before is None else before.timestamp(),
            ids=_many(self.id),
            batches=_many(self.batch),
        )


class BulkAction(BaseModel):
    """The body of `POST /v1/jobs/bulk`. With `expect` nothing happens where more jobs match."""

    model_config = ConfigDict(extra="forbid", strict=True)

    action: Literal["cancel", "retry", "delete"]
    filter: BulkFilter
    expect: Annotated[int, Field(ge=0)] | None = None
    dry_run: bool = False


async def bulk(request: Request) -> Response:
    """`POST /v1/jobs/bulk`: say what would be touched, or answer 202 with the job that does it."""
    body = await read_object(request)
    asked, rooms = checked(BulkAction, body), rooms_of(request)
    wanted = asked.filter.filter()
    if asked.dry_run:
        found = await rooms.bulk.matching(wanted, sample=_SAMPLE)
        sample = [wire(request, rooms.queue.live(job)) for job in found.sample]
        return json_answer({"matching": found.count, "exact": found.exact, "sample": sample})
    return accepted(request, await rooms.bulk.start(asked.action, wanted, asked.expect))


def _many(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)
