"""What a full table costs: submit and claim beside an empty one, bytes of the file a job, and the start of a server."""

import http.client
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Table, number, spread
from benchmarks.http_client import BODY
from benchmarks.processes import measured, serving
from benchmarks.seeding import remove, seeded
from benchmarks.sizes import Size

HUGE = 10_000_000
#: What a call may cost by what it costs with an empty table, the bytes a no-op job, and the seconds of a start.
RATIO = 1.2
BYTES = 1229.0
START = 1.0


def run(size: Size) -> Table:
    """Measure all of it, with ten million jobs where that is asked for."""
    jobs = HUGE if size.huge else size.stored_jobs
    table = Table(f"Size: what {jobs:,} jobs cost", ("measure", "found", "empty", "ratio", "target", ""))
    with _kept(size, jobs) as full, _kept(size, 1) as empty:
        paths = [str(empty), str(full)]
        found = measured("growing", size.folder, 280, measure="tables", paths=paths, rounds=10 * size.page_views)
        for name in ("submit", "claim"):
            small, large = (statistics.median(one[name]) for one in found)
            table.rows.append(
                [f"{name}, ms", number(large), number(small), number(large / small), f"<= {RATIO:g}",
                 _said(large / small, RATIO)]
            )  # fmt: skip
        starts = [_start(size, full) for _ in range(size.rounds)]
    stored = measured("growing", size.folder, 200, measure="stored", jobs=size.real_stored)
    table.rows += [
        ["file, bytes a no-op job", number(stored["bytes"]), "", "", f"<= {BYTES:,.0f}", _said(stored["bytes"], BYTES)],
        ["start of the process to the first 202, s", spread(starts), "", "", f"<= {START:g}",
         _said(statistics.median(starts), START)],
    ]  # fmt: skip
    table.notes += [
        "submit and claim: the median of one call at a time, in turns with the empty database, each a commit.",
        f"file: {stored['jobs']:,} jobs by the real writer, with {stored['events']:,} events and {stored['results']:,} "
        "results, after a checkpoint.",
        "start: from before the process is created; Python's imports are part of it.",
    ]
    return table


def _said(found: float, most: float) -> str:
    return "met" if found <= most else "MISSED"


@contextmanager
def _kept(size: Size, jobs: int) -> Iterator[Path]:
    path = seeded(jobs)
    try:
        yield path
    finally:
        if not size.keep:
            remove(path)


def _start(size: Size, path: Path) -> float:
    """Return the seconds from before a server is started until a submission is accepted."""
    began = time.perf_counter()
    with serving("jalebi", size.folder, database_url=f"sqlite:///{path}", retention_age=1e9, workers=False) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", "/v1/jobs", BODY, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        took = time.perf_counter() - began
        connection.close()
    if status != 202:
        raise SystemExit(f"the server answers {status}")
    return took
