"""The writes that the machine can make: how each is asked of the store, and what it must do to the model."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jalebi.errors import JobActive, JobFinished, KeyReused, NotFound, QueueFull, StorageUnavailable, ValidationFailed
from jalebi.jobs import Failed, Job, Outcome, Progress, Ties
from jalebi.store import Store, attempts, submissions, verbs
from jalebi.store.tx import Op, Tx
from tests.faults.model import ACTIVE, LOST, TERMINAL, Known, Model


def seen(answer: Any) -> Any:
    """Return an answer of the store in the words of the model."""
    match answer:
        case submissions.Submitted():
            return [seen(job) for job in answer.jobs], answer.replayed
        case Job():
            return answer.id, answer.state.value, answer.attempt, answer.seq
        case list():
            return [seen(one) for one in answer]
        case tuple():
            return tuple(seen(one) for one in answer)
        case BaseException():
            return type(answer)
    return answer


class Step:
    """One write: how it is asked of the store, and what it does to the model, which returns the answer expected."""

    rank: ClassVar[int]

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        raise NotImplementedError

    def apply(self, model: Model) -> Any:
        raise NotImplementedError


@dataclass
class Submit(Step):
    rank = submissions.Submit.rank
    jobs: Sequence[Job]
    max_waiting: int
    key: str | None = None
    fingerprint: str = ""

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        keyed = None if self.key is None else submissions.Keyed("me", self.key, self.fingerprint)
        return store.submit(self.jobs, max_waiting=self.max_waiting, keyed=keyed)

    def apply(self, model: Model) -> Any:
        if self.key in model.refused:
            fingerprint, refusal = model.refused[self.key]
            return refusal if fingerprint == self.fingerprint else KeyReused
        if self.key in model.keys:
            fingerprint, ids, _ = model.keys[self.key]
            if fingerprint != self.fingerprint:
                return KeyReused
            return ([model.jobs[one].head for one in ids], True) if model.jobs.keys() >= set(ids) else NotFound
        for queue in {job.queue for job in self.jobs}:
            if model.waiting(queue) + sum(job.queue == queue for job in self.jobs) > self.max_waiting:
                return self.refused(model, QueueFull)
        after = [] if self.ties is None else list(self.ties.after)
        if not model.jobs.keys() >= set(after):
            return self.refused(model, ValidationFailed)
        anyway = self.ties is not None and self.ties.after_failure == "run"
        unmet = {one for one in after if not self.met(model.jobs[one].state, anyway)}
        model.ended |= {one: model.jobs[one].state for one in unmet if model.jobs[one].state in TERMINAL}
        heads = []
        if self.key is not None:
            model.keys[self.key] = (self.fingerprint, [job.id for job in self.jobs], model.now)
        for job in self.jobs:
            known = Known(job.id, job.kind, job.queue, job.priority, job.max_attempts, job.state.value, job.run_at)
            known.waits, known.anyway = set(unmet), anyway
            known.state = "blocked" if unmet else known.state
            known.say("created")
            model.jobs[job.id] = known
            heads.append(known.head)
        return heads, False

    @property
    def ties(self) -> Ties | None:
        return self.jobs[0].ties

    def refused(self, model: Model, refusal: type) -> type:
        if self.key is not None:
            model.refused[self.key] = self.fingerprint, refusal
        return refusal

    @staticmethod
    def met(state: str, anyway: bool) -> bool:
        return state == "completed" or (anyway and state in TERMINAL)


@dataclass
class Report(Step):
    """A log line, or a file."""

    rank = attempts.RecordFenced.rank
    job_id: str
    attempt: int
    file: str | None
    size: int

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        if self.file is None:
            return store.record_log(self.job_id, self.attempt, "info", "stirred", at=store.clock(), keep_lines=1000)
        file = {"name": self.file, "size": self.size, "media_type": "text/plain", "path": f"{self.job_id}/x"}
        return store.record_file(self.job_id, self.attempt, file, at=store.clock())

    def apply(self, model: Model) -> Any:
        if (job := model.held(self.job_id, self.attempt)) is None:
            return None
        job.say("log" if self.file is None else "file")
        if self.file is not None:
            job.files[self.file] = self.size
        return job.head


@dataclass
class Position(Step):
    rank = attempts.ProgressFenced.rank
    job_id: str
    attempt: int
    done: float

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.save_progress(self.job_id, self.attempt, Progress(done=self.done, total=100.0))

    def apply(self, model: Model) -> Any:
        if (job := model.held(self.job_id, self.attempt)) is not None:
            job.done = self.done


@dataclass
class Receipt(Step):
    """The cancellation was delivered to the attempt, or acknowledged by its code."""

    rank = attempts.ReceiptFenced.rank
    job_id: str
    attempt: int
    what: Literal["delivered", "acknowledged"]

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.record_receipt(self.job_id, self.attempt, self.what, at=store.clock())

    def apply(self, model: Model) -> Any:
        if (job := model.held(self.job_id, self.attempt)) is not None and job.state == "cancelling":
            job.receipts[f"{self.what}_at"] = model.now


@dataclass
class Renew(Step):
    rank = attempts.RenewFenced.rank
    held: Sequence[tuple[str, int]]
    lease: float

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.renew(self.held, self.lease)

    def apply(self, model: Model) -> Any:
        kept = [job for pair in self.held if (job := model.held(*pair)) is not None]
        for job in kept:
            job.lease_until = model.steady + self.lease
        return [job.head for job in kept]


@dataclass
class Settle(Step):
    rank = attempts.SettleFenced.rank
    job_id: str
    attempt: int
    outcome: Outcome
    done: float | None

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        progress = None if self.done is None else Progress(done=self.done)
        return store.settle(self.job_id, self.attempt, self.outcome, progress)

    def apply(self, model: Model) -> Any:
        if (job := model.held(self.job_id, self.attempt)) is None:
            return None
        model.end(job, self.outcome, self.done)
        return job.head


@dataclass
class Cancel(Step):
    rank = verbs.Cancel.rank
    job_id: str
    reason: str | None

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.cancel(self.job_id, self.reason)

    def apply(self, model: Model) -> Any:
        if (job := model.jobs.get(self.job_id)) is None:
            return NotFound
        before = job.head
        if job.state in {"completed", "failed"}:
            return JobFinished
        if job.state not in {"cancelled", "cancelling"}:
            if job.state == "running":
                job.move("cancelling")
                job.receipts = {"requested_at": model.now}
            else:
                model.over(job, "cancelled")
                job.run_at = None
                job.receipts = {"requested_at": model.now, "stopped_at": model.now}
            if self.reason is not None:
                job.error = ("Cancelled", None)
        return before, job.head


@dataclass
class Retry(Step):
    rank = verbs.Retry.rank
    job_id: str

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.retry(self.job_id)

    def apply(self, model: Model) -> Any:
        if (job := model.jobs.get(self.job_id)) is None:
            return NotFound
        if job.state not in TERMINAL:
            return JobActive
        job.move("queued")
        job.tries, job.result, job.error, job.done, job.receipts = 0, None, None, None, {}
        job.finished_at = job.expires_at = None
        return job.head


@dataclass
class Delete(Step):
    rank = verbs.Delete.rank
    job_id: str

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.delete(self.job_id)

    def apply(self, model: Model) -> Any:
        if (job := model.jobs.get(self.job_id)) is None:
            return NotFound
        if job.state in ACTIVE:
            return JobActive
        del model.jobs[self.job_id]
        model.ended.setdefault(self.job_id, "deleted")
        return job.head


@dataclass
class Prune(Step):
    """The retention: what has expired goes, and some more of what is over; so do old idempotency keys."""

    rank = verbs.Prune.rank
    surplus: int
    key_age: float

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        return store.prune(surplus=self.surplus, keys_before=store.clock() - self.key_age)

    def apply(self, model: Model) -> Any:
        model.keys = {key: kept for key, kept in model.keys.items() if kept[2] >= model.now - self.key_age}
        over = [(job.expires_at, job.id) for job in model.jobs.values() if job.expires_at is not None]
        over.sort(key=lambda one: one[0])
        purged = [job_id for place, (at, job_id) in enumerate(over) if at <= model.now or place < self.surplus]
        for job_id in purged:
            del model.jobs[job_id]
            model.ended.setdefault(job_id, "deleted")
        model.pruned.update(purged)
        return purged


@dataclass
class Rescue(Step):
    rank = attempts.Rescue.rank
    everyone: bool
    delay: float

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        async def rescue() -> list[Job]:
            found = await store.rescue(LOST, lambda _: self.delay, everyone=self.everyone)
            return sorted(found, key=lambda job: job.id)

        return rescue()

    def apply(self, model: Model) -> Any:
        lost = [
            job
            for _, job in sorted(model.jobs.items())
            if job.lease_until is not None and (self.everyone or job.lease_until < model.steady)
        ]
        for job in lost:
            model.end(job, Failed(LOST, delay=self.delay))
        return [job.head for job in lost]


class OperationalError(Exception):
    """The name under which a database says that a write failed."""


@dataclass(eq=False)
class _Raise(Op):
    rank: ClassVar[int] = 80

    @classmethod
    def run(cls, tx: Tx, ops: Sequence[Any]) -> list[Any]:
        raise OperationalError("disk I/O error")


class Poison(Step):
    """A write that breaks the transaction it is in; all others of it must come out as if it had not been there."""

    rank = _Raise.rank

    def put(self, store: Store) -> Coroutine[Any, Any, Any]:
        async def broken() -> None:
            await store._put(_Raise())

        return broken()

    def apply(self, model: Model) -> Any:
        return StorageUnavailable


async def answers(store: Store, steps: Sequence[Step]) -> list[Any]:
    """Ask for all the writes within one turn of the loop, so that they share a transaction; return the answers."""
    asked = [asyncio.ensure_future(step.put(store)) for step in steps]
    async with asyncio.timeout(30):
        return await asyncio.gather(*asked, return_exceptions=True)
