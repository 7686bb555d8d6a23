"""Server time of every page against a database of a million jobs, beside the same page of a thousand."""

from typing import Any

from benchmarks.figures import Table, number, percentile
from benchmarks.processes import measured
from benchmarks.seeding import KINDS, QUEUES, RUNNING, remove, seeded
from benchmarks.sizes import Size

SMALL = 1000
#: Milliseconds that no page should take.
SLOW = 50.0


def run(size: Size) -> Table:
    """Make both databases where they are not there yet, and measure on them in one process."""
    places = []
    try:
        places = [seeded(size.stored_jobs), seeded(SMALL)]
        large, small = map(str, places)
        found = measured("page_times", size.folder, 250, large=large, small=small, repeats=size.page_views)
    finally:
        for place in () if size.keep else places:
            remove(place)
    table = Table(
        f"Server time of a page with {size.stored_jobs:,} jobs (ASGI call, in process)",
        ("GET", "p50 ms", "p95 ms", f"p50 with {SMALL:,}", "ratio", "kB", ""),
        [_row(name, one) for name, one in found.items()],
    )
    slow = [name for name, one in found.items() if one.get("large") and percentile(one["large"], 0.5) > SLOW]
    table.notes += [
        f"Over {SLOW:g} ms: {'; '.join(slow) or 'none'}.",
        f"The jobs: {len(KINDS)} kinds, {len(QUEUES)} queues, 97 % completed, 1 % failed, 1.5 % queued, {RUNNING} "
        f"running, tags on 20 %, events for the newest 50,000. The small database has the same {RUNNING} running.",
        "Both shops are open in one process, and each request is made of one and then of the other. ratio: the "
        "median with many jobs by the median with few; close to 1 means that the number of jobs does not matter.",
    ]
    return table


def _row(name: str, one: dict[str, Any]) -> list[str]:
    if "wrong" in one:
        return [name, "", "", "", "", "", one["wrong"]]
    large, small = percentile(one["large"], 0.5), percentile(one["small"], 0.5)
    said = "SLOW" if large > SLOW else ""
    said = said if one["status"] == 200 else f"answers {one['status']}"
    return [
        name, number(large), number(percentile(one["large"], 0.95)), number(small), number(large / small),
        number(one["size"] / 1000), said,
    ]  # fmt: skip
