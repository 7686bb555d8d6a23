"""Drains no-op jobs with pgqueuer on PostgreSQL; run by the interpreter of an environment that has pgqueuer."""

import importlib.metadata
import json
import sys
import time

import asyncpg  # type: ignore[import-not-found,import-untyped,unused-ignore]
import uvloop
from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.qm import QueueManager  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.queries import Queries  # type: ignore[import-not-found,unused-ignore]
from pgqueuer.types import QueueExecutionMode  # type: ignore[import-not-found,unused-ignore]


async def main(host: str, jobs: int, batch: int) -> None:
    """Fill the table, drain it in batches, and print how many jobs a second were done."""
    connection = await asyncpg.connect(host=host, user="postgres", database="postgres")
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    for start in range(0, jobs, 1000):
        some = min(1000, jobs - start)
        await queries.enqueue(["noop"] * some, [b'{"title":"Q3 figures","pages":200}'] * some, [0] * some)
    manager = QueueManager(queries)
    done = 0

    @manager.entrypoint("noop")  # type: ignore[untyped-decorator,unused-ignore]
    async def noop(_job: object) -> None:
        nonlocal done
        done += 1

    began = time.perf_counter()
    await manager.run(batch_size=batch, mode=QueueExecutionMode.drain)
    took = time.perf_counter() - began
    left = await connection.fetchval("SELECT count(*) FROM pgqueuer")
    version = await connection.fetchval("SHOW server_version")
    await connection.close()
    versions = f"pgqueuer {importlib.metadata.version('pgqueuer')}, PostgreSQL {version}"
    print(json.dumps({"rate": done / took, "wrong": jobs - done + left, "versions": versions}))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
