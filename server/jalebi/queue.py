"""The only way to change a job: submit, claim, report, settle, cancel, retry, delete."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from jalebi.background import log
from jalebi.errors import Draining, NotFound, UnknownKind, ValidationFailed
from jalebi.estimates import Span
from jalebi.events import Outlook
from jalebi.files import Files
from jalebi.forecast import Forecast
from jalebi.hub import Hub
from jalebi.ids import new_id
from jalebi.jobs import ACTIVE, Job, Outcome, Progress, State, Ties, Webhook, backoff, failure
from jalebi.kinds import Kind, Kinds
from jalebi.settings import Settings
from jalebi.store import Store, reads, search
from jalebi.store.ahead import Ahead
from jalebi.store.attempts import Claim
from jalebi.store.submissions import Keyed, Submitted, gone, key_reused
from jalebi.store.ties import NewBatch

__all__ = ["Keyed", "Made", "NewBatch", "Order", "Queue", "Submitted", "nothing_runs"]

#: Seconds before the next attempt where the kind does not say, and the most that it can say.
BACKOFF: Final = 2.0
MAX_DELAY: Final = 10 * 365 * 86400.0
#: Seconds for which a page of a list of jobs looks for them.
SEARCHED: Final = 0.02


class Order(Struct, frozen=True):
    """One submission; what is None comes from the kind. Times are Unix seconds, `timeout` seconds.

    `after` are ids of jobs and batches that it waits for (see `jobs.Ties`).
    """

    kind: str
    args: Any
    queue: str | None = None
    priority: int | None = None
    tags: Sequence[str] = ()
    run_at: float | None = None
    timeout: float | None = None
    max_attempts: int | None = None
    after: Sequence[str] = ()
    after_failure: Literal["cancel", "run"] = "cancel"
    webhook: Webhook | None = None

    @property
    def ties(self) -> Ties | None:
        """What ties the job to others; None, as for most, where nothing does."""
        if not self.after and self.webhook is None:
            return None
        return Ties(tuple(self.after), self.after_failure, self.webhook)  # as given: a fault is named by its place


class Made(Struct, frozen=True):
    """A job that is to be stored, with its kind and the args as they were handed in."""

    job: Job
    kind: Kind
    given: Any


async def nothing_runs() -> bool:
    """Renew no lease, where no worker is."""
    return True


class Queue:
    """Every change of a job goes through here, and so does every read that must show live progress."""

    def __init__(self, store: Store, hub: Hub, kinds: Kinds, settings: Settings, files: Files) -> None:
        self.store = store
        self.hub = hub
        self.kinds = kinds
        self.settings = settings
        self.files = files
        self.forecast = Forecast(kinds, store, hub, settings.concurrency)
        self.draining = False
        #: Set by the runner: told at once of a cancellation of what may be running here.
        self.interrupt: Callable[[Job], None] = lambda _: None
        #: Set by the runner: renews the leases of what runs here; False where the store did not take it.
        self.renew: Callable[[], Awaitable[bool]] = nothing_runs
        #: Set by the runner: how many workers this process has.
        self.workers = 0

    # Callers' side

    async def submit(self, order: Order) -> Job:
        """Store a job; it is on disk when this returns. Raises ValidationFailed, UnknownKind, QueueFull, Draining."""
        self.admit()
        made = self.made(order)
        if made.kind.upload_fields:
            return (await self.keep([made], None)).jobs[0]
        return (await self.store.submit([made.job], max_waiting=self.settings.max_waiting)).jobs[0]

    async def submit_once(self, order: Order, keyed: Keyed) -> tuple[Job, bool]:
        """Store a job unless its key has made one before; return it, and whether it was there already.

        Raises the same and KeyReused, and NotFound where the job of the key was deleted.
        """
        before = await self.made_before(keyed)
        if before is not None:
            return await self.get(before[0]), True
        submitted = await self._store(order, keyed)
        return submitted.jobs[0], submitted.replayed

    async def made_before(self, keyed: Keyed) -> list[str] | None:
        """Return the ids of the jobs that a key has made, None where it is new. Raises KeyReused.

        Seen without a look at the args: what they name may be used up by now.
        """
        before = await self.store.read(lambda connection: reads.keyed(connection, keyed.caller, keyed.key))
        if before is None:
            return None
        if before[0] != keyed.fingerprint:
            raise key_reused()
        return before[1]

    async def submit_own(self, order: Order) -> Job:
        """Store a job of one of the house's own kinds."""
        return (await self._store(order, None, self.kinds.known(order.kind))).jobs[0]

    async def _store(self, order: Order, keyed: Keyed | None, kind: Kind | None = None) -> Submitted:
        self.admit()
        return await self.keep([self.made(order, kind=kind)], keyed)

    def admit(self) -> None:
        """Raise Draining where no new jobs are taken."""
        if self.draining:
            raise Draining("The server is shutting down; submit again in a moment.", headers={"Retry-After": "5"})

    async def keep(
        self,
        new: Sequence[Made],
        keyed: Keyed | None,
        batch: NewBatch | None = None,
        pointers: Sequence[str] = (),
    ) -> Submitted:
        """Store new jobs, all or none, with the uploads that their args name.

        `pointers` name the place of each in the request (RFC 6901). Raises QueueFull, KeyReused, ValidationFailed.
        """
        kept = False
        try:
            for one in new:
                await self._give_uploads(one.kind, one.job, one.given)
            submitted = await self.store.submit(
                [one.job for one in new], max_waiting=self.settings.max_waiting, keyed=keyed, batch=batch,
                pointers=pointers,
            )  # fmt: skip
            kept = not submitted.replayed
        finally:
            for one in new:
                if one.kind.upload_fields and not kept:
                    self.files.drop_job(one.job.id)
        return submitted

    async def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a job, or ask it to stop where it runs. Raises NotFound, JobFinished."""
        before, after = await self.store.cancel(job_id, reason)
        if after.state is State.CANCELLING and before is not after:
            self.interrupt(after)
        return after

    async def retry(self, job_id: str) -> Job:
        """Start a finished job over with a fresh budget of attempts. Raises NotFound, JobActive."""
        if self.draining:
            raise Draining("The server is shutting down; retry again in a moment.", headers={"Retry-After": "5"})
        return await self.store.retry(job_id)

    async def delete(self, job_id: str) -> None:
        """Purge a job with its logs and files. Raises NotFound, JobActive."""
        await self.store.delete(job_id)
        self.hub.purged(job_id)
        self.files.drop_job(job_id)

    async def prune(self, surplus: int = 0) -> int:
        """Purge some of the jobs whose time is up, and of `surplus` more; return how many, 0 at the end."""
        keys_before = self.store.clock() - self.settings.idempotency_age
        purged = await self.store.prune(surplus=surplus, keys_before=keys_before)
        for job_id in purged:
            self.hub.purged(job_id)
        await asyncio.to_thread(self.files.drop_jobs, purged)
        return len(purged)

    async def pause(self, queue: str) -> None:
        """Start no more jobs of a queue; those that run go on."""
        await self.store.rule(queue, paused=True)

    async def resume(self, queue: str) -> None:
        """Start jobs of a paused queue again."""
        await self.store.rule(queue, paused=False)

    async def limit(self, queue: str, most: int | None) -> None:
        """Let at most so many jobs of a queue run at once, over all workers; None for any number."""
        await self.store.rule(queue, max_running=most)

    async def get(self, job_id: str) -> Job:
        """Return a job with its live progress. Raises NotFound."""
        job = await self.store.read(lambda connection: reads.job(connection, job_id))
        if job is None:
            raise gone(job_id)
        return self.live(job)

    async def get_with_outlook(self, job_id: str) -> tuple[Job, Outlook]:
        """Return a job with what it may expect. Raises NotFound."""

        def query(connection: Connection) -> tuple[Job, Ahead] | None:
            job = reads.job(connection, job_id)
            return None if job is None else (job, self.forecast.look(connection, [job]))

        found = await self.store.read(query)
        if found is None:
            raise gone(job_id)
        [outlook] = self.forecast.outlooks([found[0]], found[1])
        return self.live(found[0]), outlook

    async def page(
        self, wanted: reads.Filter, *, limit: int, before: str | None = None
    ) -> tuple[list[tuple[Job, Outlook]], str | None]:
        """Return a page of jobs, newest first, and the id to go on from, or None on the last page.

        Where a search takes long, the page holds what was found until then: fewer than `limit`, and perhaps none.
        """

        def query(connection: Connection) -> tuple[list[Job], str | None, Ahead]:
            found = search.find(connection, wanted, limit=limit + 1, before=before, within=SEARCHED, thorough=True)
            page = found.jobs[:limit]
            following = page[-1].id if len(found.jobs) > limit else found.reached
            return page, following, self.forecast.look(connection, page)

        found, following, ahead = await self.store.read(query)
        outlooks = self.forecast.outlooks(found, ahead)
        page = [(self.live(job), outlook) for job, outlook in zip(found, outlooks, strict=True)]
        return page, following

    async def result(self, job_id: str) -> str | None:
        """Return a completed job's result as JSON text."""
        return await self.store.read(lambda connection: reads.result(connection, job_id))

    async def file(self, job_id: str, name: str) -> reads.File:
        """Return a file of a job. Raises NotFound."""
        found = await self.store.read(lambda connection: reads.file(connection, job_id, name))
        if found is None:
            raise NotFound(f"The job has no file {name!r}.")
        return found

    def live(self, job: Job) -> Job:
        """Return the job with the progress that is newer than the database's, and with how long it still takes."""
        if job.state not in ACTIVE:
            return job
        progress = self.hub.progress(job.id) or job.progress
        if progress is None:
            return job
        rest = self.forecast.left(job)
        return replace(job, progress=replace(progress, left=None if rest is None else Span.of(rest.spread)))

    # Workers' side

    async def claim(self, claim: Claim) -> list[Job]:
        """Wait until there is work, and start its next attempts."""
        return await self.store.claim(claim)

    async def log(self, job: Job, level: str, message: str) -> bool:
        """Keep a line of an attempt; False where the attempt has lost its job."""
        kept = await self.store.record_log(
            job.id, job.attempt, level, message, at=self.store.clock(), keep_lines=self.settings.max_log_lines
        )
        return kept is not None

    async def attach(self, job: Job, staged: Any, size: int, name: str, media_type: str) -> bool:
        """Keep staged content as a file of a job; False where the attempt has lost its job."""
        old = await self.store.read(lambda connection: reads.file(connection, job.id, name))
        path = await self.files.adopt(staged, job.id)
        file = {"name": name, "size": size, "media_type": media_type, "path": path}
        kept = await self.store.record_file(job.id, job.attempt, file, at=self.store.clock())
        if kept is None:
            self.files.drop(path)
        elif old is not None:
            self.files.drop(old.path)
        return kept is not None

    async def settle(self, job: Job, outcome: Outcome, progress: Progress | None) -> Job | None:
        """End an attempt; None where it had lost its job, and its outcome was discarded."""
        return await self.store.settle(job.id, job.attempt, outcome, progress)

    async def rescue(self, *, everyone: bool = False) -> list[Job]:
        """Take back the jobs of workers that are dead: those whose lease is over, or all."""
        error = failure("WorkerLost", "The worker that ran this attempt is gone.")
        return await self.store.rescue(error, self.delay, everyone=everyone)

    def delay(self, job: Job) -> float:
        """Return the seconds to wait after a job's present attempt has failed."""
        try:
            policy = self.kinds.known(job.kind).backoff
        except UnknownKind:
            policy = BACKOFF
        try:
            seconds = backoff(policy, max(1, job.tries))
        except Exception as error:  # a kind's own callable: it must not stop a rescue, nor the server's start
            log.error("The backoff of %s failed: %r; %g s are used", job.kind, error, BACKOFF)
            return BACKOFF
        return min(seconds, MAX_DELAY)

    def made(self, order: Order, *, kind: Kind | None = None, batch: str | None = None) -> Made:
        """Return the job that an order makes. Raises UnknownKind, ValidationFailed."""
        kind = kind or self.kinds.named(order.kind)
        args = kind.validate(order.args)
        now = self.store.clock()
        later = order.run_at is not None and order.run_at > now
        job = Job(
            id=new_id(now),
            kind=kind.name,
            args=args,
            queue=kind.queue if order.queue is None else order.queue,
            priority=kind.priority if order.priority is None else order.priority,
            tags=tuple(dict.fromkeys(order.tags)),
            state=State.SCHEDULED if later else State.QUEUED,
            max_attempts=order.max_attempts or kind.max_attempts,
            timeout=order.timeout or kind.timeout,
            created_at=now,
            run_at=order.run_at if later else None,
            batch=batch,
            ties=order.ties,
        )
        return Made(job, kind, order.args)

    async def _give_uploads(self, kind: Kind, job: Job, args: Any) -> None:
        for name in kind.upload_fields:
            upload_id = (args or {}).get(name)
            if upload_id is None:
                continue
            if not self.files.has_upload(str(upload_id)):
                detail = "There is no such upload; hand the file in with POST /v1/uploads first."
                raise ValidationFailed([{"pointer": f"/args/{name}", "detail": detail}])
            await self.files.give_upload(str(upload_id), job.id)
