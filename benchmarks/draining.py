"""No-op jobs a second from a full table, beside a plain loop that commits one row a job."""

from benchmarks.figures import Table, ratios, spread
from benchmarks.processes import measured
from benchmarks.sizes import Size


def run(size: Size) -> Table:
    """Drain in the loop with few and with many slots, then through child processes."""
    table = Table(
        "Drained no-op jobs (start, result and finish of each on disk)",
        ("jobs", "jobs/s", "plain/s", "ratio", "CPU us/job"),
    )
    wrong = ""
    for concurrency in (10, 100, 1000):
        found = [
            measured("inside", size.folder, measure="drain", jobs=size.drain_jobs, concurrency=concurrency,
                     commits=size.drain_commits)
            for _ in range(size.rounds)
        ]  # fmt: skip
        ours, theirs = [one["rate"] for one in found], [one["commits"] for one in found]
        table.rows.append(
            [f"async def, {concurrency} at once", spread(ours), spread(theirs), spread(ratios(ours, theirs)),
             spread([one["cpu"] for one in found])]
        )  # fmt: skip
        wrong = next((one["wrong"] for one in found if one["wrong"]), wrong)
    children = measured(
        "inside", size.folder, measure="processes", jobs=size.process_jobs, workers=2, rounds=size.rounds
    )
    ours, theirs = children["rates"], children["pool"]
    table.rows.append(
        ["def in 2 child processes", spread(ours), spread(theirs), spread(ratios(ours, theirs)), "not measured"]
    )
    table.notes += [
        f"async def: {size.drain_jobs:,} jobs in the table; from the start of the worker until every finish is "
        "committed. plain: a loop on one connection, INSERT and commit of one row a job (synchronous=FULL).",
        f"def: {size.process_jobs:,} jobs handed in at once, the children started before; plain: as many no-op calls "
        "through ProcessPoolExecutor of 2, which stores nothing.",
        wrong or "Afterwards the file held every job as completed, two events of its attempt, and its result.",
    ]
    return table
