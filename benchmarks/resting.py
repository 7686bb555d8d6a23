"""Measures what a server costs that has nothing to do: subscribers that hear nothing, memory after many jobs."""

import asyncio
import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.http_client import begin, connect
from benchmarks.inside import ARGS
from benchmarks.machine import resident
from benchmarks.shop import shop
from benchmarks.ws_client import Subscriber, Tally, until
from jalebi.queue import Order
from jalebi.web.rooms import Rooms

_TOGETHER: Final = 1000
#: Seconds that a server gets to come to rest.
SETTLE: Final = 5.0


async def idle(port: int, pid: int, sockets: int, seconds: float) -> dict[str, Any]:
    """Connect subscribers of all jobs, and return the share of a core that the server uses meanwhile."""
    tally = Tally()
    readers = await connect(port, lambda: Subscriber(tally, "/ws/events"), sockets)
    await until(lambda: tally.other >= sockets, 20)
    if tally.open < sockets:
        raise SystemExit(f"only {tally.open} of {sockets} sockets were opened")
    await asyncio.sleep(SETTLE)
    before = _used(pid)
    await asyncio.sleep(seconds)
    used = {name: spent - before.get(name, 0.0) for name, spent in _used(pid).items()}
    lost = sum(reader.transport.is_closing() for reader in readers)
    for reader in readers:
        reader.transport.close()
    return {"share": sum(used.values()) / seconds, "lost": lost, "threads": used}


def _used(pid: int) -> dict[str, float]:
    """Return the CPU seconds of each thread, by the scheduler's count of nanoseconds."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = f"{task.joinpath('comm').read_text().strip()} {task.name}"
        found[name] = int(task.joinpath("schedstat").read_text().split()[0]) / 1e9
    return found


async def memory(few: int, many: int) -> dict[str, Any]:
    """Return the bytes that the process holds after few jobs and after many, everything swept up."""
    shop.configure(database_url="sqlite:///memory.db", concurrency=100, max_waiting=10**7, grace=1)
    found = []
    async with shop.lifespan():
        rooms = await shop.open()
        done = 0
        for goal in (few, many):
            while done < goal:
                some = min(_TOGETHER, goal - done)
                await asyncio.gather(*(rooms.queue.submit(Order(kind="noop", args=ARGS)) for _ in range(some)))
                await _all_over(rooms)
                done += some
            gc.collect()
            found.append(resident(os.getpid()))
    return {"few": found[0], "many": found[1]}


async def _all_over(rooms: Rooms) -> None:
    async with asyncio.timeout(60):
        while await _waiting(rooms):  # noqa: ASYNC110  a subscription would be part of what is measured
            await asyncio.sleep(0.01)


async def _waiting(rooms: Rooms) -> int:
    def query(connection: Any) -> int:
        active = "SELECT coalesce(sum(n), 0) FROM tally WHERE state IN ('queued', 'running')"
        return int(connection.exec_driver_sql(active).scalar_one())

    return await rooms.store.read(query)


MEASURES: Final[dict[str, Callable[..., Any]]] = {"idle": idle, "memory": memory}


def main() -> None:
    """Carry out the order and print what was found."""
    order = begin()
    work = MEASURES[order.pop("measure")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(work(**order))))


if __name__ == "__main__":
    main()
