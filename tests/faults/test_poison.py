"""Jobs that do their worst beside healthy ones: only their own attempt may fail, and it says why."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from jalebi.jobs import TERMINAL

pytestmark = pytest.mark.faults

LONG: Final = os.environ.get("JALEBI_FAULTS") == "long"
SHOP: Final = Path(__file__).with_name("poison_shop.py")
MIB: Final = 1 << 20
#: Seconds that everything may take.
PATIENCE: Final = 600.0 if LONG else 90.0
#: The 99th percentile of /livez that is the goal, and what a busy machine is allowed.
GOAL: Final = 0.1
BOUND: Final = 1.0
#: Bytes by which the server may grow.
GROWTH: Final = 200 * MIB
ENV: Final = {
    "JALEBI_JOB_MEMORY": str(1024 * MIB),
    "JALEBI_JOB_CPU": "30" if LONG else "4",
    "JALEBI_CANCEL_GRACE": "1",
    "JALEBI_CONCURRENCY": "6",
    "JALEBI_GRACE": "0.5",
}


@dataclass(frozen=True)
class Dose:
    """How a poisonous job is called, and what must come of it; patterns are looked for, None stands for nothing."""

    amount: int = 1
    timeout: float = 300.0
    type: str | None = None
    message: str = ""
    signal: str | None = None
    stack: str | None = None
    log: str | None = None


DIED: Final = "ProcessDied"
KILLED: Final = {"type": "Timeout", "timeout": 1.5, "signal": "SIGKILL"}
DOSES: Final[Mapping[str, Dose]] = {
    "segfault": Dose(
        type=DIED, message=r"signal 11 \(SIGSEGV\)", signal="SIGSEGV", stack="in segfault", log="about to read"
    ),
    "exit_0": Dose(type=DIED, message="exited with code 0 before it handed over a result"),
    "sys_exit": Dose(type="SystemExit", message="^3$"),
    "deaf": Dose(message="longer than its 1.5 s", stack="in deaf", **KILLED),  # type: ignore[arg-type]
    "hold_the_gil": Dose(message="longer than its 1.5 s", stack="in hold_the_gil", **KILLED),  # type: ignore[arg-type]
    "stop": Dose(message="longer than its 1.5 s", **KILLED),  # type: ignore[arg-type]
    "burn": Dose(type="CpuLimit", message=r"more than its \d+ s of CPU", signal="SIGXCPU", stack="in burn"),
    "memory": Dose(type="MemoryError", message="Memory ran out"),
    "forks": Dose(amount=300),
    "print_much": Dose(amount=1024),
    "report_much": Dose(amount=3_000_000 if LONG else 300_000),
    "log_much": Dose(amount=1024 if LONG else 64),
    "return_much": Dose(amount=100, type="ResultError", message="over the limit of 1048576; keep it as a file"),
    "endless_line": Dose(type=DIED, message="a line without end", signal="SIGKILL"),
    "garbage": Dose(type=DIED, message="a line that is no message", signal="SIGKILL"),
    "forge_much": Dose(amount=200),
    "close_everything": Dose(type=DIED, message="it closed the pipe", signal="SIGKILL"),
    "probe": Dose(),
}
#: A result of 1 GB does not even fit into the memory of its process.
TOO_LARGE: Final = Dose(amount=1024, type="MemoryError", message="Memory ran out")
HEALTHY: Final[Mapping[str, tuple[dict[str, int], object]]] = {
    "add": ({"a": 1, "b": 2}, 3),
    "count": ({"to": 200}, 200),
    "rest": ({}, "rested"),
}


class Server:
    """A `jalebi serve` whose every process can be found by a variable; what its jobs print is read and dropped."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.mark = f"POISON_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("JALEBI_")}
        self._tail = subprocess.Popen(["tail", "-c", "20000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jalebi", "serve", str(SHOP), "--port", "0", "--database", "sqlite:///jobs.db"],
            cwd=folder, env=clean | ENV | variables | {name: value},
            stdout=subprocess.PIPE, stderr=self._tail.stdin, text=True,
        )  # fmt: skip
        self._watchdog = threading.Timer(PATIENCE + 60, self.process.kill)
        self._watchdog.start()
        assert self.process.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)", self.process.stdout.readline())
        assert found is not None, self.close()[-2000:]
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def others(self) -> set[int]:
        """Return the processes that have come from this one and are not over, without itself."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = self.mark.encode() in (folder / "environ").read_bytes()
                over = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            if marked and not over:
                found.add(int(folder.name))
        return found - {self.process.pid}

    def children(self) -> set[int]:
        """Return the processes that the server itself has started to run jobs in."""
        return {pid for pid in self.others() if memory(pid, "PPid") == self.process.pid}

    def close(self) -> str:
        """End it and whatever has come from it; return the end of what it said."""
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait(10)
        for pid in self.others():
            os.kill(pid, signal.SIGKILL)
        said, _ = self._tail.communicate(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return said


def memory(pid: int, name: str) -> int:
    """Return a number of a process's status; sizes are in KiB."""
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) if found else 0


