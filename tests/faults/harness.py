"""Servers that can be killed at any moment, the journal of what ran in them, and the checkers of what is left."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx2

from jalebi.jobs import TERMINAL
from tests.faults.shop import FOLDER, PARENT
from tests.support import start

SHOP: Final = Path(__file__).with_name("shop.py")
LONG: Final = os.environ.get("JALEBI_FAULTS") == "long"
SEED: Final = os.environ.get("JALEBI_FAULT_SEED") or str(random.SystemRandom().randrange(1 << 32))
#: Seconds within which a server is ready on the database of a killed one, and its children are dead after it.
READY: Final = 3.0
REAPED: Final = 1.0
#: Seconds that a server may live, and that jobs may take to end once nothing is broken any more.
LIFE: Final = 300.0
PATIENCE: Final = 240.0 if LONG else 60.0
#: Findings that are shown of many.
SHOWN: Final = 10


def times(quick: int, long: int) -> int:
    """Return how often to break something."""
    return long if LONG else quick


def slow(waits: Iterable[float]) -> list[str]:
    """Say which starts took too long; a machine that others keep busy gets as much more time as they take."""
    limit = READY * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return [f"slow: ready after {wait:.2f} s, and not {limit:.2f} s" for wait in waits if wait > limit]


def dice(name: str) -> random.Random:
    """Return the random numbers of one test; the same seed gives the same again."""
    print(f"{name}: JALEBI_FAULT_SEED={SEED} JALEBI_FAULTS={'long' if LONG else 'quick'}")
    return random.Random(f"{SEED} {name}")


def figures(name: str, findings: Sequence[str], **counted: object) -> None:
    """Print what was measured, and fail with the findings where there are any."""
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in counted.items())}, findings {len(findings)}")
    assert not findings, f"{len(findings)} findings, seed {SEED}:\n" + "\n".join(findings[:SHOWN])


class Server:
    """A `jalebi serve` in a process of its own, on a database that it shares with its predecessors in the folder."""

    def __init__(
        self, folder: Path, target: str, *, prefix: Sequence[str] = (), env: dict[str, str] | None = None
    ) -> None:
        (folder / "locks").mkdir(exist_ok=True)
        serve = ["serve", f"{SHOP}:{target}", "--port", "0", "--database", f"sqlite:///{folder / 'jobs.db'}"]
        ours = {FOLDER: str(folder), PARENT: str(os.getpid())}
        self.log = folder / "server.log"
        self.url = ""
        self.began = time.monotonic()
        with self.log.open("ab") as errors:
            self.process, self._watchdog = start(
                *serve, prefix=prefix, cwd=folder, env=ours | (env or {}), stderr=errors, life=LIFE
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    async def ready(self) -> float | None:
        """Return the seconds from its start until it was ready, or None where it died before."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        if "http://" not in line:
            await asyncio.to_thread(self.process.wait, 20)
            return None
        self.url = line[line.index("http://") :].split("/ ")[0]
        async with httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE) as client:

            async def there() -> bool:
                return (await client.get("/readyz")).status_code == 200

            with suppress(httpx2.TransportError):
                if await until(there, PATIENCE):
                    return time.monotonic() - self.began
        return None

    async def started(self) -> float:
        """Return the seconds until it was ready; it must not die before."""
        took = await self.ready()
        assert took is not None, f"the server did not start:\n{self.log.read_text()[-3000:]}"
        return took

    async def kill(self) -> list[str]:
        """Kill the process as the kernel would; return which of its children went on without it."""
        self.process.kill()
        await asyncio.to_thread(self.process.wait, 20)
        left = await survivors(self.pid)
        return [f"outlived: child {child} of server {self.pid} was alive {REAPED:g} s after it" for child in left]

    async def stop(self) -> None:
        """Let it drain and end."""
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 40) == 0, self.log.read_text()[-3000:]

    def close(self) -> None:
        """End the process and what it left, whatever they do."""
        self._watchdog.cancel()
        if not self.dead:
            self.process.kill()
        self.process.wait(20)
        for child in children_of(self.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def children_of(server: int) -> set[int]:
    """Return the living job processes of a server, also of one that is dead: their command line names it."""
    found = set()
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            line = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
            if f"\0jalebi.runner.child\0{server}\0".encode() in line:
                found.add(int(process.name))
    return found


async def survivors(server: int) -> set[int]:
    """Return the children that are still alive some time after their server's death."""

    async def gone() -> bool:
        return not children_of(server)

    return set() if await until(gone, REAPED) else children_of(server)


async def until(there: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> bool:
    """Wait until something is so; False where it is not in time."""
    end = time.monotonic() + patience
    while not await there():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


async def all_over(url: str) -> bool:
    """Wait until every job of a server is over; False where some are not in time."""
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:

        async def there() -> bool:
            states = (await client.get("/v1/stats")).json()["states"]
            return not any(count for state, count in states.items() if state not in TERMINAL)

        return await until(there)


@dataclass(frozen=True)
class Line:
    """A line of the journal."""

    word: str
    job_id: str
    attempt: int
    pid: int
    supervisor: int
    ns: int


def journal(folder: Path) -> list[Line]:
    """Return what ran so far, in the order of the machine's steady clock."""
    path = folder / "journal"
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return sorted((Line(row[0], row[1], *map(int, row[2:])) for row in rows), key=lambda line: line.ns)


def unfinished(lines: Iterable[Line]) -> list[Line]:
    """Return the beginnings without an end."""
    running: dict[tuple[str, int], Line] = {}
    for line in lines:
        if line.word in {"start", "overlap"}:
            running[line.job_id, line.attempt] = line
        else:
            running.pop((line.job_id, line.attempt), None)
    return list(running.values())


@dataclass
class Stored:
    """A job as its row and its events tell it."""

    id: str
    args: dict[str, Any]
    state: str
    attempt: int
    tries: int
    max_attempts: int
    seq: int
    seqs: list[int] = field(default_factory=list)
    moves: list[tuple[str, int]] = field(default_factory=list)  # type of event, attempt

    @property
    def starts(self) -> list[int]:
        """The attempts that were begun."""
        return [attempt for type_, attempt in self.moves if type_ == "started"]

    @property
    def released(self) -> int:
        """How many attempts were handed back: in line again without having failed."""
        return sum(before[0] == "started" and after[0] == "queued" for before, after in pairwise(self.moves))


def stored(database: Path) -> dict[str, Stored]:
    """Return every job of a database that no server has open."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id, args, state, attempt, tries, max_attempts, seq FROM job")
        jobs = {row[0]: Stored(row[0], json.loads(row[1]), *row[2:]) for row in rows}
        for job_id, seq, type_, body in connection.execute("SELECT job_id, seq, type, body FROM event ORDER BY seq"):
            if (job := jobs.get(job_id)) is not None:
                job.seqs.append(seq)
                if type_ not in {"log", "file"}:
                    # What is not said is as it mostly is: a first attempt, and none of a job that is new.
                    said = json.loads(body) if body else {"attempt": 0} if type_ == "created" else {}
                    job.moves.append((type_, said.get("attempt", 1)))
    return jobs


def check_database(database: Path) -> list[str]:
    """Say what is wrong with a database after everything has ended: pages, holes in the events, jobs not over."""
    with closing(sqlite3.connect(database)) as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    findings = [] if verdict == "ok" else [f"integrity: {verdict}"]
    for job in stored(database).values():
        if job.state not in TERMINAL:
            findings.append(f"stuck: job {job.id} is {job.state}")
        if job.seqs != list(range(1, job.seq + 1)):
            findings.append(f"holes: job {job.id} is at seq {job.seq} and has the events {job.seqs}")
        completed = sum(type_ == "completed" for type_, _ in job.moves)
        if completed != (job.state == "completed"):
            findings.append(f"completions: job {job.id} is {job.state} and was completed {completed} times")
    return findings


def check_accepted(database: Path, sent: Iterable[str], told: Mapping[str, str]) -> list[str]:
    """Say which jobs are lost or stored twice; `sent` are keys (the args name them), `told` the ids answered."""
    jobs = stored(database)
    ids: dict[str, list[str]] = defaultdict(list)
    for job in jobs.values():
        ids[job.args["key"]].append(job.id)
    findings = check_database(database)
    findings += [f"lost: job {job_id} of key {key} was accepted" for key, job_id in told.items() if job_id not in jobs]
    findings += [f"jobs of key {key}: {ids[key]}, and not one" for key in sent if len(ids[key]) != 1]
    return findings


def check_attempts(folder: Path, accepted: Iterable[str]) -> list[str]:
    """Say which jobs are lost, ran twice at the same time, or used more attempts than they may."""
    jobs = stored(folder / "jobs.db")
    ran: dict[str, list[Line]] = defaultdict(list)
    for line in journal(folder):
        ran[line.job_id].append(line)
    findings = check_database(folder / "jobs.db")
    findings += [f"lost: job {job_id} was accepted" for job_id in accepted if job_id not in jobs]
    findings += [f"lost: job {job_id} ran" for job_id in ran if job_id not in jobs]
    for job in jobs.values():
        findings += [f"{found} (job {job.id})" for found in [*_budget(job), *check_runs(job, ran[job.id])]]
    return findings


def _budget(job: Stored) -> list[str]:
    findings = []
    if job.starts != list(range(1, job.attempt + 1)):
        findings.append(f"numbers: the attempts {job.starts} were begun, the row says {job.attempt}")
    used = len(job.starts) - job.released
    if used != job.tries or used > job.max_attempts:
        findings.append(f"budget: {used} attempts used, the row says {job.tries}, allowed {job.max_attempts}")
    if job.state == "failed" and used < job.max_attempts:
        findings.append(f"given up after {used} of {job.max_attempts} attempts")
    return findings


def check_runs(job: Stored, lines: Sequence[Line]) -> list[str]:
    """Say what is wrong with the times at which the attempts of one job ran."""
    begins = [line for line in lines if line.word in {"start", "overlap"}]
    # An attempt without an end was killed: that its process was gone as the next began is for the lock to tell.
    ends = {line.attempt: line.ns for line in lines if line.word in {"finish", "stop"}}
    findings = [f"overlap: attempt {line.attempt} saw another hold the job" for line in begins if line.word != "start"]
    for earlier, later in pairwise(begins):
        if ends.get(earlier.attempt, 0) > later.ns:
            findings.append(f"overlap: attempt {later.attempt} began before attempt {earlier.attempt} had ended")
    repeated = [attempt for attempt, count in Counter(line.attempt for line in begins).items() if count > 1]
    if repeated:
        findings.append(f"numbers: the attempts {repeated} ran twice")
    if any(line.attempt > job.attempt for line in begins):
        findings.append("numbers: an attempt ran that was not stored")
    finished = {line.attempt for line in lines if line.word == "finish"}
    if job.state == "completed" and lines and job.attempt not in finished:
        findings.append(f"completed by attempt {job.attempt}, which did not reach its end")
    return findings
