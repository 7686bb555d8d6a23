"""What was stopped for three leases goes on: servers and job processes keep their jobs, zombies change nothing."""

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import httpx2
import pytest
from sqlalchemy import Connection

from jalebi import Jalebi
from jalebi.events import Event
from jalebi.jobs import Completed, Failed, Job, Outcome, Progress, Released, State, failure
from jalebi.kinds import Isolation
from jalebi.queue import Queue
from jalebi.runner import rescue
from jalebi.runner.worker import Worker
from jalebi.store import Store, reads
from jalebi.store.attempts import Claim, Fenced
from jalebi.store.tx import Op
from jalebi.store.writer import Writer
from tests.faults import shop as kinds
from tests.faults.harness import (
    Server,
    all_over,
    check_attempts,
    children_of,
    dice,
    figures,
    journal,
    stored,
    times,
    unfinished,
    until,
)
from tests.support import eventually, finished, opened, reached

pytestmark = pytest.mark.faults

Moment = Literal["waiting", "running", "over"]

LEASE: Final = 0.5
STOPPED: Final = 3 * LEASE
ENV: Final = {"JALEBI_LEASE": str(LEASE), "JALEBI_CONCURRENCY": "4"}
ISOLATIONS: Final[tuple[Isolation, ...]] = ("loop", "thread", "process")
KINDS: Final[dict[Isolation, Callable[..., Any]]] = {
    "loop": kinds.loop_gated, "thread": kinds.thread_gated, "process": kinds.process_gated,
}  # fmt: skip
DEEDS: Final[tuple[list[str], ...]] = ([], ["progress"], ["log"], ["file"], ["progress", "log", "file"])
ENDINGS: Final = ("return", "raise", "give up")
#: What has become of the job when its first attempt goes on: it waits, the second attempt runs, the second is over.
MOMENTS: Final[tuple[Moment, ...]] = ("waiting", "running", "over")
TABLES: Final = {"job": "id", "event": "job_id", "file": "job_id", "result": "job_id"}


async def submitted(url: str, orders: Sequence[dict[str, Any]]) -> list[str]:
    """Submit jobs and return their ids."""
    async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
        return [(await client.post("/v1/jobs", json=order)).json()["id"] for order in orders]


async def at_work(folder: Path, jobs: Sequence[str]) -> None:
    """Wait until one of the jobs runs."""

    async def runs() -> bool:
        return any(line.job_id in jobs for line in unfinished(journal(folder)))

    assert await until(runs)


async def stop_server(folder: Path, rng: random.Random, rounds: int) -> list[str]:
    """Stop and continue a server that runs jobs, so many times; return the jobs that were accepted."""
    folder.mkdir()
    accepted = []
    with Server(folder, "shop", env=ENV) as server:
        await server.started()
        for _ in range(rounds):
            orders = [
                {"kind": rng.choice(["loop_work", "thread_work", "process_work"]), "args": {"seconds": rng.random()}}
                for _ in range(6)
            ]
            accepted += (jobs := await submitted(server.url, orders))
            await at_work(folder, jobs)
            await asyncio.sleep(rng.uniform(0, 0.2))
            server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(STOPPED)
            server.process.send_signal(signal.SIGCONT)
            await all_over(server.url)
        await server.stop()
    return accepted


async def test_a_server_that_was_stopped_for_three_leases_completes_nothing_twice(tmp_path: Path) -> None:
    rng = dice("stopped servers")
    servers, rounds = 4, times(2, 25)
    folders = [tmp_path / str(number) for number in range(servers)]
    accepted = await asyncio.gather(*(stop_server(folder, rng, rounds) for folder in folders))
    findings = [found for folder, jobs in zip(folders, accepted, strict=True) for found in check_attempts(folder, jobs)]
    jobs = [job for folder in folders for job in stored(folder / "jobs.db").values()]
    figures(
        "stopped servers", findings, stops=servers * rounds, jobs=len(jobs),
        completed=sum(job.state == "completed" for job in jobs), further_attempts=sum(job.attempt - 1 for job in jobs),
    )  # fmt: skip


