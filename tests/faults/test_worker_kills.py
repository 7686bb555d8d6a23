"""Job processes and servers are killed under load: nothing is lost, runs twice at once, or outlives its server."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.faults.harness import (
    Line,
    Server,
    Stored,
    all_over,
    check_attempts,
    check_runs,
    children_of,
    dice,
    figures,
    journal,
    stored,
    times,
    unfinished,
    until,
)

pytestmark = pytest.mark.faults

KINDS: Final = ("loop_work", "thread_work", "process_work", "process_work")
CONNECTIONS: Final = 4
ENV: Final = {"JALEBI_CONCURRENCY": "5", "JALEBI_GRACE": "0.2", "JALEBI_CANCEL_GRACE": "0.4"}
#: What ends a child together with its server is taken from every child: the signal, and the watch over its pipe.
UNLEASHED: Final = """
import ctypes, os, sys, threading

def unleashed(end):
    return lambda *given: None if threading.current_thread().name == "jalebi-commands" else end(*given)

class Library(ctypes.CDLL):
    def prctl(self, *_):
        return 0

if "jalebi.runner.child" in sys.orig_argv:
    os._exit, os.killpg, ctypes.CDLL = unleashed(os._exit), unleashed(os.killpg), Library
"""


@dataclass
class Load:
    """What was submitted, and what was broken."""

    rng: random.Random
    accepted: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    children: int = 0
    servers: int = 0
    drains: int = 0

    async def submit(self, url: str, count: int) -> None:
        """Submit so many jobs of all isolations, or fewer where the server goes away."""
        left = iter(range(count))
        async with httpx2.AsyncClient(base_url=url, timeout=5) as client:

            async def connection() -> None:
                for _ in left:
                    answer = await client.post("/v1/jobs", json=self._order())
                    if answer.status_code != 202:  # it drains
                        return
                    self.accepted.append(answer.json()["id"])

            await asyncio.gather(*(connection() for _ in range(CONNECTIONS)), return_exceptions=True)

    def _order(self) -> dict[str, object]:
        seconds = self.rng.choice([0.0, 0.0, 0.0, 0.01, 0.01, 0.02, self.rng.uniform(0.1, 0.3)])
        kind = self.rng.choice(KINDS)
        return {"kind": kind, "args": {"seconds": seconds}, "max_attempts": self.rng.randint(1, 4)}

    async def kill_child(self, folder: Path, server: Server) -> None:
        """Kill a process that runs a job at this moment."""
        running: list[Line] = []

        async def at_work() -> bool:
            alive = children_of(server.pid)
            running[:] = [line for line in unfinished(journal(folder)) if line.pid in alive]
            return bool(running)

        if await until(at_work, 3):
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(running).pid, signal.SIGKILL)
                self.children += 1

    async def end(self, server: Server) -> None:
        """Kill the server; sometimes drain it, which must not use up attempts."""
        if self.rng.random() < 0.25:
            self.drains += 1
            await server.stop()
        else:
            self.servers += 1
            self.findings += await server.kill()


async def break_things(folder: Path, load: Load, rounds: int, jobs: int) -> None:
    """Hand in jobs, kill children while they run, and end the server; so many times."""
    for _ in range(rounds):
        with Server(folder, "shop", env=ENV) as server:
            await server.started()
            submitting = asyncio.create_task(load.submit(server.url, jobs))
            for _ in range(3):
                await asyncio.sleep(load.rng.uniform(0.0, 0.3))
                await load.kill_child(folder, server)
            await load.end(server)
            await submitting
    with Server(folder, "shop", env=ENV) as server:
        await server.started()
        await load.submit(server.url, rounds * jobs - len(load.accepted))
        await all_over(server.url)
        await server.stop()


async def test_attempts_are_kept_apart_and_counted_while_children_and_servers_are_killed(tmp_path: Path) -> None:
    load = Load(dice("worker kills"))
    rounds, jobs = times(4, 100), times(200, 100)
    await break_things(tmp_path, load, rounds, jobs)
    findings = [*load.findings, *check_attempts(tmp_path, load.accepted)]
    states = [job.state for job in stored(tmp_path / "jobs.db").values()]
    lines = journal(tmp_path)
    assert load.children >= rounds, "hardly any child was at work"
    figures(
        "worker kills", findings, jobs=len(states), children_killed=load.children, servers_killed=load.servers,
        drained=load.drains, attempts=sum(line.word == "start" for line in lines), cut_off=len(unfinished(lines)),
        completed=states.count("completed"), failed=states.count("failed"),
        lost=sum(found.startswith("lost") for found in findings),
        overlaps=sum(found.startswith("overlap") for found in findings),
        outlived=sum(found.startswith("outlived") for found in findings),
    )  # fmt: skip


async def test_children_that_go_on_without_their_server_are_found_out(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(UNLEASHED)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    load = Load(dice("unleashed children"))
    with Server(tmp_path, "shop", env=ENV | {"PYTHONPATH": path}) as server:
        await server.started()
        async with httpx2.AsyncClient(base_url=server.url) as client:
            answer = await client.post("/v1/jobs", json={"kind": "process_sleep", "args": {"seconds": 30}})
            load.accepted.append(answer.json()["id"])

        async def runs() -> bool:
            return bool(unfinished(journal(tmp_path)))

        assert await until(runs)
        outlived = await server.kill()
        assert len(outlived) == 1, outlived
        with Server(tmp_path, "shop", env=ENV) as successor:
            await successor.started()

            async def runs_again() -> bool:
                return any(line.attempt == 2 for line in journal(tmp_path))

            assert await until(runs_again)
            await all_over(successor.url)
            await successor.stop()
    findings = check_attempts(tmp_path, load.accepted)
    assert any(found.startswith("overlap: attempt 2") for found in findings), findings


def begun(attempt: int, ns: int, word: str = "start") -> Line:
    return Line(word, "a job", attempt, 1, 1, ns)


def test_two_attempts_at_once_are_found_out_by_their_times_alone() -> None:
    job = Stored("a job", {}, "completed", attempt=2, tries=2, max_attempts=2, seq=1)
    lines = [begun(1, 10), begun(2, 20), begun(1, 30, "finish"), begun(2, 40, "finish")]
    assert check_runs(job, lines) == ["overlap: attempt 2 began before attempt 1 had ended"]
    assert check_runs(job, [lines[0], lines[2], begun(1, 35), lines[3]]) == ["numbers: the attempts [1] ran twice"]
