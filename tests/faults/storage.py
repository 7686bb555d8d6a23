"""Servers whose disk fails: how they are started, what callers see of them, and what is on the disk afterwards."""

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from jalebi.jobs import TERMINAL
from tests.support import start

#: Seconds that a server may live, and that anything may take that is waited for.
LIFE: Final = 300.0
PATIENCE: Final = 20.0
BLOCK: Final = 4096
SHOP: Final = """
import asyncio, hashlib, os
from pathlib import Path
from jalebi import Jalebi, JobContext, Upload
from jalebi.runner.child import die_with

die_with(os.getppid())
shop = Jalebi()

@shop.job
async def echo(value: str) -> int:
    return len(value)

@shop.job
async def keep(ctx: JobContext, content: str) -> None:
    ctx.attach(content.encode(), "a.txt")

@shop.job
async def digest(file: Upload) -> str:
    return hashlib.sha256(file.path.read_bytes()).hexdigest()

@shop.job
async def hold(ctx: JobContext, gate: str) -> str:
    while not Path(gate).exists():
        ctx.progress(1, 2)
        await asyncio.sleep(0.02)
    return "through the gate"
"""
#: Builds that break a promise on purpose: the tests must notice.
BROKEN: Final = {
    "commits": """
from jalebi.store.writer import Writer
start = Writer.start
def unsynced(self):
    self.care.connection.execute("PRAGMA synchronous = OFF")
    start(self)
Writer.start = unsynced
""",
    "files": """
from jalebi import files as broken
broken.sync = lambda path: None
""",
}