async def test_a_job_process_that_was_stopped_for_three_leases_keeps_its_job(tmp_path: Path) -> None:
    rng = dice("stopped children")
    rounds, at_once = times(2, 25), 4
    accepted = []
    with Server(tmp_path, "shop", env=ENV) as server:
        await server.started()
        for _ in range(rounds):
            orders = [
                {"kind": "process_work", "args": {"seconds": rng.uniform(0.2, 1)}, "max_attempts": 1}
                for _ in range(at_once)
            ]
            accepted += (jobs := await submitted(server.url, orders))

            async def all_run(jobs: Sequence[str] = jobs) -> bool:
                return {line.job_id for line in journal(tmp_path)} >= set(jobs)

            assert await until(all_run)
            await stop_children(server)
            await all_over(server.url)
        await server.stop()
    findings = check_attempts(tmp_path, accepted)
    findings += [
        f"{job.id} is {job.state}" for job in stored(tmp_path / "jobs.db").values() if job.state != "completed"
    ]
    figures("stopped children", findings, stops=rounds * at_once, jobs=len(accepted))


async def stop_children(server: Server) -> None:
    """Stop every job process of a server for three leases."""
    children = children_of(server.pid)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, number)
        if number == signal.SIGSTOP:
            await asyncio.sleep(STOPPED)


@dataclass(frozen=True)
class Case:
    """How a zombie comes about, and what it tries."""

    isolation: Isolation
    deeds: list[str]
    ending: str
    moment: Moment


def frozen_workers(monkeypatch: pytest.MonkeyPatch, queue: Queue) -> tuple[Worker, Worker]:
    """Return a worker that neither renews its leases nor sees them end, as if it were stopped, and a sound one."""
    first, second = Worker(queue, None), Worker(queue, None)

    async def stands_still() -> bool:
        return False

    for beat in ("_renew", "_watch_leases"):
        monkeypatch.setattr(first, beat, stands_still)
    return first, second


class Scene:
    """A shop with two workers; the first loses a job to the second and does not know it."""

    def __init__(self, shop: Jalebi, store: Store, first: Worker, job: Job, gates: Path) -> None:
        self.shop = shop
        self.store = store
        self.first = first
        self.job = job
        self.gates = gates

    async def heard(self, word: str) -> None:
        """Wait for a word of an attempt."""

        async def there() -> bool | None:
            return (self.gates / word).exists() or None

        await eventually(there)

    def open(self, gate: str) -> None:
        """Let an attempt go on."""
        (self.gates / gate).touch()

    async def rows(self) -> dict[str, list[Any]]:
        """Return all that is stored of the job. Its lease is left out: the second worker renews it."""

        def query(connection: Connection) -> dict[str, list[Any]]:
            found = {}
            for table, column in TABLES.items():
                answer = connection.exec_driver_sql(f"SELECT * FROM {table} WHERE {column} = ?", (self.job.id,))
                found[table] = [{k: v for k, v in row.items() if k != "lease_until"} for row in answer.mappings()]
            return found

        return await self.store.read(query)

    async def lose(self, moment: Moment) -> None:
        """Let the first worker lose the job, and wait for what is to become of it meanwhile."""
        await self.heard("1.began")
        if moment == "waiting":
            await reached(self.shop, self.job, State.RETRYING)
            return
        await self.heard("2.began")
        if moment == "over":
            await self.finish()

    async def haunt(self) -> None:
        """Let the first attempt do what it was about to do, to its end; a process is killed at its first refusal."""
        self.open("1.go")

        async def did() -> bool | None:
            return (self.gates / "1.did").exists() or self.first._idle.is_set() or None

        await eventually(did)
        await self.first._save()  # what it reported, however soon its slot is free
        self.open("1.end")
        await self.first._idle.wait()

    async def knock(self) -> list[str]:
        """Try every write of an attempt past the worker, in the first attempt's name; say which were accepted."""
        job, store = self.job.id, self.store
        file = {"name": "late.txt", "size": 0, "media_type": "text/plain", "path": "nowhere"}
        await store.save_progress(job, 1, Progress(done=99))
        accepted: dict[str, object] = {
            "log": await store.record_log(job, 1, "info", "late", at=store.clock(), keep_lines=10),
            "file": await store.record_file(job, 1, file, at=store.clock()),
            "renewal": await store.renew([(job, 1)], LEASE),
        }
        outcomes: list[Outcome] = [Failed(failure("Late", "late")), Released(), Completed('"late"')]
        for outcome in outcomes:
            accepted[type(outcome).__name__] = await store.settle(job, 1, outcome, None)
        return [f"accepted: {write} of attempt 1" for write, answer in accepted.items() if answer]

    async def finish(self) -> None:
        """Let the second attempt go on to its end."""
        self.open("2.go")
        self.open("2.end")
        await finished(self.shop, self.job)


