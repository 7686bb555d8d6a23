"""A plain picture of the store: what each write must do to the jobs, said again without a database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jalebi.jobs import MOVES, Completed, Failed, Outcome, Released, State, Stopped, failure
from jalebi.store.attempts import Claim

WAITING: Final = {"scheduled", "queued", "retrying", "blocked"}
ACTIVE: Final = {"running", "cancelling"}
TERMINAL: Final = {"completed", "failed", "cancelled"}
#: The kinds, and how many of each may run at once.
KINDS: Final[Mapping[str, int | None]] = {"report": None, "mail": None, "film": 2}
#: Seconds for which a job that is over is kept.
KEEP: Final = 5400.0
LOST: Final = failure("WorkerLost", "The worker is gone.")

#: What can be seen of a job in an answer: its id, state, attempt and seq.
Head = tuple[str, str, int, int]


@dataclass
class Known:
    """A job as the model knows it; `events` are (type, state after it), the first has seq 1."""

    id: str
    kind: str
    queue: str
    priority: int
    max_attempts: int
    state: str
    run_at: float | None
    attempt: int = 0
    tries: int = 0
    worker: str | None = None
    lease_until: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    error: tuple[str, int | None] | None = None
    done: float | None = None
    result: str | None = None
    receipts: dict[str, float] = field(default_factory=dict)
    waits: set[str] = field(default_factory=set)
    anyway: bool = False
    files: dict[str, int] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)

    @property
    def head(self) -> Head:
        return self.id, self.state, self.attempt, len(self.events)

    def say(self, type_: str) -> None:
        """Take down an event that moves nothing."""
        self.events.append((type_, self.state))

    def move(self, state: str) -> None:
        """Go to another state and take down its event."""
        assert State(state) in MOVES[State(self.state)], f"{self.state} -> {state}"
        self.state = state
        self.say("started" if state == "running" else state)


class Model:
    """All jobs in the order of their submission, the idempotency keys, and the two clocks."""

    def __init__(self) -> None:
        self.now = self.steady = 1_800_000_000.0
        self.ahead = 0.0
        self.jobs: dict[str, Known] = {}
        self.keys: dict[str, tuple[str, list[str], float]] = {}
        self.pruned: set[str] = set()
        #: Keys whose first submission in the transaction at hand was refused, with its fingerprint.
        self.refused: dict[str, tuple[str, type]] = {}
        #: What has ended in the transaction at hand, or was waited for in vain, and how.
        self.ended: dict[str, str] = {}

    def begin(self) -> None:
        """Begin a transaction: should the clock have been set since the last one, waiting retries go along with it."""
        self.refused = {}
        self.ended = {}
        set_by = self.now - self.steady - self.ahead
        if abs(set_by) > 1:
            self.ahead += set_by
            for job in self.jobs.values():
                if job.state == "retrying" and job.run_at is not None:
                    job.run_at += set_by

    def held(self, job_id: str, attempt: int) -> Known | None:
        """Return the job if it is still run by this attempt."""
        job = self.jobs.get(job_id)
        return job if job is not None and job.state in ACTIVE and job.attempt == attempt else None

    def waiting(self, queue: str) -> int:
        return sum(job.queue == queue and job.state in WAITING for job in self.jobs.values())

    def promote(self) -> None:
        """Put into line what has come due."""
        for job in self.jobs.values():
            if job.state in {"scheduled", "retrying"} and job.run_at is not None and job.run_at <= self.now:
                job.move("queued")
                job.run_at = None

    def follow_up(self) -> None:
        """Start what has waited for what has ended, or cancel it, and go on until nothing more ends by that."""
        while self.ended:
            ended, self.ended = self.ended, {}
            for job in self.jobs.values():
                met = job.waits & ended.keys() if job.state == "blocked" else set()
                job.waits -= met
                if met and not job.anyway and any(ended[one] != "completed" for one in met):
                    self.over(job, "cancelled")
                    job.receipts = {"requested_at": self.now, "stopped_at": self.now}
                    job.error = ("Cancelled", None)
                elif met and not job.waits:
                    job.move("queued")

    def over(self, job: Known, state: str) -> None:
        job.move(state)
        self.ended[job.id] = state
        job.finished_at, job.expires_at = self.now, self.now + KEEP

    def end(self, job: Known, outcome: Outcome, done: float | None = None) -> None:
        """End the current attempt of a job."""
        job.worker = job.lease_until = None
        job.done = job.done if done is None else done
        error: Mapping[str, Any] | None = None
        retry, delay = False, 0.0
        match outcome:
            case _ if job.state == "cancelling":
                killed = isinstance(outcome, Stopped) and outcome.killed
                job.receipts["killed_at" if killed else "stopped_at"] = self.now
                self.over(job, "cancelled")
                return
            case Completed(result=result):
                self.over(job, "completed")
                job.error, job.result = None, result
                return
            case Released():
                job.move("queued")
                job.tries -= 1
                return
            case Stopped():
                error = {"type": "JobStopped"}
            case Failed():
                error, retry, delay = outcome.error, outcome.retry, outcome.delay
        job.error = (error["type"], job.attempt)
        if retry and job.tries < job.max_attempts:
            job.move("retrying")
            job.run_at = self.now + delay
        else:
            self.over(job, "failed")

    def choice(self, claim: Claim) -> list[str]:
        """Return what a claim would take now: the highest priority first, then the oldest, within every limit."""
        room = dict(claim.caps())
        for kind, most in claim.kinds().items():
            if most is not None:
                running = sum(job.kind == kind and job.state in ACTIVE for job in self.jobs.values())
                room[kind] = min(room.get(kind, most), most - running)
        line = [job for job in self.jobs.values() if job.state == "queued" and job.kind in claim.kinds()]
        taken: list[str] = []
        for job in sorted(line, key=lambda job: (-job.priority, job.id)):
            if len(taken) < claim.free() and room.get(job.kind, 1) > 0:
                taken.append(job.id)
                room[job.kind] = room.get(job.kind, 10**6) - 1
        return taken

    def start(self, job_id: str, claim: Claim) -> Head:
        """Start the next attempt of a job that a claim has taken."""
        job = self.jobs[job_id]
        assert job.state == "queued", f"a claim took a job that was {job.state}"
        job.attempt += 1
        job.tries += 1
        assert job.tries <= job.max_attempts, "more attempts than allowed"
        job.move("running")
        job.worker, job.started_at, job.lease_until, job.done = claim.worker, self.now, self.steady + claim.lease, None
        return job.head
