"""Accepted submissions a second, beside an endpoint that validates the same body and stores nothing."""

from typing import Any

from benchmarks.figures import Table, number, ratios, spread
from benchmarks.machine import cpu_seconds
from benchmarks.processes import Served, measured, serving
from benchmarks.sizes import Size


def run(size: Size) -> Table:
    """Take turns between the two servers, for each number of connections."""
    table = Table(
        "Accepted submissions (POST /v1/jobs, on disk before the answer)",
        (
            "connections",
            "jobs/s",
            "bare/s",
            "ratio",
            "p50/p99 ms",
            "bare p50/p99 ms",
            "p99 ratio",
            "CPU us/job",
            "bare CPU us",
        ),
    )
    clients = 0.0
    bad = 0
    with serving("jalebi", size.folder, workers=False) as jalebi, serving("bare", size.folder) as bare:
        for connections in size.connections:
            ours, theirs = [], []
            for _ in range(size.rounds):
                ours.append(_load(size, jalebi, connections))
                theirs.append(_load(size, bare, connections))
            table.rows.append(_row(connections, ours, theirs))
            clients = max(clients, *(found["client_cpu"] for found in ours + theirs))
            bad += sum(found["bad"] for found in ours + theirs)
    table.notes += [
        "bare: a Starlette endpoint in the same uvicorn settings that reads, parses and validates the same body and "
        "stores nothing; ratio: jobs/s by bare/s, round by round.",
        "No worker runs meanwhile. CPU: of the whole server process for one answer; it suffers less from noise.",
        f"Answers other than 202, and lost connections: {bad}. The client used up to {clients:.0%} of its core.",
    ]
    return table


def _load(size: Size, server: Served, connections: int) -> dict[str, Any]:
    before = cpu_seconds(server.pid)
    found: dict[str, Any] = measured(
        "http_client", size.folder, port=server.port, connections=connections, seconds=size.submit_seconds
    )
    found["cpu"] = (cpu_seconds(server.pid) - before) / max(1, found["all"]) * 1e6
    return found


def _row(connections: int, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    def of(rounds: list[dict[str, Any]], name: str) -> list[float]:
        return [found[name] for found in rounds]

    def middle(rounds: list[dict[str, Any]], name: str) -> str:
        values = sorted(of(rounds, name))
        return number(values[len(values) // 2])

    return [
        str(connections),
        spread(of(ours, "rate")),
        spread(of(theirs, "rate")),
        spread(ratios(of(ours, "rate"), of(theirs, "rate"))),
        f"{middle(ours, 'p50')} / {middle(ours, 'p99')}",
        f"{middle(theirs, 'p50')} / {middle(theirs, 'p99')}",
        spread(ratios(of(ours, "p99"), of(theirs, "p99"))),
        middle(ours, "cpu"),
        middle(theirs, "cpu"),
    ]