class Server:
    """A `jalebi serve` of the shop above in a process of its own, on the database in a folder."""

    def __init__(
        self,
        place: Path,
        disk: Path,
        *,
        broken: str | None = None,
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        shop = place / f"shop_{broken or 'sound'}.py"
        shop.write_text(SHOP + (BROKEN[broken] if broken else ""))
        serve = ["serve", str(shop), "--port", "0", "--database", f"sqlite:///{disk / 'jobs.db'}"]
        self.process, self._watchdog = start(
            *serve, prefix=prefix, cwd=place, env=env, stderr=subprocess.PIPE, life=LIFE
        )
        self.url = ""
        self.log: list[tuple[float, str]] = []  # when it came, by the steady clock, and the line
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def lines(self) -> str:
        """All that it has logged."""
        return "".join(line for _, line in self.log)

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append((time.monotonic(), line))

    async def started(self) -> None:
        """Wait until it says where it is."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), PATIENCE)
        found = re.search(r"(http://[^ ]+)/", line)
        if found is None:
            self.close()
            raise AssertionError(f"the server did not start: {line!r} {self.lines}")
        self.url = found[1]

    def client(self, connections: int = 20) -> httpx2.AsyncClient:
        """Return a client of it."""
        limits = httpx2.Limits(max_connections=connections)
        return httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE, limits=limits)

    async def kill(self) -> None:
        """Kill the process as a power loss would."""
        self.process.kill()
        await asyncio.to_thread(self.process.wait, PATIENCE)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def until(there: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> float:
    """Wait until something is so; return how many seconds it took."""
    began = time.monotonic()
    while not await there():
        assert time.monotonic() - began < patience, f"not within {patience:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Told:
    """What callers were told, and can hold against the server."""

    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)  # id: kind, what it was given
    ended: dict[str, str] = field(default_factory=dict)  # id: the terminal state that was seen
    announced: set[str] = field(default_factory=set)  # ids of jobs whose file was listed
    uploads: dict[str, str] = field(default_factory=dict)  # id: content

    async def submit(self, client: httpx2.AsyncClient, kind: str, given: str, **more: Any) -> httpx2.Response:
        """Submit a job and remember what was answered."""
        name = {"echo": "value", "keep": "content", "digest": "file", "hold": "gate"}[kind]
        answer = await client.post("/v1/jobs", json={"kind": kind, "args": {name: given}, **more})
        if answer.status_code == 202:
            self.accepted[answer.json()["id"]] = (kind, given)
        else:
            check_refusal(answer)
        return answer

    async def upload(self, client: httpx2.AsyncClient, content: str) -> str | None:
        """Hand in a file and remember its id; None where it was refused."""
        answer = await client.post("/v1/uploads", content=content.encode())
        if answer.status_code != 201:
            check_refusal(answer)
            return None
        self.uploads[answer.json()["id"]] = content
        return str(answer.json()["id"])

    async def look(self, client: httpx2.AsyncClient, job_id: str) -> bool:
        """Look at a job; return whether it is over."""
        answer = await client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        state = answer.json()["state"]
        if state not in TERMINAL:
            return False
        if self.accepted[job_id][0] == "keep" and (await client.get(f"/v1/jobs/{job_id}/files")).json()["files"]:
            self.announced.add(job_id)
        self.ended[job_id] = state
        return True

    async def all_over(self, client: httpx2.AsyncClient) -> None:
        """Wait until everything that was accepted is over."""
        for job_id in self.accepted.keys() - self.ended.keys():
            await until(partial(self.look, client, job_id))


def check_refusal(answer: httpx2.Response) -> None:
    """Check what a caller gets from a server whose storage is in trouble."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:jalebi:problem:storage-unavailable"
    assert int(answer.headers["retry-after"]) > 0


def check_disk(disk: Path, told: Told) -> list[str]:
    """Say what is missing on a disk of what callers were told; no server may be at work on it.

    A copy is looked at: opening a database that was not closed changes it.
    """
    with tempfile.TemporaryDirectory() as place:
        return _check(shutil.copytree(disk, Path(place) / "copy"), told)


def _check(disk: Path, told: Told) -> list[str]:
    with closing(sqlite3.connect(disk / "jobs.db")) as connection:
        try:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            jobs = dict(connection.execute("SELECT id, state FROM job"))
            args = dict(connection.execute("SELECT id, args FROM job"))
            files = connection.execute("SELECT job_id, path FROM file").fetchall()
        except sqlite3.Error as error:
            return [f"the database can't be read: {error}", *(f"lost: job {job_id}" for job_id in told.accepted)]
    findings = [] if verdict == "ok" else [f"integrity: {verdict}"]
    findings += [f"lost: job {job_id} was accepted" for job_id in told.accepted if job_id not in jobs]
    for job_id, state in told.ended.items():
        if jobs.get(job_id) != state:
            findings.append(f"lost: job {job_id} was seen {state} and is {jobs.get(job_id)}")
    kept = {job_id for job_id, _ in files}
    findings += [f"lost: the file of job {job_id} was announced" for job_id in told.announced - kept]
    root = disk / "jobs.db-files"
    for job_id, path in files:
        findings += _content(root / path, json.loads(args[job_id])["content"])
    for upload_id, content in told.uploads.items():
        findings += _content(root / "uploads" / upload_id, content)
    for job_id, (kind, given) in told.accepted.items():
        if kind == "digest":
            findings += _content(root / "jobs" / job_id[-2:] / job_id / "inputs" / given, told.uploads[given])
    return findings


def _content(path: Path, expected: str) -> list[str]:
    try:
        found = path.read_bytes()
    except OSError as error:
        return [f"lost: the file {path.name}: {error.strerror}"]
    return [] if found == expected.encode() else [f"lost: the file {path.name} has {len(found)} other bytes"]


def log_bursts(log: Sequence[tuple[float, str]], after: float) -> list[str]:
    """Say which lines came sooner than a second after the one before (a tenth is left to the pipe)."""
    late = [(at, line) for at, line in log if at >= after]
    gaps = [(second - first, line) for (first, _), (second, line) in pairwise(late)]
    return [f"{gap:.2f} s after another line: {line}" for gap, line in gaps if gap < 0.9]


class Forgetful:
    """A folder as a disk that loses with the power whatever was not synced; the model is in power_loss.c."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._library = _compiled(place)
        self._rounds = 0
        self.live = self._fresh()

    def _fresh(self) -> Path:
        self._rounds += 1
        live = self._place / f"disk{self._rounds}"
        live.mkdir()
        shadow = self._place / f"shadow{self._rounds}"
        for part in ("files", "folders"):
            (shadow / part).mkdir(parents=True)
        return live

    @property
    def env(self) -> dict[str, str]:
        """What a server on the disk needs in its environment."""
        shadow = self._place / f"shadow{self._rounds}"
        return {"LD_PRELOAD": str(self._library), "POWER_LOSS_LIVE": str(self.live), "POWER_LOSS_SHADOW": str(shadow)}

    def lose_power(self, rng: random.Random, stray: float) -> None:
        """Go on with what has survived; each page that was lost was written after all by the chance `stray`."""
        before, shadow = self.live, self._place / f"shadow{self._rounds}"
        self.live = self._fresh()
        _survive(shadow, before, self.live, "", rng, stray)
        shutil.rmtree(before)
        shutil.rmtree(shadow)
        self.settle()

    def settle(self) -> None:
        """Take all that is there for synced."""
        subprocess.run([sys.executable, "-S", "-c", _SYNC_ALL, str(self.live)], env=os.environ | self.env, check=True)


_SYNC_ALL: Final = """
import os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for path in [folder, *(os.path.join(folder, name) for name in names)]:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.close(file)
"""


def _compiled(place: Path) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        assert not os.environ.get("CI"), "there is no C compiler"
        pytest.skip("there is no C compiler, or this is not Linux")
    library = place / "power_loss.so"
    source = Path(__file__).with_name("power_loss.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def _survive(shadow: Path, before: Path, after: Path, relative: str, rng: random.Random, stray: float) -> None:
    for line in _names(shadow / "folders" / ("%" + relative.replace("/", "%"))):
        type_, key, name = line.split(" ", 2)
        path = f"{relative}/{name}"
        if type_ == "d":
            (after / path[1:]).mkdir()
            _survive(shadow, before, after, path, rng, stray)
            continue
        kept = shadow / "files" / key
        content = kept.read_bytes() if kept.exists() else b""
        with suppress(FileNotFoundError):
            # The lost pages may only stray in where the name still means the same file.
            if stray and str((before / path[1:]).stat().st_ino) == key.partition("-")[0]:
                content = b"".join(_mixed(content, (before / path[1:]).read_bytes(), rng, stray))
        (after / path[1:]).write_bytes(content)


def _names(listing: Path) -> list[str]:
    return listing.read_text().splitlines() if listing.exists() else []


def _mixed(kept: bytes, lost: bytes, rng: random.Random, stray: float) -> Iterator[bytes]:
    size = len(lost) if rng.random() < stray else len(kept)
    for at in range(0, size, BLOCK):
        block = (lost if rng.random() < stray else kept)[at : min(at + BLOCK, size)]
        yield block.ljust(min(BLOCK, size - at), b"\0")
