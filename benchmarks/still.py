"""What a server uses that has nothing to do, with subscribers and scheduled jobs; and its memory after many jobs."""

import shutil
import time
from pathlib import Path

from benchmarks import plain
from benchmarks.figures import Table, number
from benchmarks.processes import CannotRun, measured, serving
from benchmarks.seeding import remove, seeded
from benchmarks.sizes import Size

#: What an idle server may use of a core, and by how much its memory may have grown.
SHARE = 0.002
GROWN = 1.2


def run(size: Size) -> Table:
    """Watch an idle server, then count its memory."""
    path = size.folder / "scheduled.db"
    _scheduled(path, size)
    try:
        with serving("jalebi", size.folder, database_url=f"sqlite:///{path}", retention_age=1e9) as server:
            idle = measured(
                "resting", size.folder, measure="idle", port=server.port, pid=server.pid, sockets=size.sockets,
                seconds=size.idle_seconds,
            )  # fmt: skip
    finally:
        remove(path)
    many = size.through_jobs
    memory = measured("resting", size.folder, 280, measure="memory", few=many // 20, many=many)
    if memory["few"] is None:
        raise CannotRun("Memory is read from /proc.")
    ratio = memory["many"] / memory["few"]
    busiest = sorted(idle["threads"].items(), key=lambda item: -item[1])[:4]
    return Table(
        "At rest",
        ("measure", "found", "target", ""),
        [
            _row(f"CPU, % of a core ({size.sockets:,} subscribers, {size.stored_jobs:,} scheduled jobs)",
                 idle["share"] * 100, SHARE * 100),
            _row(f"memory after {many:,} jobs by that after {many // 20:,}", ratio, GROWN),
        ],
        [
            f"CPU: by the scheduler's count for each thread, over {size.idle_seconds:g} s; busiest: "
            + ", ".join(f"{name} {number(spent / size.idle_seconds * 100)} %" for name, spent in busiest)
            + f". Subscribers lost: {idle['lost']}.",
            f"Memory: {memory['few'] / 2**20:.0f} and {memory['many'] / 2**20:.0f} MiB resident, after a collection.",
        ],
    )  # fmt: skip


def _row(name: str, found: float, most: float) -> list[str]:
    return [name, number(found), f"<= {number(most)}", "met" if found <= most else "MISSED"]


def _scheduled(path: Path, size: Size) -> None:
    """Make a database of nothing but jobs whose time is tomorrow or later."""
    source = seeded(size.stored_jobs)
    try:
        shutil.copyfile(source, path)
    finally:
        if not size.keep:
            remove(source)
    connection = plain.database(path)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("DELETE FROM queue")
        connection.execute(
            "UPDATE job SET state = 'scheduled', run_at = ? + rowid % 86400, started_at = NULL, finished_at = NULL, "
            "expires_at = NULL, worker = NULL, lease_until = NULL, error = NULL, fingerprint = NULL, progress = NULL",
            (time.time() + 86_400,),
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
