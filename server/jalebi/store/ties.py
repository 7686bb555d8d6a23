"""What follows when a job is over: jobs that waited for it start, its batch may be over too, webhooks are written."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from jalebi import jobs
from jalebi.errors import ValidationFailed
from jalebi.events import TERMINAL_TYPES, Event, batch_wire, encode, job_wire, rfc3339
from jalebi.ids import new_id
from jalebi.jobs import TERMINAL, Job, State, Webhook
from jalebi.store.deliveries import Message, outbox
from jalebi.store.rows import text
from jalebi.store.tx import Tx

_webhook = msgspec.json.Decoder(Webhook)


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch as it is submitted; `last` is the id of the job that runs when all others are over."""

    id: str
    webhook: Webhook | None = None
    last: str | None = None


@dataclass(slots=True)
class Follow:
    """What follows in the transaction in which something ends; `keep` as in `jobs.settled`, `root` for links.

    `posted` is called once messages are on disk.
    """

    epoch: str
    root: str = ""
    keep: float | None = None
    posted: Callable[[], None] = lambda: None

    def up(self, tx: Tx) -> None:
        """Go on until nothing more ends by what has ended."""
        seen = 0
        ended = dict.fromkeys(tx.purged, State.CANCELLED) | tx.over
        while True:
            over = [event for event in tx.events[seen:] if event.type in TERMINAL_TYPES]
            seen = len(tx.events)
            if not over and not ended:
                return
            ended |= {event.job.id: event.job.state for event in over}
            messages = [
                _of_job(event, self) for event in over if event.job.id not in tx.purged and _told(event.job, event.type)
            ]
            batches = dict.fromkeys(event.job.batch for event in over if event.job.batch)
            for batch in batches | dict.fromkeys(tx.shrunk):
                self._end_batch(tx, batch, ended, messages)
            tx.shrunk.clear()
            if messages:
                outbox(tx, messages)
                tx.committed.append(self.posted)
            self._release(tx, ended)
            ended = {}

    def _end_batch(self, tx: Tx, batch: str, ended: dict[str, State], messages: list[Message]) -> None:
        """Where all jobs of a batch are over, note how it ended."""
        tx.write_batches()
        counts = dict(tx.execute("SELECT state, n FROM batch_tally WHERE batch = ? AND n > 0", batch).fetchall())
        state = jobs.batch_state(counts)
        row = tx.execute("SELECT created_at, webhook, last FROM batch WHERE id = ?", batch).fetchone()
        if state not in TERMINAL or row is None:
            return
        ended[batch] = state
        hook = None if row[1] is None else _webhook.decode(row[1])
        if hook is not None and state.value in hook.events:
            data = batch_wire(batch, counts, created_at=row[0], last=row[2], root=self.root)
            body = {"type": f"batch.{state}", "timestamp": rfc3339(tx.now), "data": data}
            messages.append(_message(f"batch.{state}", hook, body, batch=batch))

    def _release(self, tx: Tx, ended: dict[str, State]) -> None:
        """Start what has waited for nothing else, and cancel what can't be any more."""
        if tx.execute("SELECT 1 FROM dependency LIMIT 1").fetchone() is None:
            return
        ids = encode(list(ended)).decode()
        # What is over waits for nothing, whatever ended it.
        tx.execute("DELETE FROM dependency WHERE job_id IN (SELECT value FROM json_each(?))", ids)
        pairs = tx.execute(
            "DELETE FROM dependency WHERE after_id IN (SELECT value FROM json_each(?)) RETURNING job_id, after_id", ids
        ).fetchall()
        met: dict[str, list[str]] = {}
        for job_id, after in pairs:
            met.setdefault(job_id, []).append(after)
        waiting = tx.heads(list(met))
        moved = [
            self._cancelled(job, failed[0], ended[failed[0]], tx)
            for job in waiting.values()
            if job.state is State.BLOCKED and (failed := _failed(job, met[job.id], ended))
        ]
        gone = {job.id for job in moved}
        rest = [job for job in waiting.values() if job.state is State.BLOCKED and job.id not in gone]
        still = tx.execute(
            "SELECT DISTINCT job_id FROM dependency WHERE job_id IN (SELECT value FROM json_each(?))",
            encode([job.id for job in rest]).decode(),
        )
        held = {row[0] for row in still}
        moved += [tx.announce(jobs.unblocked(job)) for job in rest if job.id not in held]
        tx.write(moved)

    def _cancelled(self, job: Job, after: str, state: State, tx: Tx) -> Job:
        what = "was deleted" if after in tx.purged else f"has {state}" if state is State.FAILED else "was cancelled"
        return tx.announce(
            jobs.cancelled(job, now=tx.now, reason=f"{after}, which it waited for, {what}.", keep=self.keep)
        )


