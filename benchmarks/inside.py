"""Measures a shop from inside of its process: draining, pick-up without HTTP, the cost of progress."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import plain
from benchmarks.http_client import IDLE, begin, idle
from benchmarks.machine import SERVER_CPU, pin
from benchmarks.shop import arrivals, arrive, shop
from jalebi.jobs import TERMINAL
from jalebi.queue import Order
from jalebi.retention import Retention
from jalebi.runner.worker import Worker
from jalebi.web.rooms import Rooms

DATABASE: Final = "jobs.db"
ARGS: Final = {"title": "Q3 figures", "pages": 200}


async def drain(jobs: int, concurrency: int, commits: int) -> dict[str, Any]:
    """Fill the table, then let a worker empty it; beside it a plain loop of commits, before and after."""
    beside = plain.commits(Path(), commits)
    shop.configure(
        database_url=f"sqlite:///{DATABASE}", workers=False, concurrency=concurrency, max_waiting=jobs + 1, grace=1
    )
    async with shop.lifespan():
        rooms = await shop.open()
        for start in range(0, jobs, 1000):
            orders = [Order(kind="noop", args=ARGS) for _ in range(min(1000, jobs - start))]
            await asyncio.gather(*(rooms.queue.submit(order) for order in orders))
        with rooms.hub.subscribe(wants=_over, room=jobs + 1) as mailbox:
            began, cpu = time.perf_counter(), time.process_time()
            async with Worker(rooms.queue, None).running():
                await _count(mailbox, jobs)
                took, busy = time.perf_counter() - began, time.process_time() - cpu
    beside += plain.commits(Path(), commits)
    return {
        "rate": jobs / took,
        "cpu": busy / jobs * 1e6,
        "commits": len(beside) / sum(beside),
        "wrong": _wrong(jobs),
    }


def _over(job: Any) -> bool:
    return job.state in TERMINAL


async def _count(mailbox: Any, jobs: int) -> None:
    done = 0
    async with asyncio.timeout(60):
        async for batch in mailbox:
            done += len(batch)
            if done >= jobs:
                return


def _wrong(jobs: int) -> str:
    """Return what is missing in the file: every job completed, three events and one result of each."""
    connection = plain.database(Path(DATABASE))
    try:
        counts = [
            connection.execute(query).fetchone()[0]
            for query in (
                "SELECT count(*) FROM job WHERE state = 'completed'",
                "SELECT count(*) FROM event WHERE type IN ('started', 'completed')",
                "SELECT count(*) FROM result",
            )
        ]
    finally:
        connection.close()
    return "" if counts == [jobs, 2 * jobs, jobs] else f"{jobs} jobs left {counts} completed, events, results"


async def submissions(jobs: int, tasks: int) -> dict[str, Any]:
    """Submit from many tasks at once; beside it a plain loop that commits as many rows at a time."""
    shop.configure(database_url=f"sqlite:///{DATABASE}", workers=False, max_waiting=2 * jobs)

    async def some(count: int) -> None:
        for _ in range(count):
            await shop.submit("noop", ARGS)

    async with shop.lifespan():
        await asyncio.gather(*(some(20) for _ in range(tasks)))
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some(jobs // tasks) for _ in range(tasks)))
        took, busy = time.perf_counter() - began, time.process_time() - cpu
    return {
        "rate": jobs // tasks * tasks / took,
        "cpu": busy / jobs * 1e6,
        "plain": plain.grouped(Path(), jobs, tasks),
    }


async def batches(jobs: int, members: int) -> dict[str, Any]:
    """Submit batches through the ASGI application, one after the other; beside it a plain loop, as many rows a time."""
    shop.configure(database_url=f"sqlite:///{DATABASE}", workers=False, max_waiting=2 * jobs + members)
    body = json.dumps({"jobs": [{"kind": "noop", "args": ARGS}] * members}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/jobs/batch", "raw_path": b"/v1/jobs/batch", "query_string": b"", "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async with shop.lifespan():
        await shop({**scope, "state": {}}, receive, send)
        began = time.perf_counter()
        for _ in range(jobs // members):
            await shop({**scope, "state": {}}, receive, send)
        took = time.perf_counter() - began
    bad = sum(status != 202 for status in statuses)
    return {"rate": jobs / took, "plain": plain.grouped(Path(), jobs, members), "bad": bad}


async def processes(jobs: int, workers: int, rounds: int) -> dict[str, Any]:
    """Run no-ops in child processes that have started, beside a pool of as many processes."""
    shop.configure(database_url=f"sqlite:///{DATABASE}", concurrency=workers, grace=1)
    rates = []
    async with shop.lifespan():
        rooms = await shop.open()
        for round_ in range(rounds + 1):
            count = jobs if round_ else 10 * workers  # the first round warms up
            with rooms.hub.subscribe(wants=_over, room=count + 1) as mailbox:
                began = time.perf_counter()
                orders = [Order(kind="noop_process", args=ARGS) for _ in range(count)]
                await asyncio.gather(*(rooms.queue.submit(order) for order in orders))
                await _count(mailbox, count)
                rates.append(count / (time.perf_counter() - began))
    return {"rates": rates[1:], "pool": plain.pool_rates(jobs, workers, rounds)}


async def pick_up(jobs: int) -> dict[str, Any]:
    """Submit one job at a time to an idle worker; beside it the time of a plain commit, before and after."""
    pin(SERVER_CPU)
    commits = plain.commits(Path(), jobs // 2, IDLE)
    shop.configure(database_url=f"sqlite:///{DATABASE}", grace=1)
    returned = []
    async with shop.lifespan():
        for number in range(jobs):
            await asyncio.sleep(idle(number))
            began = time.monotonic_ns()
            await shop.submit(arrive, sent=began)
            returned.append((time.monotonic_ns() - began) / 1e6)
        await asyncio.sleep(0.1)
    commits += plain.commits(Path(), jobs // 2, IDLE)
    return {
        "delays": [delay / 1e6 for delay in arrivals],
        "returned": statistics.median(returned),
        "commit": statistics.median(commits) * 1000,
        "bad": jobs - len(arrivals),
    }


async def progress(calls: int, items: int, rounds: int) -> dict[str, Any]:
    """Return for each isolation and round the seconds of calls and items, reported and plain."""
    shop.configure(database_url=f"sqlite:///{DATABASE}", grace=1)
    found: dict[str, list[Sequence[Sequence[float]]]] = {"loop": [], "thread": [], "process": []}
    async with shop.lifespan():
        rooms = await shop.open()
        for _ in range(rounds):
            for isolation, rows in found.items():
                rows.append(json.loads(await _result(rooms, f"cost_{isolation}", {"calls": calls, "items": items})))
    return found


async def _result(rooms: Rooms, kind: str, args: dict[str, Any]) -> str:
    with rooms.hub.subscribe(wants=_over) as mailbox:
        job = await shop.submit(kind, args)
        await _count(mailbox, 1)
    result = await rooms.queue.result(job.id)
    if result is None:
        raise SystemExit(f"{kind} failed: {(await rooms.queue.get(job.id)).error}")
    return result


async def purge(jobs: int, submissions: int) -> dict[str, Any]:
    """Submit one job after the other, first alone and then while `jobs` old ones are purged as they would be."""
    pin(SERVER_CPU)
    shop.configure(database_url=f"sqlite:///{DATABASE}", workers=False, max_waiting=10**7, grace=1, retention_age=0.001)
    async with shop.lifespan():
        rooms = await shop.open()
        for start in range(0, jobs, 1000):
            orders = [Order(kind="noop", args=ARGS) for _ in range(min(1000, jobs - start))]
            made = await asyncio.gather(*(rooms.queue.submit(order) for order in orders))
            await asyncio.gather(*(rooms.queue.cancel(job.id) for job in made))
        alone = await _submissions(rooms, submissions)
        sweep = asyncio.create_task(Retention(rooms.queue).sweep())
        began = time.perf_counter()
        beside = []
        while not sweep.done():
            beside += await _submissions(rooms, 20)
        return {"alone": alone, "beside": beside, "purged": sweep.result(), "seconds": time.perf_counter() - began}


async def _submissions(rooms: Rooms, count: int) -> list[float]:
    """Return how many milliseconds each took."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await rooms.queue.submit(Order(kind="noop", args=ARGS))
        took.append((time.perf_counter() - began) * 1000)
    return took


MEASURES: Final[dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]]] = {
    "drain": drain,
    "submissions": submissions,
    "batches": batches,
    "processes": processes,
    "pick_up": pick_up,
    "progress": progress,
    "purge": purge,
}


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin(None)
    work = MEASURES[order.pop("measure")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(work(**order))))


if __name__ == "__main__":
    main()
