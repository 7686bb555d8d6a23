"""What callers write: submit, cancel, retry, delete. Each verb serves a whole batch, with one answer for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jalebi import jobs
from jalebi.errors import JalebiError, NotFound, QueueFull
from jalebi.events import encode
from jalebi.jobs import WAITING, Job
from jalebi.store.rows import states
from jalebi.store.writer import Op, Tx


def gone(job_id: str) -> NotFound:
    """Return the error for a job that does not exist."""
    return NotFound(f"There is no job {job_id}.")


@dataclass(eq=False)
class Submit(Op):
    """Store new jobs, all or none; answers with the jobs. Raises QueueFull."""

    rank: ClassVar[int] = 10
    jobs: Sequence[Job]
    max_waiting: int

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Submit]") -> list[Any]:
        """Insert every job that still fits into its queue."""
        waiting: dict[str, int] = dict(
            tx.execute(f"SELECT queue, sum(n) FROM tally WHERE state IN {states(WAITING)} GROUP BY queue").fetchall()
        )
        answers: list[Any] = []
        fresh: list[Job] = []
        for op in ops:
            arriving = dict(waiting)
            for job in op.jobs:
                arriving[job.queue] = arriving.get(job.queue, 0) + 1
            full = next((name for name in arriving if arriving[name] > op.max_waiting and
                         arriving[name] != waiting.get(name)), None)  # fmt: skip
            if full is not None:
                detail = f"The queue {full} holds {op.max_waiting} waiting jobs, as many as it may."
                answers.append(QueueFull(detail, headers={"Retry-After": "10"}))
                continue
            waiting = arriving
            stored = [tx.announce(job, "created") for job in op.jobs]
            fresh.extend(stored)
            answers.append(stored)
        if fresh:
            tx.insert(fresh)
        tags = [(tag, job.id) for job in fresh for tag in job.tags]
        if tags:
            statement = "INSERT OR IGNORE INTO job_tag SELECT value->>0, value->>1 FROM json_each(?)"
            tx.execute(statement, encode(tags).decode())
        return answers


@dataclass(eq=False)
class Cancel(Op):
    """Cancel a job; answers with (the job before, the job after)."""

    rank: ClassVar[int] = 31
    job_id: str
    reason: str | None
    keep: float | None = None

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Cancel]") -> list[Any]:
        """Move every job that is not over."""

        def move(op: Cancel, job: Job) -> Job:
            return jobs.cancelled(job, now=tx.now, reason=op.reason, keep=op.keep)

        return _move_each(tx, ops, move)


@dataclass(eq=False)
class Retry(Op):
    """Start a finished job over; answers with (the job before, the job after)."""

    rank: ClassVar[int] = 32
    job_id: str

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Retry]") -> list[Any]:
        """Put every finished job back into line and drop its old result."""
        answers = _move_each(tx, ops, lambda _, job: jobs.retried(job))
        for op, answer in zip(ops, answers, strict=True):
            if not isinstance(answer, JalebiError):
                tx.execute("DELETE FROM result WHERE job_id = ?", op.job_id)
        return answers


def _move_each(tx: Tx, ops: Sequence[Any], move: Callable[[Any, Job], Job]) -> list[Any]:
    heads = tx.heads(list({op.job_id for op in ops}))
    answers: list[Any] = []
    for op in ops:
        before = heads.get(op.job_id)
        if before is None:
            answers.append(gone(op.job_id))
            continue
        try:
            after = move(op, before)
        except JalebiError as error:
            answers.append(error)
            continue
        if after is not before:
            after = heads[op.job_id] = tx.announce(after)
            tx.write([after])
        answers.append((before, after))
    return answers


@dataclass(eq=False)
class Delete(Op):
    """Purge a job with all that belongs to it; answers with the job as it was."""

    rank: ClassVar[int] = 33
    job_id: str

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Delete]") -> list[Any]:
        """Delete every job that is not active."""
        heads = tx.heads(list({op.job_id for op in ops}))
        answers: list[Any] = []
        for op in ops:
            job = heads.get(op.job_id)
            if job is None:
                answers.append(gone(op.job_id))
                continue
            try:
                jobs.deletable(job)
            except JalebiError as error:
                answers.append(error)
                continue
            del heads[op.job_id]
            tx.purged.add(job.id)
            tx.execute("DELETE FROM job WHERE id = ?", job.id)
            for table in ("event", "result", "file"):
                tx.execute(f"DELETE FROM {table} WHERE job_id = ?", job.id)
            for tag in job.tags:
                tx.execute("DELETE FROM job_tag WHERE tag = ? AND job_id = ?", tag, job.id)
            answers.append(job)
        return answers
