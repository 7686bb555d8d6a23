"""No-op jobs a second from a full table, beside a plain loop that commits one row a job."""

from benchmarks.figures import Table, ratios, spread
from benchmarks.peers import pgqueuer
from benchmarks.processes import CannotRun, measured
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
    _beside_pgqueuer(size, table)
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


#: The batches with which pgqueuer is fastest.
BATCH = 1000


def _beside_pgqueuer(size: Size, table: Table) -> None:
    """Add a row of both, in turns; a note where the other is not to be had."""
    ours, theirs, wrong, versions = [], [], 0, ""
    try:
        with pgqueuer(size.folder) as drain:
            for _ in range(size.rounds):
                found = drain(size.drain_jobs, BATCH)
                theirs.append(found["rate"])
                wrong, versions = wrong + found["wrong"], found["versions"]
                one = measured("inside", size.folder, measure="drain", jobs=size.drain_jobs, concurrency=BATCH,
                               commits=100)  # fmt: skip
                ours.append(one["rate"])
    except CannotRun as error:
        table.notes.append(f"pgqueuer is not compared: {error}.")
        return
    name = f"async def, {BATCH:,} at once, beside pgqueuer"
    table.rows.append([name, spread(ours), spread(theirs), spread(ratios(ours, theirs)), "not measured"])
    table.notes.append(
        f"pgqueuer: {versions} (fsync on, on a socket), in batches of {BATCH:,}, its best; it drains as many jobs in "
        f"the same rounds, on both cores. Jobs that it lost or kept: {wrong}."
    )
