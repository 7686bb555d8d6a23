"""What a worker writes: claims, and the fenced writes of attempts. Each verb serves a whole batch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from msgspec.structs import replace

from jalebi import jobs
from jalebi.events import encode
from jalebi.jobs import ACTIVE, Completed, Failed, Job, Outcome, Progress, State
from jalebi.store.rows import states, text
from jalebi.store.tx import PARKED, Op, Tx

PAGE: Final = 500
#: Lines up to which each is looked at by itself; of more, all jobs are gone through in their common order.
FEW_LINES: Final = 64
_ACTIVE: Final = states(ACTIVE)
_Ready = tuple[int, str, str, str]


@dataclass(eq=False)
class Fenced(Op):
    """A write of an attempt; it is refused (answer None) once the attempt is no longer the job's current one."""

    job_id: str
    attempt: int

    @classmethod
    def current(cls, tx: Tx, ops: "Sequence[Fenced]") -> dict[str, Job]:
        """Return the jobs by id, as far as they are active."""
        heads = tx.heads(list({op.job_id for op in ops}))
        return {job_id: job for job_id, job in heads.items() if job.state in ACTIVE}

    def holds(self, job: Job | None) -> bool:
        """Whether `job` is still run by this attempt."""
        return job is not None and job.attempt == self.attempt


@dataclass(eq=False)
class RecordFenced(Fenced):
    """Store a log line or a file of an attempt, with its event; answers with the job, or None for a zombie."""

    rank: ClassVar[int] = 20
    at: float
    log: Mapping[str, str] | None = None  # level, message
    file: Mapping[str, Any] | None = None  # name, size, media_type, path
    keep_lines: int = 10_000

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[RecordFenced]") -> list[Any]:
        """Number and store the lines and files in the order in which they came."""
        heads = cls.current(tx, ops)
        lines: dict[str, int] = {}
        touched: dict[str, Job] = {}
        answers: list[Any] = []
        for op in ops:
            job = heads.get(op.job_id)
            if job is None or not op.holds(job):
                answers.append(None)
                continue
            job = replace(job, seq=job.seq + 1)
            if op.log is not None:
                line = op._next_line(tx, lines)
                job = tx.announce(job, "log", {"log": {"line": line, **op.log}})
            elif op.file is not None:
                shown = {key: op.file[key] for key in ("name", "size", "media_type")}
                job = tx.announce(job, "file", {"file": shown})
                op._store_file(tx)
            heads[job.id] = touched[job.id] = job
            answers.append(job)
        tx.write(list(touched.values()))
        return answers

    def _next_line(self, tx: Tx, lines: dict[str, int]) -> int:
        if self.job_id not in lines:
            newest = tx.execute("SELECT max(line) FROM event WHERE job_id = ? AND line IS NOT NULL", self.job_id)
            lines[self.job_id] = newest.fetchone()[0] or 0
        lines[self.job_id] += 1
        line = lines[self.job_id]
        if line > self.keep_lines and line % 100 == 0:
            # The oldest lines lose their text; their events stay, so that no number is ever missing.
            tx.execute(
                "UPDATE event SET body = NULL WHERE job_id = ? AND line <= ? AND line > ? AND body IS NOT NULL",
                self.job_id, line - self.keep_lines, line - self.keep_lines - 200,
            )  # fmt: skip
        return line

    def _store_file(self, tx: Tx) -> None:
        assert self.file is not None
        tx.execute(
            "INSERT OR REPLACE INTO file (job_id, name, size, media_type, path, at) VALUES (?, ?, ?, ?, ?, ?)",
            self.job_id, self.file["name"], self.file["size"], self.file["media_type"], self.file["path"], self.at,
        )  # fmt: skip


@dataclass(eq=False)
class ProgressFenced(Fenced):
    """Store an attempt's newest position; it is no event."""

    rank: ClassVar[int] = 21
    progress: Progress

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[ProgressFenced]") -> list[Any]:
        """Write all positions by one statement."""
        rows = [(op.job_id, op.attempt, text(op.progress)) for op in ops]
        tx.execute(
            "UPDATE job SET progress = v.progress FROM "
            "(SELECT value->>0 AS id, value->>1 AS attempt, value->>2 AS progress FROM json_each(?)) AS v "
            "WHERE job.id = v.id AND job.attempt = v.attempt "
            f"AND job.state IN {_ACTIVE}",
            encode(rows).decode(),
        )
        tx.changed_aside([op.job_id for op in ops])
        return [None] * len(ops)


