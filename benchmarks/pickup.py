"""From a submission to the first line of its job on an idle server, beside the disk's own commit."""

import statistics
from typing import Any

from benchmarks.figures import Table, number, percentile, ratios, spread
from benchmarks.processes import measured, serving
from benchmarks.sizes import Size


def run(size: Size) -> Table:
    """Measure from inside of the process and over HTTP, round by round."""
    inside, outside = [], []
    with serving("jalebi", size.folder) as server:
        for _ in range(size.rounds):
            inside.append(measured("inside", size.folder, measure="pick_up", jobs=size.pick_ups))
            outside.append(measured("http_client", size.folder, port=server.port, jobs=size.pick_ups))
    commits = [one["commit"] for one in inside]
    table = Table(
        "Pick-up latency (one job at a time, to the first line of the job)",
        ("from", "p50 ms", "p99 ms", "plain commit ms", "p50 / commit"),
        [
            _row("before the HTTP request", outside, commits),
            _row("before shop.submit", inside, commits),
        ],
    )
    returned = statistics.median(one["returned"] for one in inside)
    lost = sum(one["bad"] for one in inside + outside)
    table.notes += [
        "The job is on disk and so is its start before its first line runs; plain commit: the median of one row "
        "inserted with synchronous=FULL, in the same rounds and with the same pauses.",
        f"shop.submit itself returned after {number(returned)} ms. Jobs lost or refused: {lost}.",
    ]
    return table


def _row(name: str, found: list[dict[str, Any]], commits: list[float]) -> list[str]:
    medians = [percentile(one["delays"], 0.50) for one in found]
    return [
        name,
        spread(medians),
        spread([percentile(one["delays"], 0.99) for one in found]),
        spread(commits),
        spread(ratios(medians, commits)),
    ]