def difference(before: dict[str, list[Any]], after: dict[str, list[Any]], who: str) -> list[str]:
    """Say which tables were changed."""
    return [f"changed: {table} by {who}" for table in TABLES if before[table] != after[table]]


async def zombie(monkeypatch: pytest.MonkeyPatch, folder: Path, case: Case) -> list[str]:
    """Play one case from submission to completion; say what the zombie was able to do."""
    gates = folder / "gates"
    gates.mkdir(parents=True)
    monkeypatch.setattr(rescue, "EVERY", LEASE / 4)
    shop = Jalebi(database_url=f"sqlite:///{folder / 'jobs.db'}", workers=False, lease=LEASE, concurrency=1)
    function = KINDS[case.isolation]
    shop.job(isolation=case.isolation, backoff=60.0 if case.moment == "waiting" else 0.01)(function)
    async with opened(shop):
        rooms = await shop.open()
        first, second = frozen_workers(monkeypatch, rooms.queue)
        async with first.running(), second.running():
            job = await shop.submit(function, folder=str(gates), deeds=case.deeds, ending=case.ending)
            scene = Scene(shop, rooms.store, first, job, gates)
            await scene.lose(case.moment)
            before = await scene.rows()
            await scene.haunt()
            between = await scene.rows()
            findings = difference(before, between, "the attempt") + await scene.knock()
            findings += difference(between, await scene.rows(), "late writes")
            if case.moment == "waiting":
                await rooms.queue.cancel(job.id)
            else:
                await scene.finish()
            return findings + await completions(scene, case)


async def completions(scene: Scene, case: Case) -> list[str]:
    """Say what is wrong with how the job ended: only its second attempt may have completed it."""
    rows = await scene.rows()
    ends = [event["type"] for event in rows["event"] if event["type"] in {"completed", "failed"}]
    result = await scene.store.read(lambda connection: reads.result(connection, scene.job.id))
    wanted = ([], None) if case.moment == "waiting" else (["completed"], "2")
    return [] if (ends, result) == wanted else [f"completions: it ended by {ends} with {result}, not {wanted}"]


async def test_a_worker_that_lost_its_job_changes_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = dice("zombies")
    rounds = times(9, 100)
    findings = []
    pairs = itertools.cycle(itertools.product(ISOLATIONS, MOMENTS))
    for number, (isolation, moment) in enumerate(itertools.islice(pairs, rounds)):
        case = Case(isolation, rng.choice(DEEDS), rng.choice(ENDINGS), moment)
        with monkeypatch.context() as patched:
            findings += [f"{found} ({case})" for found in await zombie(patched, tmp_path / str(number), case)]
    completions = sum(found.startswith("completions") for found in findings)
    figures("zombies", findings, rounds=rounds, wrong_completions=completions)


@pytest.mark.parametrize(("deeds", "ending"), [([], "return"), (["log", "file"], "raise")])
async def test_a_store_that_takes_the_writes_of_any_attempt_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deeds: list[str], ending: str
) -> None:
    monkeypatch.setattr(Fenced, "holds", lambda _, job: job is not None)
    findings = await zombie(monkeypatch, tmp_path, Case("loop", deeds, ending, "running"))
    print(f"without a fence: {findings}")
    assert "changed: job by the attempt" in findings


async def test_a_claim_whose_commit_outlasted_the_lease_is_not_run_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv(kinds.FOLDER, str(tmp_path))
    monkeypatch.setattr(rescue, "EVERY", LEASE)
    answer, waits = Writer._answer, iter([STOPPED])

    def late(writer: Writer, answers: list[tuple[Op, Any]], events: list[Event]) -> None:
        if any(isinstance(op, Claim) and started for op, started in answers):
            time.sleep(next(waits, 0.0))  # the disk takes its time over the commit, or the process is stopped in it
        answer(writer, answers, events)

    monkeypatch.setattr(Writer, "_answer", late)
    shop = Jalebi(database_url=f"sqlite:///{tmp_path / 'jobs.db'}", lease=LEASE)
    shop.job(isolation="thread", backoff=0.01)(kinds.thread_work)
    async with opened(shop):
        await finished(shop, await shop.submit(kinds.thread_work, seconds=1.0))
    assert [line.word for line in journal(tmp_path) if line.word in {"start", "overlap"}] == ["start"]