@dataclass(eq=False)
class ReceiptFenced(Fenced):
    """Store when the cancellation of an attempt was delivered or acknowledged (Unix seconds); it is no event."""

    rank: ClassVar[int] = 23
    step: Literal["delivered", "acknowledged"]
    at: float

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[ReceiptFenced]") -> list[Any]:
        """Write each time into the job that is being cancelled."""
        for op in ops:
            tx.execute(
                "UPDATE job SET cancellation = json_set(cancellation, ?, ?) WHERE id = ? AND attempt = ? "
                "AND state = 'cancelling' AND cancellation IS NOT NULL",
                f"$.{op.step}_at", op.at, op.job_id, op.attempt,
            )  # fmt: skip
        tx.changed_aside([op.job_id for op in ops])
        return [None] * len(ops)


@dataclass(eq=False)
class RenewFenced(Op):
    """Renew the leases of a worker's attempts; answers with the job of each attempt that it still holds."""

    rank: ClassVar[int] = 22
    essential: ClassVar[bool] = True
    attempts: Sequence[tuple[str, int]]
    lease: float

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[RenewFenced]") -> list[Any]:
        """Move the end of every lease that still holds."""
        answers: list[Any] = []
        for op in ops:
            heads = tx.heads([job_id for job_id, _ in op.attempts])
            held = [
                heads[job_id]
                for job_id, attempt in op.attempts
                if job_id in heads and heads[job_id].attempt == attempt and heads[job_id].state in ACTIVE
            ]
            tx.write([replace(job, lease_until=tx.steady + op.lease) for job in held])
            answers.append(held)
        return answers


@dataclass(eq=False)
class SettleFenced(Fenced):
    """End an attempt with its outcome; answers with the job, or None where the attempt had lost it."""

    rank: ClassVar[int] = 30
    essential: ClassVar[bool] = True
    outcome: Outcome
    progress: Progress | None = None
    keep: float | None = None

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[SettleFenced]") -> list[Any]:
        """Move every job whose attempt still holds it, and keep the results."""
        heads = cls.current(tx, ops)
        answers: list[Any] = []
        moved: list[Job] = []
        results: list[tuple[str, str]] = []
        for op in ops:
            job = heads.get(op.job_id)
            if job is None or not op.holds(job):
                answers.append(None)
                continue
            del heads[op.job_id]
            job = tx.announce(jobs.settled(job, op.outcome, now=tx.now, progress=op.progress, keep=op.keep))
            if job.state is State.COMPLETED and isinstance(op.outcome, Completed):
                results.append((job.id, op.outcome.result))
            moved.append(job)
            answers.append(job)
        tx.write(moved)
        tx.freed |= bool(moved)
        if results:
            statement = "INSERT OR REPLACE INTO result SELECT value->>0, value->>1 FROM json_each(?)"
            tx.execute(statement, encode(results).decode())
        return answers


@dataclass(eq=False)
class Rescue(Op):
    """End the attempts whose lease is over (`everyone`: of every worker); answers with the jobs moved."""

    rank: ClassVar[int] = 34
    essential: ClassVar[bool] = True
    error: Mapping[str, Any]
    delay: Callable[[Job], float]
    everyone: bool = False
    keep: float | None = None

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Rescue]") -> list[Any]:
        """Settle each lost attempt as a crash."""
        answers: list[Any] = []
        for op in ops:
            lost = tx.execute(
                f"SELECT id FROM job WHERE state IN {_ACTIVE} AND (lease_until < ? OR ?) LIMIT ?",
                tx.steady, op.everyone, PAGE,
            ).fetchall()  # fmt: skip
            moved = []
            for job in tx.heads([row[0] for row in lost]).values():
                outcome = Failed(op.error, delay=op.delay(job))
                moved.append(tx.announce(jobs.settled(job, outcome, now=tx.now, keep=op.keep)))
            tx.write(moved)
            tx.freed |= bool(moved)
            answers.append(moved)
        return answers


