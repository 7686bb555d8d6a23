"""What a submission waits longer while old jobs are purged, beside the same submissions alone."""

from benchmarks.figures import Table, number, percentile, ratios, spread
from benchmarks.processes import measured
from benchmarks.sizes import Size


def run(size: Size) -> Table:
    """Measure one submitter at a time, round by round on a new database."""
    found = [
        measured("inside", size.folder, measure="purge", jobs=size.old_jobs, submissions=500)
        for _ in range(size.rounds)
    ]
    table = Table(
        "Submissions while old jobs are purged (one at a time, in process)",
        ("share", "alone ms", "while purging ms", "ratio"),
    )
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        alone = [percentile(one["alone"], share) for one in found]
        beside = [percentile(one["beside"], share) for one in found]
        table.rows.append([name, spread(alone), spread(beside), spread(ratios(beside, alone))])
    rates = [one["purged"] / one["seconds"] for one in found]
    table.notes.append(
        f"{size.old_jobs:,} jobs that are over go, with two events each, {spread(rates)} a second; "
        f"{number(sum(len(one['beside']) for one in found) / len(found))} submissions meanwhile."
    )
    return table
