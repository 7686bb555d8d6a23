"""Storing new jobs: all or none, as far as their queues have room, and once for each idempotency key."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from msgspec import Struct

from jalebi.errors import JalebiError, KeyReused, NotFound, QueueFull, ValidationFailed
from jalebi.events import encode
from jalebi.jobs import Job
from jalebi.store import packed
from jalebi.store.ties import NewBatch, tie
from jalebi.store.tx import Op, Tx


def gone(job_id: str) -> NotFound:
    """Return the error for a job that does not exist."""
    return NotFound(f"There is no job {job_id}.")


class Keyed(Struct, frozen=True):
    """An idempotency key as a caller has sent it, with the fingerprint of the request that it stands for."""

    caller: str
    key: str
    fingerprint: str


class Submitted(Struct, frozen=True):
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
        if all(op.keyed is None for op in ops):
            return cls._insert(tx, ops)
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
        arrived: Counter[str] = Counter()
        answers: list[Any] = []
        fresh: list[Job] = []
        for op in ops:
            coming = op._coming()
            full = next((name for name, n in coming.items() if
                         tx.tally.waiting(name) + arrived[name] + n > op.max_waiting), None)  # fmt: skip
            if full is not None:
                detail = f"The queue {full} holds {op.max_waiting} waiting jobs, as many as it may."
                answers.append(QueueFull(detail, headers={"Retry-After": "10"}))
                continue
            try:
                stored = [tx.announce(job, "created") for job in op._tied(tx)]
            except ValidationFailed as refused:
                answers.append(refused)
                continue
            arrived.update(coming)
            fresh.extend(stored)
            answers.append(Submitted(stored))
        tx.insert([job for job in fresh if job.ties is not None or job.batch is not None])
        # What else follows may bring others into line before these: it is not yet known whether they start at once.
        tx.arrange([job for job in fresh if job.ties is None and job.batch is None])
        _keep_keys(tx, ops, answers)
        tags = [(tag, job.id) for job in fresh if job.tags for tag in job.tags]
        packed.insert(tx.connection, "OR IGNORE INTO job_tag", packed.columns_of(("tag", "job_id"), tags))
        return answers

    def _coming(self) -> Mapping[str, int]:
        """Return how many jobs come into each queue."""
        return {self.jobs[0].queue: 1} if len(self.jobs) == 1 else Counter(job.queue for job in self.jobs)

    def _tied(self, tx: Tx) -> Sequence[Job]:
        if self.batch is None and all(job.ties is None for job in self.jobs):
            return self.jobs
        return tie(tx, self.jobs, self.pointers or [""] * len(self.jobs), self.batch)


def _keep_keys(tx: Tx, ops: Sequence[Submit], answers: Sequence[Any]) -> None:
    rows = [
        (op.keyed.caller, op.keyed.key, op.keyed.fingerprint, encode([job.id for job in answer.jobs]).decode(), tx.now)
        for op, answer in zip(ops, answers, strict=True)
        if op.keyed is not None and isinstance(answer, Submitted)
    ]
    columns = ("caller", "key", "fingerprint", "jobs", "at")
    packed.insert(tx.connection, "INTO idempotency", packed.columns_of(columns, rows))


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