@contextmanager
def served(folder: Path, **variables: str) -> Iterator[Server]:
    """Run a server."""
    server = Server(folder, **variables)
    try:
        yield server
    finally:
        server.close()


@dataclass
class Pulse:
    """How long /livez takes, asked 20 times a second over one connection."""

    port: int
    took: list[float] = field(default_factory=list)

    async def feel(self) -> None:
        """Ask until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while True:
                since = time.monotonic()
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.took.append(PATIENCE)  # until it has answered
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.I)
                await reader.readexactly(int(length[1]) if length else 0)
                self.took[-1] = time.monotonic() - since
                assert head.startswith(b"HTTP/1.1 200"), head
                await asyncio.sleep(0.05)
        finally:
            writer.close()

    def __str__(self) -> str:
        p50, p99, slowest = (1000 * self.quantile(part) for part in (0.5, 0.99, 1.0))
        asked = f"/livez {len(self.took)} times"
        return f"{asked}, p50 {p50:.1f} ms, p99 {p99:.1f} ms (goal {GOAL * 1000:.0f}), slowest {slowest:.0f} ms"

    def quantile(self, part: float) -> float:
        """Return how long all but the slowest took."""
        return sorted(self.took)[min(len(self.took) - 1, int(len(self.took) * part))]


async def submit(client: httpx2.AsyncClient, kind: str, args: dict[str, Any], timeout: float = 300.0) -> str:
    """Hand in a job; return its id."""
    answer = await client.post("/v1/jobs", json={"kind": kind, "args": args, "timeout": timeout})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def over(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    """Return a job once it has ended."""
    while True:
        job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
        if job["state"] in TERMINAL:
            return job
        await asyncio.sleep(0.1)


def diagnosis(name: str, dose: Dose, job: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with how a poisonous job has ended."""
    if dose.type is None:
        if job["state"] != "completed":
            yield f"{name}: {job['state']}, not completed: {job['error']}"
        return
    error = job["error"] or {}
    if (job["state"], error.get("type")) != ("failed", dose.type) or not re.search(dose.message, error["message"]):
        yield f"{name}: {job['state']} with {error.get('type')}: {error.get('message')}"
    words = error.get("last_words") or {}
    if words.get("signal") != dose.signal:
        yield f"{name}: its last words name the signal {words.get('signal')}, not {dose.signal}"
    for key, pattern in (("stack", dose.stack), ("log", dose.log)):
        found = words.get(key)
        if not found if pattern is None else re.search(pattern, str(found)):
            continue
        yield f"{name}: its last words hold as {key}: {found}"


async def survey(server: Server, doses: Mapping[str, Dose], healthy: int, patience: float = PATIENCE) -> list[str]:
    """Run poisonous jobs among healthy ones; return what was found wrong, and print figures."""
    findings: list[str] = []
    pulse = Pulse(server.port)
    before = memory(server.process.pid, "VmRSS")
    since = time.monotonic()
    beating = asyncio.create_task(pulse.feel())
    try:
        async with asyncio.timeout(patience), httpx2.AsyncClient(base_url=server.url, timeout=patience) as client:
            findings += await run_all(client, doses, healthy)
            if (left := await leftovers(server)) != (children := server.children()):
                findings.append(f"{len(left)} processes are left, {len(children)} of them children for jobs")
            job = await over(client, await submit(client, "count", {"to": 3}))
            if job["state"] != "completed":
                findings.append(f"afterwards a healthy job is {job['state']}")
    except TimeoutError:
        findings.append(f"not every job has ended within {patience:g} s")
    beating.cancel()
    [broken] = await asyncio.gather(beating, return_exceptions=True)
    if not isinstance(broken, asyncio.CancelledError):
        findings.append(f"/livez broke: {broken!r}")
    if pulse.quantile(0.99) > BOUND:
        findings.append(f"/livez took {pulse.quantile(0.99):.3f} s at p99")
    grown = (memory(server.process.pid, "VmHWM") - before) * 1024
    if grown > GROWTH:
        findings.append(f"the server grew by {grown / MIB:.0f} MiB")
    print(
        f"{len(doses)} poisonous and {healthy} healthy jobs in {time.monotonic() - since:.1f} s; {pulse}; "
        f"server from {before / 1024:.0f} MiB, at most {grown / MIB:.0f} MiB more; {len(findings)} findings"
    )
    return findings


