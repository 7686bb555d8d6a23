"""How each cost grows with what is there: four sizes of each, and the slope of log(cost) over log(size)."""

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import Table, number
from benchmarks.processes import measured
from benchmarks.seeding import remove, seeded
from benchmarks.sizes import Size

ROUNDS = 30
#: A slope above this is more than noise.
FLAT = 0.15


def run(size: Size) -> Table:
    """Measure each cost at its sizes, and name its slope."""
    most = size.stored_jobs
    jobs = [most // 1000, most // 100, most // 10, most]
    few = [10, 100, 1000, 10_000] if most >= 1_000_000 else [10, 30, 100, 300]
    rows: list[Sequence[str]] = []
    places = []
    try:
        places = [seeded(one) for one in jobs]
        paths = [str(place) for place in places]
        found: list[dict[str, Any]] = measured(
            "growing", size.folder, 280, measure="tables", paths=paths, rounds=ROUNDS
        )
    finally:
        for place in () if size.keep else places:
            remove(place)
    for name in found[0]:
        rows.append(_row(name, "jobs in the table", jobs, [sorted(one[name])[len(one[name]) // 2] for one in found]))
    for measure, what, sizes in (
        ("audience", "readers", few), ("lines", "lines of the job", few), ("members", "jobs of the batch", few),
    ):  # fmt: skip
        costs = measured("growing", size.folder, 120, measure=measure, sizes=sizes, rounds=ROUNDS)
        rows += [_row(name, what, sizes, times) for name, times in costs.items()]
    return Table(
        "How costs grow (median ms, one call at a time, in process)",
        ("cost", "size", "from .. to", "1st", "2nd", "3rd", "4th", "slope", ""),
        rows,
        [
            "slope: of log(cost) over log(size), by least squares; 0 means that the size does not matter. What is of "
            "one of many (a job of a batch, a mailbox) is flat where the whole is linear.",
            f"GROWS: the slope is above {FLAT:g}, that of the last two sizes too; of one of many: superlinear. A "
            "page has room for so many lines: the smallest sizes do not fill it.",
            "An event of a reader: published to the mailbox and taken out of it; what the sockets cost is in the part "
            "`fanout`.",
        ],
    )


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the slope of log(cost) over log(size) by least squares."""
    xs, ys = [math.log(one) for one in sizes], [math.log(max(one, 1e-9)) for one in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def _row(name: str, what: str, sizes: Sequence[int], costs: Sequence[float]) -> list[str]:
    found = slope(sizes, costs)
    last = slope(sizes[-2:], costs[-2:])  # the first may be too small for a page to be full
    said = "GROWS" if min(found, last) > FLAT else ""
    return [name, what, f"{sizes[0]:,} .. {sizes[-1]:,}", *(number(one) for one in costs), f"{found:.2f}", said]
