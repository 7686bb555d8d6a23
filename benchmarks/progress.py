"""What one `ctx.progress` costs the job that calls it, beside a function that writes to a dict."""

from benchmarks.figures import Table, ratios, spread
from benchmarks.processes import measured
from benchmarks.sizes import Size


def run(size: Size) -> Table:
    """Measure in each isolation: calls alone, and a job with real work that reports each item or none."""
    found = measured("inside", size.folder, measure="progress", calls=size.calls, items=size.items, rounds=size.rounds)
    table = Table(
        "ctx.progress (from inside of the job)",
        ("isolation", "us/call", "plain us", "ratio", "updates/s", "work us/item", "reported / silent"),
    )
    for isolation, rounds in found.items():
        calls = [seconds[0] / size.calls * 1e6 for seconds, _ in rounds]
        plain = [seconds[1] / size.calls * 1e6 for seconds, _ in rounds]
        table.rows.append(
            [
                isolation,
                spread(calls),
                spread(plain),
                spread(ratios(calls, plain)),
                spread([1e6 / call for call in calls]),
                spread([seconds[1] / size.items * 1e6 for _, seconds in rounds]),
                spread(ratios([seconds[0] for _, seconds in rounds], [seconds[1] for _, seconds in rounds])),
            ]
        )
    table.notes += [
        f"us/call: {size.calls:,} calls in a row; plain: as many calls of a Python function that puts the same values "
        "into a dict.",
        f"reported / silent: the time for {size.items:,} items of real work (SHA-256 of 64 KiB) with a call after "
        "each, by the time without; 1.00 means that reporting is free.",
    ]
    return table
