"""Measures in one process what a call costs beside tables, jobs, batches and audiences of several sizes, in turns."""

import asyncio
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks import plain
from benchmarks.http_client import begin
from benchmarks.machine import SERVER_CPU, pin
from benchmarks.page_times import Kitchen
from benchmarks.seeding import KINDS
from jalebi.events import Event
from jalebi.jobs import Completed, Job
from jalebi.queue import Order
from jalebi.store.attempts import Claim

ARGS: Final = {"number": 200}
#: The kind and the queue of the jobs that are added; nothing of what was there before waits in it.
KIND: Final = KINDS[4]
QUEUE: Final = "bench"
_TOGETHER: Final = 1000
Found = dict[str, list[float]]


async def tables(paths: Sequence[str], rounds: int) -> list[Found]:
    """Return for each database the milliseconds of each call; every round goes through all of them."""
    kitchens = [Kitchen(Path(path), workers=False) for path in paths]
    found: list[Found] = [defaultdict(list) for _ in paths]
    try:
        for turn in range(rounds + 3):
            for kitchen, times in zip(kitchens, found, strict=True):
                await _turn(kitchen, times if turn > 2 else defaultdict(list))  # the first ones warm up
    finally:
        for kitchen in kitchens:
            await kitchen.shop.close()
    return found


async def _turn(kitchen: Kitchen, found: Found) -> None:
    rooms = await kitchen.shop.open()
    queue, store = rooms.queue, rooms.store
    job = await _timed(found["submit"], queue.submit(Order(kind=KIND, args=ARGS, queue=QUEUE)))
    claimed = await _timed(found["claim"], store.claim(_claim(1)))
    if [one.id for one in claimed] != [job.id]:
        raise SystemExit(f"{len(claimed)} jobs were claimed, and not the one that was submitted")
    await _timed(found["settle"], store.settle(job.id, claimed[0].attempt, Completed('{"pages":200}'), None))
    for name, path in (("list page", "/jobs"), ("job page", f"/jobs/{job.id}"), ("stats", "/v1/stats")):
        seconds, status, _ = await kitchen.get(path, [])
        if status != 200:
            raise SystemExit(f"{path} answers {status}")
        found[name].append(seconds * 1000)
    await _timed(found["purge"], store.delete(job.id))


async def _timed(times: list[float], work: Awaitable[Any]) -> Any:
    began = time.perf_counter()
    answer = await work
    times.append((time.perf_counter() - began) * 1000)
    return answer


def _claim(free: int) -> Claim:
    return Claim("benchmark", 3600.0, lambda: free, lambda: {KIND: None}, dict)


async def lines(sizes: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of a page of events and of the log, of jobs with so many events."""
    kitchen = Kitchen(Path("lines.db"), workers=False)
    rooms = await kitchen.shop.open()
    found: dict[str, list[float]] = {"page of events": [], "log page": []}
    try:
        for size in sizes:
            job = await rooms.queue.submit(Order(kind=KIND, args=ARGS, queue=QUEUE))
            await rooms.store.claim(_claim(1))
            for start in range(0, size, _TOGETHER):
                at, some = time.time(), range(min(_TOGETHER, size - start))
                await asyncio.gather(
                    *(rooms.store.record_log(job.id, 1, "info", "a line", at=at, keep_lines=10**6) for _ in some)
                )
            for name, path in (("page of events", f"/v1/jobs/{job.id}/events"), ("log page", f"/jobs/{job.id}/log")):
                found[name].append(await _middle(lambda path=path: kitchen.get(path, []), rounds))  # type: ignore[misc]
    finally:
        await kitchen.shop.close()
    return found


async def members(sizes: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of a look at a batch of so many jobs, and of submitting a batch, by job."""
    kitchen = Kitchen(Path("members.db"), workers=False)
    rooms = await kitchen.shop.open()
    found: dict[str, list[float]] = {"batch, submitted, a job": [], "batch, looked at": []}
    try:
        for size in sizes:
            orders = [Order(kind=KIND, args=ARGS, queue=QUEUE)] * size
            times: list[float] = []
            for _ in range(3):
                jobs, _ = await _timed(times, rooms.batches.submit(orders, last=None, webhook=None, keyed=None))
            found["batch, submitted, a job"].append(statistics.median(times) / size)
            path = f"/v1/batches/{jobs[0].batch}"
            found["batch, looked at"].append(await _middle(lambda path=path: kitchen.get(path, []), rounds))  # type: ignore[misc]
    finally:
        await kitchen.shop.close()
    return found


async def audience(sizes: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of an event for each of so many mailboxes of all jobs, published and taken."""
    kitchen = Kitchen(Path("audience.db"), workers=False)
    rooms = await kitchen.shop.open()
    found: list[float] = []
    try:
        job: Job = await rooms.queue.submit(Order(kind=KIND, args=ARGS, queue=QUEUE))
        for size in sizes:
            with ExitStack() as stack:
                boxes = [stack.enter_context(rooms.hub.subscribe()) for _ in range(size)]
                times = []
                for number in range(rounds):
                    event = Event(10**6 + number, "created", time.time(), job)
                    began = time.perf_counter()
                    rooms.hub.publish(event)
                    for box in boxes:
                        box.take()
                    times.append((time.perf_counter() - began) * 1000 / size)
            found.append(statistics.median(times))
    finally:
        await kitchen.shop.close()
    return {"event, a mailbox": found}


async def _middle(get: Callable[[], Awaitable[tuple[float, int, int]]], rounds: int) -> float:
    times = []
    for turn in range(rounds + 2):
        seconds, status, _ = await get()
        if status != 200:
            raise SystemExit(f"it answers {status}")
        times += [seconds * 1000] if turn > 1 else []
    return statistics.median(times)


async def stored(jobs: int) -> dict[str, float]:
    """Return the bytes of the file a no-op job with its events and its result, after so many by the real writer."""
    kitchen = Kitchen(Path("stored.db"), workers=False)
    try:
        rooms = await kitchen.shop.open()
        await rooms.store.read(lambda connection: None)
        empty = _size("stored.db")
        for start in range(0, jobs, _TOGETHER):
            orders = [Order(kind=KIND, args=ARGS, queue=QUEUE) for _ in range(min(_TOGETHER, jobs - start))]
            await asyncio.gather(*(rooms.queue.submit(order) for order in orders))
            claimed = await rooms.store.claim(_claim(len(orders)))
            ended = (rooms.store.settle(one.id, one.attempt, Completed('{"pages":200}'), None) for one in claimed)
            await asyncio.gather(*ended)
    finally:
        await kitchen.shop.close()
    connection = plain.database(Path("stored.db"))
    counts = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("job", "event", "result")]
    connection.close()
    return {"bytes": (_size("stored.db") - empty) / jobs, "jobs": counts[0], "events": counts[1], "results": counts[2]}


def _size(name: str) -> int:
    connection = plain.database(Path(name))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return os.stat(name).st_size


MEASURES: Final[dict[str, Callable[..., Any]]] = {
    "tables": tables, "lines": lines, "members": members, "audience": audience, "stored": stored,
}  # fmt: skip


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin(None)
    work = MEASURES[order.pop("measure")]
    pin(SERVER_CPU)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(work(**order))))


if __name__ == "__main__":
    main()