@dataclass(eq=False)
class Claim(Op):
    """Start the next attempts on a worker; it waits until there is at least one. Answers with the claimed jobs.

    All is asked anew each time: `free` says how many the worker can take, `kinds` which it knows, with how many of each
    may run at once (None = no limit), `caps` how many more of a kind may start by its rate (absent = no limit).
    """

    rank: ClassVar[int] = 90
    worker: str
    lease: float
    free: Callable[[], int]
    kinds: Callable[[], Mapping[str, int | None]]
    caps: Callable[[], Mapping[str, int]]
    withdrawn: bool = False
    begun: list[Job] = field(default_factory=list, init=False)  # in the transaction at hand

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Claim]") -> list[Any]:
        """Leave it to the upkeep, which comes after everything that could bring work."""
        return [PARKED] * len(ops)

    def begin(self, tx: Tx, fresh: Sequence[Job]) -> list[Job]:
        """Start new jobs at once, where nobody is in line before them and no limit is to be looked at."""
        free, kinds, caps, rooms = self.free(), self.kinds(), self.caps(), tx.tally.rooms()
        if free <= 0 or self.withdrawn or any(kind in kinds for kind, _ in tx.tally.lines):
            return []
        open_to = {kind for kind, most in kinds.items() if most is None and kind not in caps}
        may = [job for job in fresh if job.state is State.QUEUED and job.kind in open_to and job.queue not in rooms]
        if len(may) > free:
            may = sorted(may, key=lambda job: (-job.priority, job.id))[:free]
        self.begun = self._started(tx, may)
        return self.begun

    def _started(self, tx: Tx, jobs_: Iterable[Job]) -> list[Job]:
        until = tx.steady + self.lease
        return [tx.announce(jobs.claimed(job, now=tx.now, worker=self.worker, lease_until=until)) for job in jobs_]

    def take(self, tx: Tx) -> list[Job]:
        """Claim up to `free` jobs, the highest priority first, then the oldest; return them after those just begun."""
        free = self.free() - len(self.begun)
        if free <= 0 or self.withdrawn or not tx.tally.lines:
            return self.begun
        kinds, caps = self.kinds(), dict(self.caps())
        rooms = tx.tally.rooms()
        for kind, most in kinds.items():
            if most is None:
                continue
            running = tx.execute(f"SELECT count(*) FROM job WHERE kind = ? AND state IN {_ACTIVE}", kind).fetchone()[0]
            caps[kind] = min(caps.get(kind, most), max(0, most - running))
        chosen = self._chosen(self._ready(tx, kinds, caps, rooms, free), caps, rooms, free)
        heads = tx.heads(chosen)
        started = self._started(tx, [heads[job_id] for job_id in chosen])
        tx.write(started)
        return self.begun + started

    @staticmethod
    def _chosen(ready: list[_Ready], caps: dict[str, int], rooms: dict[str, int], free: int) -> list[str]:
        """Return the ids of those that may start: the highest priority first, then the oldest."""
        chosen: list[str] = []
        for _, job_id, kind, queue in sorted(ready):
            if len(chosen) == free:
                break
            if caps.get(kind, 1) > 0 and rooms.get(queue, 1) > 0:
                chosen.append(job_id)
                for left, name in ((caps, kind), (rooms, queue)):
                    if name in left:
                        left[name] -= 1
        return chosen

    @staticmethod
    def _ready(
        tx: Tx, kinds: Mapping[str, int | None], caps: Mapping[str, int], rooms: Mapping[str, int], free: int
    ) -> list[_Ready]:
        """Return the first of every line that may move, as (minus its priority, id, kind, queue).

        A line is of one kind and one queue, so that no row is read of a job that may not start now.
        """
        lines = [
            (kind, queue, room)
            for kind, queue in tx.tally.lines
            if kind in kinds and (room := min(free, caps.get(kind, free), rooms.get(queue, free))) > 0
        ]
        ready: list[_Ready] = []
        if len(lines) > FEW_LINES and not caps and not rooms:
            rows = tx.execute(
                "SELECT -priority, id, kind, queue FROM job INDEXED BY job_ready WHERE state = 'queued' "
                "AND kind IN (SELECT value FROM json_each(?)) ORDER BY priority DESC, id LIMIT ?",
                encode(list(kinds)).decode(), free,
            )  # fmt: skip
            return list(rows.fetchall())
        for kind, queue, room in lines:
            rows = tx.execute(
                "SELECT -priority, id, kind, queue FROM job INDEXED BY job_ready_kind WHERE state = 'queued' "
                "AND kind = ? AND queue = ? ORDER BY priority DESC, id LIMIT ?",
                kind, queue, room,
            )  # fmt: skip
            ready.extend(rows.fetchall())
        return ready


@dataclass(eq=False)
class Nudge(Op):
    """Look again whether a waiting claim can be met: a limit may have moved."""

    rank: ClassVar[int] = 91
    essential: ClassVar[bool] = True

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Nudge]") -> list[Any]:
        """Do nothing; the upkeep looks."""
        return [None] * len(ops)


def promote(tx: Tx) -> float | None:
    """Put every job whose time has come into line; return the time at which the next one comes due."""
    rows = tx.execute(
        "SELECT id FROM job WHERE state IN ('scheduled', 'retrying') AND run_at <= ? ORDER BY run_at LIMIT ?",
        tx.now, PAGE,
    ).fetchall()  # fmt: skip
    if rows:
        tx.write([tx.announce(jobs.due(job)) for job in tx.heads([row[0] for row in rows]).values()])
    following = tx.execute("SELECT min(run_at) FROM job WHERE state IN ('scheduled', 'retrying')").fetchone()[0]
    return None if following is None else float(following)


def shift_retries(tx: Tx, seconds: float) -> None:
    """Move the times of all retries along with a clock that was set."""
    tx.execute("UPDATE job SET run_at = run_at + ? WHERE state = 'retrying'", seconds)
    tx.all_changed_aside()