async def leftovers(server: Server) -> set[int]:
    """Return what runs beside the server once that is its children only, or has had time to end."""
    until = time.monotonic() + 3
    while (left := server.others()) != server.children() and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return left


async def run_all(client: httpx2.AsyncClient, doses: Mapping[str, Dose], healthy: int) -> list[str]:
    """Submit everything at once; return what is wrong with how it ended."""
    kinds = list(HEALTHY)
    jobs = {}
    for number in range(max(healthy, len(doses))):
        if number < healthy:
            kind = kinds[number % len(kinds)]
            jobs[await submit(client, kind, HEALTHY[kind][0])] = kind
        if number < len(doses):
            name = list(doses)[number]
            args = {"how": name.partition(" ")[0], "amount": doses[name].amount}
            jobs[await submit(client, "poison", args, doses[name].timeout)] = name
    findings: list[str] = []
    for job_id, name in jobs.items():
        job = await over(client, job_id)
        if name in doses:
            findings += diagnosis(name, doses[name], job)
        elif (await client.get(f"/v1/jobs/{job_id}/result")).json() != HEALTHY[name][1] or job["attempt"] != 1:
            findings.append(f"a healthy {name} is {job['state']} after attempt {job['attempt']}: {job['error']}")
    return findings


def test_poisonous_jobs_harm_nobody_but_themselves(tmp_path: Path) -> None:
    doses = {**DOSES, "return_much too much": TOO_LARGE}
    if LONG:
        doses = {f"{name} {number}": dose for number in range(3) for name, dose in doses.items()}
    findings: list[str] = []
    with served(tmp_path) as server:
        findings += asyncio.run(survey(server, doses, healthy=150 if LONG else 45))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
        if left := server.others():
            findings.append(f"{len(left)} processes outlive the server")
        assert not findings, "\n".join(findings)


def test_the_death_of_a_process_is_noticed_and_the_job_runs_again(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        asyncio.run(measure_deaths(server, tmp_path, 20 if LONG else 5))


async def measure_deaths(server: Server, folder: Path, times: int) -> None:
    noticed, retried = [], []
    async with asyncio.timeout(PATIENCE), httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        for number in range(times):
            path = folder / f"death-{number}"
            job = await over(client, await submit(client, "vanish", {"path": str(path)}))
            assert (job["state"], job["attempt"]) == ("completed", 2)
            page = await client.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"})
            at = {(event["type"], event["job"]["attempt"]): event["at"] for event in page.json()["events"]}
            died = float(path.read_text())
            noticed.append(seconds(at["retrying", 1]) - died)
            retried.append(seconds(at["started", 2]) - died)
    print(f"{times} deaths: noticed within {max(noticed):.3f} s, run again within {max(retried):.3f} s (backoff 0.1)")
    assert max(noticed) < 1
    assert max(retried) < 2


def seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


@pytest.mark.parametrize(
    ("broken", "name", "patience", "says"),
    [
        ("thread", "hold_the_gil", 8, r"not every job has ended.*/livez took"),
        ("group", "forks", 30, r"\d\d\d processes are left, \d of them"),
    ],
)
def test_a_server_that_is_broken_is_found_out(
    tmp_path: Path, broken: str, name: str, patience: float, says: str
) -> None:
    with served(tmp_path, POISON_BROKEN=broken) as server:
        findings = asyncio.run(survey(server, {name: DOSES[name]}, healthy=3, patience=patience))
    print(f"broken ({broken}): {findings}")
    assert re.search(says, "; ".join(findings))
