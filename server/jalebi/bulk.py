"""Actions on all jobs that pass a filter, as a job of its own: with progress, a log, a result, and a way to stop it."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from jalebi.context import JobContext
from jalebi.errors import BulkGrew, JobActive, JobFinished, NotFound
from jalebi.ids import new_id
from jalebi.jobs import Job
from jalebi.kinds import OWN, Kind
from jalebi.queue import Order, Queue
from jalebi.store import search
from jalebi.store.reads import Filter

Action = Literal["cancel", "retry", "delete"]
KIND: Final = f"{OWN}bulk"
QUEUE: Final = "jalebi"
#: Jobs that are acted on together; the writer commits them in one go.
TOGETHER: Final = 100
#: Seconds for which a question how many match is answered exactly, before it is "at least".
COUNTED: Final = 2.0
#: Skipped jobs that the log names.
_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Matching:
    """How many jobs an action would touch, at least that many where it is not `exact`, and some of them."""

    count: int
    exact: bool
    sample: list[Job]


class Selection(BaseModel):
    """A filter as the args of a job keep it; times are Unix seconds."""

    model_config = ConfigDict(extra="forbid")

    states: list[str] = []
    kinds: list[str] = []
    queues: list[str] = []
    tags: list[str] = []
    text: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    errors: list[str] = []
    ids: list[str] = []
    batches: list[str] = []

    @classmethod
    def of(cls, wanted: Filter) -> "Selection":
        """Return a filter's selection."""
        return cls.model_validate(asdict(wanted))

    def filter(self) -> Filter:
        """Return the filter."""
        given: dict[str, Any] = self.model_dump()
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return Filter(**values)


class Bulk:
    """Counts what a filter matches, and starts jobs that act on it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        queue.kinds.add_own(
            Kind(name=KIND, function=self._run, isolation="loop", queue=QUEUE, timeout=86_400.0, priority=0)
        )

    async def matching(self, wanted: Filter, *, sample: int = 5, most: int = 10_000_000) -> Matching:
        """Return how many jobs pass a filter now, with the newest of them."""

        def query(connection: Any) -> Matching:
            count, exact = search.count(connection, wanted, most=most, within=COUNTED)
            some = search.find(connection, wanted, limit=sample, within=COUNTED).jobs if sample else []
            return Matching(count, exact, some)

        return await self._queue.store.read(query)

    async def start(self, action: Action, wanted: Filter, expect: int | None = None) -> Job:
        """Submit the job that acts on everything that passes the filter now; jobs that come later are left alone.

        Raises BulkGrew where more than `expect` jobs match.
        """
        matching = await self.matching(wanted, sample=0)
        if expect is not None and matching.count > expect:
            detail = f"{matching.count} jobs match, more than the {expect} expected; look again before you act on them."
            raise BulkGrew(detail, matching=matching.count)
        args = {
            "action": action,
            "filter": Selection.of(wanted).model_dump(exclude_defaults=True),
            "matching": matching.count,
            "before": new_id(self._queue.store.clock()),
        }
        return await self._queue.submit_own(Order(kind=KIND, args=args))

    async def _run(
        self, ctx: JobContext, action: Action, filter: Selection, matching: int, before: str
    ) -> dict[str, Any]:
        """Cancel, retry or delete every job that passes a filter, newest first."""
        wanted, done, changed = filter.filter(), 0, 0
        ctx.progress(0, max(matching, 1), unit="jobs")
        place: str | None = before
        while place is not None:
            ctx.raise_if_cancelled()
            found = await self._next(wanted, place)
            acted = await asyncio.gather(*(self._act(action, job) for job in found.jobs if job.id != ctx.job_id))
            skipped = [reason for reason in acted if reason is not None]
            for reason in skipped[: max(0, _NAMED - (done - changed))]:
                ctx.log(reason)
            done += len(acted)
            changed += len(acted) - len(skipped)
            ctx.progress(done, max(matching, done, 1), unit="jobs")
            place = found.jobs[-1].id if len(found.jobs) == TOGETHER else found.reached
        ctx.progress(max(done, 1), max(done, 1), unit="jobs")
        return {"action": action, "matched": done, "changed": changed, "skipped": done - changed}

    async def _next(self, wanted: Filter, before: str) -> search.Found:
        return await self._queue.store.read(
            lambda connection: search.find(connection, wanted, limit=TOGETHER, before=before, within=0.05)
        )

    async def _act(self, action: Action, job: Job) -> str | None:
        """Act on one job; return why not where it could not be done."""
        if job.kind.startswith(OWN) and action != "delete":
            return f"{job.id} is a bulk action itself and was left alone"
        try:
            match action:
                case "cancel":
                    if job.terminal:
                        return f"{job.id} is {job.state} already"
                    await self._queue.cancel(job.id, "Cancelled with others.")
                case "retry":
                    await self._queue.retry(job.id)
                case "delete":
                    await self._queue.delete(job.id)
        except NotFound:
            return f"{job.id} is gone"
        except (JobActive, JobFinished) as problem:
            return f"{job.id}: {problem.detail}"
        return None
