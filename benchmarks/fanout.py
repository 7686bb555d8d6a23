"""Messages a second to a thousand subscribers of one job, beside a plain loop that sends to each socket."""

from typing import Any

from benchmarks.figures import Table, ratios, spread
from benchmarks.machine import cpu_seconds
from benchmarks.processes import measured, serving
from benchmarks.sizes import Size

RATE = 10  # a second: how often conflated progress goes out


def run(size: Size) -> Table:
    """Take turns between the two servers, each fresh in every round."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    text = 0
    for _ in range(size.rounds):
        ours.append(_round(size, "jalebi", text))
        text = text or round(ours[0]["size"])  # the plain loop sends as many bytes
        theirs.append(_round(size, "bare", text))
    table = Table(
        f"Fan-out to {size.sockets:,} WebSockets of one job",
        ("measure", "Jalebi", "plain loop", "ratio"),
        [
            _row("durable events at saturation, messages/s", "rate", ours, theirs),
            _row("server CPU for the whole round, s", "cpu", ours, theirs),
            _row(f"progress: messages/s to each socket (of {RATE})", "ticks", ours, theirs),
            _row("progress: age at arrival, p50 ms", "p50", ours, theirs),
            _row("progress: age at arrival, p99 ms", "p99", ours, theirs),
        ],
    )
    if all(one["memory"] is not None for one in ours + theirs):
        table.rows.append(_row("memory per subscriber, KiB", "memory", ours, theirs))
    else:
        table.notes.append("Memory per subscriber was not measured: it needs /proc.")
    clients = max(one["client_cpu"] for one in ours + theirs)
    table.notes += [
        f"Saturation: the job logs {size.lines} lines at once, each a committed event of about {text} bytes; from the "
        "call until the last socket has the last of them. plain loop: a list of Starlette WebSockets, "
        "`for ws in sockets: await ws.send_text(text)`, text of the same size, nothing stored.",
        f"progress: the job reports every 2 ms; what goes out is conflated to {RATE} Hz, and the age is that of the "
        "newest report on arrival. The plain loop sends at the same rate.",
        "Messages missing or too many: "
        + f"{sum(one['missing'] for one in ours)} (plain {sum(one['missing'] for one in theirs)}); sockets that were "
        + f"not closed with 1000 after the job: {sum(one['unclosed'] for one in ours)}. "
        + f"The client used up to {clients:.0%} of its core.",
    ]
    return table


def _round(size: Size, which: str, text: int) -> dict[str, Any]:
    with serving(which, size.folder) as server:
        before = cpu_seconds(server.pid)
        found: dict[str, Any] = measured(
            "ws_client", size.folder, port=server.port, pid=server.pid, plain=which == "bare", sockets=size.sockets,
            lines=size.lines, seconds=size.tick_seconds, rate=RATE, size=text,
        )  # fmt: skip
        found["cpu"] = cpu_seconds(server.pid) - before
    return found


def _row(name: str, key: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    mine, other = [one[key] for one in ours], [one[key] for one in theirs]
    return [name, spread(mine), spread(other), spread(ratios(mine, other))]
