"""What callers write: submit, cancel, retry, delete. Each verb serves a whole batch, with one answer for each."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from jalebi import jobs
from jalebi.errors import JalebiError, KeyReused, NotFound, QueueFull, ValidationFailed
from jalebi.events import encode
from jalebi.jobs import TERMINAL, WAITING, Job, State
from jalebi.store import faults
from jalebi.store.rows import states
from jalebi.store.ties import NewBatch, tie
from jalebi.store.writer import Op, Tx

#: Seconds for which the figures behind the rates are kept.
PULSE_AGE: Final = 8 * 86400.0
#: Seconds after which a group of errors is forgotten that nobody has seen and no job stands failed with.
FAULT_AGE: Final = 30 * 86400.0


def gone(job_id: str) -> NotFound:
    """Return the error for a job that does not exist."""
    return NotFound(f"There is no job {job_id}.")


@dataclass(frozen=True, slots=True)
class Keyed:
    """An idempotency key as a caller has sent it, with the fingerprint of the request that it stands for."""

    caller: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """The jobs that a submission has made, or had made before where it was `replayed`."""

    jobs: Sequence[Job]
    replayed: bool = False


@dataclass(eq=False)
class Submit(Op):
    """Store new jobs, all or none; answers with Submitted. Raises QueueFull, KeyReused, NotFound for a replay of jobs
    that were deleted, and ValidationFailed where a job waits for what is not there.

    A key is stored in the transaction of its jobs, so neither is ever there without the other.
    """

    rank: ClassVar[int] = 10
    jobs: Sequence[Job]
    max_waiting: int
    keyed: Keyed | None = None
    batch: NewBatch | None = None
    pointers: Sequence[str] = ()

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Submit]") -> list[Any]:
        """Insert every job that still fits into its queue and was not submitted before."""
        known = _known(tx, [op.keyed for op in ops if op.keyed is not None])
        firsts: list[Submit] = []
        for op in ops:
            if op.keyed is None or (op.keyed.caller, op.keyed.key) not in known:
                firsts.append(op)
                if op.keyed is not None:
                    known[op.keyed.caller, op.keyed.key] = (op.keyed.fingerprint, [job.id for job in op.jobs])
        stored = dict(zip(map(id, firsts), cls._insert(tx, firsts), strict=True))
        full = {
            (op.keyed.caller, op.keyed.key): stored[id(op)]
            for op in firsts
            if op.keyed is not None and isinstance(stored[id(op)], JalebiError)
        }
        return [stored[id(op)] if id(op) in stored else _replay(tx, op.keyed, known, full) for op in ops]

    @classmethod
    def _insert(cls, tx: Tx, ops: "Sequence[Submit]") -> list[Any]:
        waiting: dict[str, int] = dict(
            tx.execute(f"SELECT queue, sum(n) FROM tally WHERE state IN {states(WAITING)} GROUP BY queue").fetchall()
        )
        answers: list[Any] = []
        fresh: list[Job] = []
        keys: list[tuple[str, str, str, list[str]]] = []
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
            try:
                new = op._tied(tx)
            except ValidationFailed as refused:
                answers.append(refused)
                continue
            waiting = arriving
            stored = [tx.announce(job, "created") for job in new]
            fresh.extend(stored)
            answers.append(Submitted(stored))
            if op.keyed is not None:
                keys.append((op.keyed.caller, op.keyed.key, op.keyed.fingerprint, [job.id for job in stored]))
        if fresh:
            tx.insert(fresh)
        if keys:
            tx.execute(_KEYS, tx.now, encode(keys).decode())
        tags = [(tag, job.id) for job in fresh for tag in job.tags]
        if tags:
            statement = "INSERT OR IGNORE INTO job_tag SELECT value->>0, value->>1 FROM json_each(?)"
            tx.execute(statement, encode(tags).decode())
        return answers

    def _tied(self, tx: Tx) -> Sequence[Job]:
        if self.batch is None and all(job.ties is None for job in self.jobs):
            return self.jobs
        return tie(tx, self.jobs, self.pointers or [""] * len(self.jobs), self.batch)


_KEYS: Final = (
    "INSERT INTO idempotency (caller, key, fingerprint, jobs, at) "
    "SELECT value->>0, value->>1, value->>2, value->>3, ? FROM json_each(?)"
)


def _known(tx: Tx, keyed: Sequence[Keyed]) -> dict[tuple[str, str], tuple[str, list[str]]]:
    if not keyed:
        return {}
    rows = tx.execute(
        "SELECT k.caller, k.key, k.fingerprint, k.jobs FROM json_each(?) AS v CROSS JOIN idempotency AS k "
        "ON k.caller = v.value->>0 AND k.key = v.value->>1",
        encode([(one.caller, one.key) for one in keyed]).decode(),
    )
    return {(caller, key): (fingerprint, json.loads(jobs)) for caller, key, fingerprint, jobs in rows}


def _replay(
    tx: Tx,
    keyed: Keyed | None,
    known: Mapping[tuple[str, str], tuple[str, list[str]]],
    full: Mapping[tuple[str, str], JalebiError],
) -> Any:
    assert keyed is not None
    fingerprint, ids = known[keyed.caller, keyed.key]
    if fingerprint != keyed.fingerprint:
        return key_reused()
    if (refused := full.get((keyed.caller, keyed.key))) is not None:  # its twin in this transaction
        return refused
    heads = tx.heads(ids)
    gone_ids = [job_id for job_id in ids if job_id not in heads]
    return gone(gone_ids[0]) if gone_ids else Submitted([heads[job_id] for job_id in ids], replayed=True)


def key_reused() -> KeyReused:
    """Return the error for a key that stands for another request."""
    return KeyReused("The Idempotency-Key was sent before, with another request; choose a new one for this one.")


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
    tx.execute("DELETE FROM job WHERE id IN (SELECT value FROM json_each(?))", listed)
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
