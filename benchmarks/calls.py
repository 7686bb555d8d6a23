"""Submissions from Python and in batches, beside a plain loop that commits as many small rows at a time."""

from typing import Any

from benchmarks.figures import Table, ratios, spread
from benchmarks.processes import measured
from benchmarks.sizes import Size

TASKS = 50


def run(size: Size) -> Table:
    """Submit from many tasks of one process, then in batches of two sizes."""
    table = Table(
        "Submissions without a connection (on disk before the answer)", ("what", "jobs/s", "plain rows/s", "ratio")
    )
    rounds = [measured("inside", size.folder, measure="submissions", jobs=size.drain_jobs, tasks=TASKS)
              for _ in range(size.rounds)]  # fmt: skip
    table.rows.append(_row(f"shop.submit, {TASKS} tasks", rounds))
    bad = 0
    for members in (1000, 10_000):
        rounds = [measured("inside", size.folder, measure="batches", jobs=max(members, size.batch_jobs),
                           members=members) for _ in range(size.rounds)]  # fmt: skip
        bad += sum(one["bad"] for one in rounds)
        table.rows.append(_row(f"POST /v1/jobs/batch, {members:,} at a time", rounds))
    table.notes += [
        "The batches are requests to the ASGI application, one after the other, their JSON parsed and every job "
        f"validated. Answers other than 202: {bad}.",
        "plain: rows of four columns without an index, INSERT by executemany, as many a transaction as there are tasks "
        "or jobs in a batch (synchronous=FULL). Each job is a row in eight indexes and an event besides.",
        f"{size.drain_jobs:,} jobs from tasks, {size.batch_jobs:,} in batches; both cores may be used.",
    ]
    return table


def _row(name: str, rounds: list[dict[str, Any]]) -> list[str]:
    ours, theirs = [one["rate"] for one in rounds], [one["plain"] for one in rounds]
    return [name, spread(ours), spread(theirs), spread(ratios(ours, theirs))]