def _failed(job: Job, met: Iterable[str], ended: dict[str, State]) -> list[str]:
    """Return the ids of what a job waited for in vain, none where it runs all the same."""
    if job.ties is None or job.ties.after_failure == "run":
        return []
    return [after for after in met if ended[after] is not State.COMPLETED]


def _told(job: Job, type_: str) -> bool:
    return job.ties is not None and job.ties.webhook is not None and type_ in job.ties.webhook.events


def _of_job(event: Event, follow: Follow) -> Message:
    job = event.job
    assert job.ties is not None
    assert job.ties.webhook is not None
    data = job_wire(job, root=follow.root, epoch=follow.epoch)
    body = {"type": f"job.{event.type}", "timestamp": rfc3339(event.at), "data": data}
    return _message(f"job.{event.type}", job.ties.webhook, body, job_id=job.id)


def _message(event: str, hook: Webhook, body: dict[str, Any], **about: str) -> Message:
    return Message(f"msg_{new_id()}", event, hook.url, encode(body).decode(), **about)


def tie(tx: Tx, new: Sequence[Job], pointers: Sequence[str], batch: NewBatch | None) -> list[Job]:
    """Return new jobs with the state that what they wait for leaves them, and note what they still wait for.

    Raises ValidationFailed for ids that nothing has; `pointers` name each job's place in the request (RFC 6901).
    """
    own = {job.id: State.QUEUED for job in new} | ({} if batch is None else {batch.id: State.QUEUED})
    wanted = {after for job in new if job.ties is not None for after in job.ties.after}
    known = (_states(tx, wanted - set(own)) | own) if wanted else own
    errors = [
        {"pointer": f"{pointer}/after/{index}", "detail": "There is no such job or batch."}
        for job, pointer in zip(new, pointers, strict=True)
        for index, after in enumerate(job.ties.after if job.ties is not None else ())
        if after not in known
    ]
    if errors:
        raise ValidationFailed(errors)
    tied: list[Job] = []
    waits: list[tuple[str, str]] = []
    for job in map(_once, new):
        held = [after for after in job.ties.after if not _met(job, known[after])] if job.ties is not None else []
        waits += [(after, job.id) for after in held]
        tx.over |= {after: known[after] for after in held if known[after] in TERMINAL}
        tied.append(replace(job, state=State.BLOCKED) if held else job)
    if waits:
        statement = "INSERT OR IGNORE INTO dependency SELECT value->>0, value->>1 FROM json_each(?)"
        tx.execute(statement, encode(waits).decode())
    if batch is not None:
        tx.execute(
            "INSERT INTO batch (id, created_at, number, webhook, last) VALUES (?, ?, ?, ?, ?)",
            batch.id, tx.now, tx.number, text(batch.webhook), batch.last,
        )  # fmt: skip
    return tied


def _once(job: Job) -> Job:
    """Return the job with everything that it waits for named once."""
    after = () if job.ties is None else tuple(dict.fromkeys(job.ties.after))
    return job if job.ties is None or after == job.ties.after else replace(job, ties=replace(job.ties, after=after))


def _met(job: Job, state: State) -> bool:
    runs_anyway = job.ties is not None and job.ties.after_failure == "run"
    return state is State.COMPLETED or (runs_anyway and state in TERMINAL)


def _states(tx: Tx, ids: Iterable[str]) -> dict[str, State]:
    """Return the states of the jobs and batches of these ids that exist."""
    listed = encode(list(ids)).decode()
    found = tx.execute("SELECT j.id, j.state FROM json_each(?) AS v CROSS JOIN job AS j ON j.id = v.value", listed)
    known = {job_id: State(state) for job_id, state in found.fetchall()}
    counts: dict[str, dict[str, int]] = {}
    tx.write_batches()
    rows = tx.execute(
        "SELECT t.batch, t.state, t.n FROM json_each(?) AS v CROSS JOIN batch_tally AS t ON t.batch = v.value "
        "WHERE t.n > 0", listed,
    )  # fmt: skip
    for batch, state, n in rows.fetchall():
        counts.setdefault(batch, {})[state] = n
    return known | {batch: jobs.batch_state(of) for batch, of in counts.items()}
