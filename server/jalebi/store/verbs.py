"""What callers write: submit, cancel, retry, delete. Each verb serves a whole batch, with one answer for each."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from jalebi import jobs
from jalebi.errors import JalebiError
from jalebi.events import encode
from jalebi.jobs import TERMINAL, Job, State
from jalebi.store import faults
from jalebi.store.rows import states
from jalebi.store.submissions import gone
from jalebi.store.tx import Op, Tx

#: Seconds for which the figures behind the rates are kept.
PULSE_AGE: Final = 8 * 86400.0
#: Seconds after which a group of errors is forgotten that nobody has seen and no job stands failed with.
FAULT_AGE: Final = 30 * 86400.0


@dataclass(eq=False)
class Prune(Op):
    """Purge the oldest of the jobs that are over: those whose time is up, and `surplus` more whatever their time.

    Answers with the ids. A transaction takes jobs with about `EVENTS` events together, so that nobody waits long for
    it; idempotency keys from before `keys_before` (Unix seconds) and old figures of the charts go too.
    """

    EVENTS: ClassVar[int] = 100
    rank: ClassVar[int] = 40
    essential: ClassVar[bool] = True
    surplus: int
    keys_before: float

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Prune]") -> list[Any]:
        """Delete the jobs with all that belongs to them; the highest number of their events becomes the floor."""
        return [op._purge(tx) for op in ops]

    def _purge(self, tx: Tx) -> list[str]:
        tx.execute(
            "DELETE FROM idempotency WHERE (caller, key) IN "
            "(SELECT caller, key FROM idempotency WHERE at < ? ORDER BY at LIMIT ?)",
            self.keys_before, self.EVENTS,
        )  # fmt: skip
        tx.execute("DELETE FROM pulse WHERE second < ?", int(tx.now - PULSE_AGE))
        faults.forget(tx.connection, tx.now - FAULT_AGE)
        rows = tx.execute(
            "SELECT id, tags, seq, cursor, expires_at FROM job INDEXED BY job_expires WHERE expires_at IS NOT NULL "
            "ORDER BY expires_at LIMIT ?",
            self.EVENTS,
        ).fetchall()  # fmt: skip
        chosen: list[Any] = []
        events = 0
        for row in rows:
            if (row[4] > tx.now and len(chosen) >= self.surplus) or events >= self.EVENTS:
                break
            chosen.append(row)
            events += row[2]
        if not chosen:
            return []
        ids = [row[0] for row in chosen]
        purge(tx, ids, [(tag, row[0]) for row in chosen for tag in json.loads(row[1])])
        floor = max(row[3] for row in chosen)
        tx.execute("UPDATE meta SET value = ? WHERE name = 'floor' AND CAST(value AS INTEGER) < ?", str(floor), floor)
        return ids


def purge(tx: Tx, ids: Sequence[str], tags: Sequence[tuple[str, str]]) -> None:
    """Delete jobs with all that belongs to them."""
    tx.purged.update(ids)
    listed = encode(ids).decode()
    batches = tx.execute(_BATCHES_OF, listed).fetchall()
    tx.shrunk.update(batch for batch, was_open in batches if was_open)
    gone = tx.execute(_COUNTS_OF, listed).fetchall()
    tx.tally.went((queue, kind, state, n) for queue, kind, state, _, n in gone)
    for _, _, state, batch, n in gone:
        if batch is not None:
            tx.shrink(batch, state, n)
    tx.write_batches()
    tx.execute("DELETE FROM job WHERE id IN (SELECT value FROM json_each(?))", listed)
    tx.changed_aside(ids)
    tx.execute(
        "DELETE FROM delivery_try WHERE delivery_id IN "
        "(SELECT id FROM delivery WHERE job_id IN (SELECT value FROM json_each(?)))", listed,
    )  # fmt: skip
    for table in ("event", "result", "file", "delivery"):
        tx.execute(f"DELETE FROM {table} WHERE job_id IN (SELECT value FROM json_each(?))", listed)
    for batch, _ in batches:
        _forget_batch(tx, batch)
    if tags:
        statement = "DELETE FROM job_tag WHERE (tag, job_id) IN (SELECT value->>0, value->>1 FROM json_each(?))"
        tx.execute(statement, encode(tags).decode())


_BATCHES_OF: Final = (
    f"SELECT batch, max(state NOT IN {states(TERMINAL)}) FROM job "
    "WHERE id IN (SELECT value FROM json_each(?)) AND batch IS NOT NULL GROUP BY batch"
)


_COUNTS_OF: Final = (
    "SELECT queue, kind, state, batch, count(*) FROM job WHERE id IN (SELECT value FROM json_each(?)) "
    "GROUP BY queue, kind, state, batch"
)


def _forget_batch(tx: Tx, batch: str) -> None:
    """Delete a batch where none of its jobs is left."""
    if tx.execute("SELECT 1 FROM batch_tally WHERE batch = ? AND n > 0 LIMIT 1", batch).fetchone() is not None:
        return
    tx.execute("DELETE FROM delivery_try WHERE delivery_id IN (SELECT id FROM delivery WHERE batch = ?)", batch)
    for table, column in (("delivery", "batch"), ("batch_tally", "batch"), ("batch", "id")):
        tx.execute(f"DELETE FROM {table} WHERE {column} = ?", batch)
    tx.over[batch] = State.CANCELLED  # for those that wait for it


@dataclass(eq=False)
class Cancel(Op):
    """Cancel a job; answers with (the job before, the job after)."""

    rank: ClassVar[int] = 31
    essential: ClassVar[bool] = True
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
                tx.execute("UPDATE job SET fingerprint = NULL WHERE id = ? AND fingerprint IS NOT NULL", op.job_id)
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
    essential: ClassVar[bool] = True
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
            purge(tx, [job.id], [(tag, job.id) for tag in job.tags])
            answers.append(job)
        return answers
