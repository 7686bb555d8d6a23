"""Every write of the store as a verb: what it takes, what it answers, what may go wrong; each is one transaction."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from jalebi.errors import StorageUnavailable
from jalebi.jobs import Job, Outcome, Progress
from jalebi.store import attempts, deliveries, keys, lines, submissions, ties, verbs
from jalebi.store.trends import Gathered, RecordTrends
from jalebi.store.tx import Op


class Writes:
    """The verbs, whatever the database. Each returns once its transaction is on disk, with its events."""

    clock: Callable[[], float]
    keep: float | None  # seconds for which a job that is over is kept; None: for ever
    posted: Callable[[], None]  # told from the writer's thread that messages are due
    _gathered: Gathered  # for the charts

    def _put(self, op: Op) -> "asyncio.Future[Any]":
        """Hand in an operation; the future is answered after its commit."""
        raise NotImplementedError

    async def submit(
        self,
        jobs: Sequence[Job],
        *,
        max_waiting: int,
        keyed: submissions.Keyed | None = None,
        batch: ties.NewBatch | None = None,
        pointers: Sequence[str] = (),
    ) -> submissions.Submitted:
        """Store new jobs, all or none, and those of one key once.

        `pointers` name the place of each in the request. Raises QueueFull, KeyReused, NotFound, ValidationFailed.
        """
        op = submissions.Submit(jobs, max_waiting, keyed, batch, pointers)
        submitted: submissions.Submitted = await self._put(op)
        return submitted

    async def prune(self, *, surplus: int, keys_before: float) -> list[str]:
        """Purge some of the jobs whose time is up, and of `surplus` more; return their ids, none at the end."""
        purged: list[str] = await self._put(verbs.Prune(surplus, keys_before))
        return purged

    async def claim(self, claim: attempts.Claim) -> list[Job]:
        """Wait until there is work, and start its next attempts."""
        started: list[Job] = await self._put(claim)
        return started

    async def record_log(
        self, job_id: str, attempt: int, level: str, message: str, *, at: float, keep_lines: int
    ) -> Job | None:
        """Store a log line of an attempt; None where the attempt no longer holds the job."""
        line = {"level": level, "message": message}
        job: Job | None = await self._put(attempts.RecordFenced(job_id, attempt, at, log=line, keep_lines=keep_lines))
        return job

    async def record_file(self, job_id: str, attempt: int, file: Mapping[str, Any], *, at: float) -> Job | None:
        """Store that a file (name, size, media_type, path) was attached; None for an attempt that lost its job."""
        job: Job | None = await self._put(attempts.RecordFenced(job_id, attempt, at, file=file))
        return job

    async def save_progress(self, job_id: str, attempt: int, progress: Progress) -> None:
        """Store an attempt's newest position."""
        await self._put(attempts.ProgressFenced(job_id, attempt, progress))

    async def record_receipt(
        self, job_id: str, attempt: int, step: Literal["delivered", "acknowledged"], *, at: float
    ) -> None:
        """Store when the cancellation of an attempt was delivered to it, or acknowledged by its code."""
        await self._put(attempts.ReceiptFenced(job_id, attempt, step, at))

    async def renew(self, running: Sequence[tuple[str, int]], lease: float) -> list[Job]:
        """Renew the leases; return the jobs whose attempt still holds."""
        held: list[Job] = await self._put(attempts.RenewFenced(running, lease))
        return held

    async def settle(self, job_id: str, attempt: int, outcome: Outcome, progress: Progress | None) -> Job | None:
        """End an attempt; None where it had lost its job, and nothing was changed."""
        job: Job | None = await self._put(attempts.SettleFenced(job_id, attempt, outcome, progress, self.keep))
        return job

    async def cancel(self, job_id: str, reason: str | None) -> tuple[Job, Job]:
        """Cancel a job; return it before and after. Raises NotFound, JobFinished."""
        moved: tuple[Job, Job] = await self._put(verbs.Cancel(job_id, reason, self.keep))
        return moved

    async def retry(self, job_id: str) -> Job:
        """Start a finished job over. Raises NotFound, JobActive."""
        moved: tuple[Job, Job] = await self._put(verbs.Retry(job_id))
        return moved[1]

    async def delete(self, job_id: str) -> Job:
        """Purge a job. Raises NotFound, JobActive."""
        job: Job = await self._put(verbs.Delete(job_id))
        return job

    async def rescue(
        self, error: Mapping[str, Any], delay: Callable[[Job], float], *, everyone: bool = False
    ) -> list[Job]:
        """Settle the attempts whose lease is over as crashed; `everyone` says that all workers are known dead."""
        rescued: list[Job] = []
        while True:
            page: list[Job] = await self._put(attempts.Rescue(error, delay, everyone, self.keep))
            rescued.extend(page)
            if len(page) < attempts.PAGE:
                return rescued

    async def rule(
        self, queue: str, *, paused: bool | None = None, max_running: int | Literal["same"] | None = "same"
    ) -> None:
        """Pause a queue or let it go on, and limit how many of its jobs run at once (None: no limit)."""
        unchanged = lines.Rule.UNCHANGED
        limit = unchanged if max_running == "same" else max_running
        await self._put(lines.Rule(queue, unchanged if paused is None else paused, limit))

    async def record_trends(self, *, everything: bool = False) -> None:
        """Write what the charts show of the steps that are over; while the storage takes nothing, they wait."""
        now = self.clock()
        steps = self._gathered.take(now + 3600.0 if everything else now)
        try:
            await self._put(RecordTrends(steps))
        except StorageUnavailable:  # which the store has told of itself
            self._gathered.give_back(steps, now)

    async def record_try(
        self,
        delivery: deliveries.Delivery,
        *,
        seconds: float,
        status: int | None,
        error: str | None,
        answer: str | None,
        state: str,
        next_at: float,
    ) -> bool:
        """Write down a try to deliver a message as it was then; False where it was handed in again meanwhile."""
        became: bool = await self._put(
            deliveries.RecordTry(
                delivery.id, delivery.tries, delivery.next_at, seconds, status, error, answer, state, next_at
            )
        )
        return became

    async def redeliver(self, about: str, delivery_id: str) -> None:
        """Hand a message about a job or a batch in again. Raises NotFound."""
        await self._put(deliveries.Redeliver(about, delivery_id))
        self.posted()

    async def add_endpoint(self, endpoint: deliveries.Endpoint) -> None:
        """Store an endpoint. Raises ValidationFailed where its URL has one."""
        await self._put(deliveries.AddEndpoint(endpoint))

    async def rotate_endpoint(self, endpoint_id: str, secret: str, overlap: float) -> deliveries.Endpoint:
        """Give an endpoint a new secret; the old one signs too for `overlap` seconds. Raises NotFound."""
        rotated: deliveries.Endpoint = await self._put(deliveries.RotateEndpoint(endpoint_id, secret, overlap))
        return rotated

    async def remove_endpoint(self, endpoint_id: str) -> None:
        """Forget an endpoint. Raises NotFound."""
        await self._put(deliveries.RemoveEndpoint(endpoint_id))

    async def own_key(self, name: str) -> bytes:
        """Return a key that this installation keeps for itself, made at its first use."""
        key: bytes = await self._put(keys.OwnKey(name))
        return key

    async def nudge(self) -> None:
        """Let a waiting claim look again."""
        await self._put(attempts.Nudge())
