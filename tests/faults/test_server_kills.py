"""The server is killed at any moment while jobs come in: what was accepted is there, once, and gets done."""

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.faults.harness import Server, all_over, check_accepted, dice, figures, slow, times, until

pytestmark = pytest.mark.faults

CONNECTIONS: Final = 4
#: How SQLite and the event loop reach the kernel: the log's pages, their flush, answers to callers, threads waking.
SYSCALLS: Final = ("fsync,fdatasync", "pwrite64", "write", "futex")
#: Seconds that a server under strace gets to come to the chosen call.
REACH: Final = 6.0


class Callers:
    """Connections that submit jobs, each job with a key of its own, and remember what they were told."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.sent: list[str] = []
        self.told: dict[str, str] = {}
        self.unanswered: list[str] = []
        self.findings: list[str] = []
        self.replays = 0
        self.answered = 0
        self.silent = 0  # how many requests got no answer

    async def load(self, url: str) -> None:
        """Submit jobs until the server is gone."""
        limits = httpx2.Limits(max_connections=2 * CONNECTIONS)
        async with httpx2.AsyncClient(base_url=url, timeout=5, limits=limits) as client:
            await asyncio.gather(*(self._call(client) for _ in range(CONNECTIONS)))

    async def _call(self, client: httpx2.AsyncClient) -> None:
        while True:
            key = self._next_key()
            together = 2 if self.rng.random() < 0.05 else 1  # two at once make one job
            if not all(await asyncio.gather(*(self.post(client, key) for _ in range(together)))):
                return

    def _next_key(self) -> str:
        if self.unanswered and self.rng.random() < 0.5:
            return self.unanswered.pop()
        if self.sent and self.rng.random() < 0.05:
            return self.rng.choice(self.sent)
        key = f"{self.rng.getrandbits(64):016x}"
        self.sent.append(key)
        return key

    async def post(self, client: httpx2.AsyncClient, key: str) -> bool:
        """Submit the job of a key; False where the server is gone."""
        before = self.told.get(key)
        try:
            answer = await client.post(
                "/v1/jobs", json={"kind": "note", "args": {"key": key}}, headers={"Idempotency-Key": key}
            )
        except httpx2.TransportError:
            self.silent += 1
            if before is None:
                self.unanswered.append(key)
            return False
        self.answered += 1
        if answer.status_code != 202:
            self.findings.append(f"refused: key {key} was answered {answer.status_code} {answer.text}")
            return True
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        self.replays += replayed
        told = self.told.setdefault(key, answer.json()["id"])
        if told != answer.json()["id"]:
            self.findings.append(f"key {key} is job {told} and then job {answer.json()['id']}")
        elif before is not None and not replayed:
            self.findings.append(f"key {key} was answered again and not marked as replayed")
        return True

    async def ask_again(self, url: str) -> None:
        """Submit every key once more."""
        keys = iter(self.sent)
        async with httpx2.AsyncClient(base_url=url, timeout=20) as client:

            async def call() -> None:
                for key in keys:
                    assert await self.post(client, key)

            await asyncio.gather(*(call() for _ in range(CONNECTIONS)))


async def kill_at_random(folder: Path, callers: Callers, waits: list[float]) -> None:
    """Start a server and kill it: under load, and sometimes while it starts."""
    rng = callers.rng
    with Server(folder, "light") as server:
        if rng.random() < 0.15:
            starting = asyncio.create_task(server.ready())
            await asyncio.sleep(rng.uniform(0.1, 0.8))
            callers.findings += await server.kill()
            await starting
            return
        waits.append(await server.started())
        loading = asyncio.create_task(callers.load(server.url))
        wanted = callers.answered + rng.randrange(60)

        async def enough() -> bool:
            return callers.answered >= wanted

        assert await until(enough)
        await asyncio.sleep(rng.uniform(0, 0.03))
        callers.findings += await server.kill()
        await loading


async def kill_at_syscall(folder: Path, callers: Callers, syscall: str, when: int) -> bool:
    """Let the kernel kill a server as one of its threads makes a call for the n-th time; False where none did."""
    inject = f"inject={syscall}:signal=SIGKILL:when={when}"
    strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", inject]
    with Server(folder, "light", prefix=strace) as server:
        if await server.ready() is None:
            return True
        loading = asyncio.create_task(callers.load(server.url))
        await asyncio.wait({loading}, timeout=REACH)
        reached = server.dead
        callers.findings += await server.kill()
        await loading
    return reached


async def settle(folder: Path, callers: Callers, waits: list[float]) -> list[str]:
    """Start the last server, ask it for every key, let all end, and say what is wrong."""
    with Server(folder, "light") as server:
        waits.append(await server.started())
        await callers.ask_again(server.url)
        await all_over(server.url)
        await server.stop()
    return [*callers.findings, *slow(waits), *check_accepted(folder / "jobs.db", callers.sent, callers.told)]


def told(name: str, findings: Sequence[str], callers: Callers, waits: list[float], **more: object) -> None:
    """Print the figures of a test of this module, and fail with the findings."""
    lost = sum(found.startswith("lost") for found in findings)
    stuck = sum(found.startswith("stuck") for found in findings)
    figures(
        name, findings, **more, accepted=len(callers.told), lost=lost, stuck=stuck, unanswered=callers.silent,
        replayed=callers.replays, slowest_start=f"{max(waits):.2f} s",
    )  # fmt: skip


async def test_nothing_accepted_is_lost_by_kills_at_random_moments(tmp_path: Path) -> None:
    callers, waits = Callers(dice("random moments")), list[float]()
    kills = times(7, 200)
    for _ in range(kills):
        await kill_at_random(tmp_path, callers, waits)
    findings = await settle(tmp_path, callers, waits)
    told("random moments", findings, callers, waits, kills=kills)


async def test_nothing_accepted_is_lost_by_kills_at_chosen_system_calls(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        assert not os.environ.get("CI"), "CI must have strace"
        pytest.skip("strace is not installed")
    traced = await asyncio.to_thread(subprocess.run, ["strace", "-o", "/dev/null", "true"], capture_output=True)
    if traced.returncode != 0:
        pytest.skip(f"strace may not trace here: {traced.stderr.decode().strip()}")
    callers, waits = Callers(dice("system calls")), list[float]()
    reached = plain = 0
    growing = [int(3 * 1.45**n) for n in range(15)]
    plan = [(syscall, when) for syscall in SYSCALLS for when in growing]
    plan = sorted(callers.rng.sample(plan, times(6, len(plan))), key=lambda point: point[1])
    for number, (syscall, when) in enumerate(plan):
        reached += await kill_at_syscall(tmp_path, callers, syscall, when)
        if number % times(2, 1) == 0:
            await kill_at_random(tmp_path, callers, waits)
            plain += 1
    findings = await settle(tmp_path, callers, waits)
    assert reached >= len(plan) * 3 // 4, f"only {reached} of {len(plan)} servers came to the chosen call"
    told("system calls", findings, callers, waits, kills=len(plan) + plain, at_the_call=reached)


async def test_a_store_that_loses_an_accepted_job_is_found_out(tmp_path: Path) -> None:
    callers, waits = Callers(dice("lossy store")), list[float]()
    with Server(tmp_path, "light") as server:
        waits.append(await server.started())
        loading = asyncio.create_task(callers.load(server.url))

        async def enough() -> bool:
            return len(callers.told) >= 20

        assert await until(enough)
        await server.kill()
        await loading
    victim = callers.rng.choice(sorted(callers.told.values()))
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute("DELETE FROM event WHERE job_id = ?", (victim,))
        assert connection.execute("DELETE FROM job WHERE id = ?", (victim,)).rowcount == 1
    findings = await settle(tmp_path, callers, waits)
    assert any(found.startswith("lost") and victim in found for found in findings)
