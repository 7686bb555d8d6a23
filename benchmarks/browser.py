"""What a page with live bars costs the browser, beside the same page at rest and one that polls instead."""

import json
import statistics
import time
from typing import Any, Final
from urllib.request import Request, urlopen

from benchmarks.figures import Table, number, ratios, spread
from benchmarks.processes import CannotRun, Served, measured, serving
from benchmarks.sizes import Size

#: Reports a second of each job.
PACE: Final = 10.0
#: The list has a page of fifty rows; more bars are on the page of the workers.
LISTED: Final = 50
#: Percent of the main thread that so many bars may take.
TARGETS: Final = {24: 8.0, 50: 20.0}
_SLOWER: Final = (6, 20)
_TALL: Final = 3600
_Rounds = dict[str, list[dict[str, Any]]]


def run(size: Size) -> Table:
    """Measure each number of bars on a server of its own, the three pages in turns."""
    table = Table(
        f"Live bars in the browser (each reports {PACE:g} times a second)",
        (
            "page", "busy %", "live / this", "script %", "style, layout %", "process CPU %", "frames/s", "bars/s",
            "messages/s", "kB/s",
            "age p50 ms", "p95",
        ),
    )  # fmt: skip
    verdicts = []
    for bars in size.bars:
        with _cooking(size, bars) as server:
            found = _in_turns(size, server, bars)
            table.rows += [_row(f"{bars} bars, {name}", rounds, found) for name, rounds in found.items()]
            if bars == LISTED:
                table.rows += _variants(size, server, bars, table)
        if bars == LISTED:
            with _cooking(size, bars, total=None) as server:
                submit(server, "set_pace", reports=PACE)
                table.rows.append(_row(f"{bars} bars, live, totals unknown", [_look(size, server, bars)], {}))
        busy = statistics.median(one["TaskDuration"] for one in found["live"])
        if bars in TARGETS:
            verdicts.append(
                f"{bars} bars at most {TARGETS[bars]:g} %: "
                f"{'met' if busy <= TARGETS[bars] else 'MISSED'} ({number(busy)} %)"
            )
    table.notes = [
        f"Target, busy: {'; '.join(verdicts)}." if verdicts else "No target for so many bars.",
        "busy: the time in which the main thread of the page had something to do; script, style and layout are "
        "parts of it. process CPU: all threads of the page's process. live / this: the share of the live page by that "
        "of this page.",
        "at rest: the same page while no job reports. polling: the same list, fetched and swapped whole (innerHTML) by "
        "htmx every 200 ms, without a socket.",
        "age: from the job's report to when the frame that shows it is through; messages go out five times a second, "
        "so 100 ms in the median are by design. bars/s: bars that changed.",
        *table.notes,
    ]
    return table


class _cooking:
    """A server on which so many jobs run."""

    def __init__(self, size: Size, bars: int, **args: Any) -> None:
        self._bars, self._args = bars, args
        self._serving = serving("jalebi", size.folder, concurrency=bars + 4, stall_after=3600)

    def __enter__(self) -> Served:
        server = self._serving.__enter__()
        try:
            for place in range(self._bars):
                submit(server, "bar", number=place, **self._args)
            _until_running(server, self._bars)
        except BaseException as error:
            self._serving.__exit__(type(error), error, None)
            raise
        return server

    def __exit__(self, *error: Any) -> None:
        self._serving.__exit__(*error)


def submit(server: Served, kind: str, **args: Any) -> None:
    """Submit a job over HTTP."""
    body = json.dumps({"kind": kind, "args": args}).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"http://127.0.0.1:{server.port}/v1/jobs", body, headers), timeout=10):
        pass


def _until_running(server: Served, bars: int) -> None:
    for _ in range(200):
        with urlopen(f"http://127.0.0.1:{server.port}/v1/stats", timeout=10) as answer:
            if json.load(answer)["states"]["running"] >= bars:
                return
        time.sleep(0.05)
    raise CannotRun(f"Not all of {bars} jobs have begun.")


def _in_turns(size: Size, server: Served, bars: int) -> _Rounds:
    region = "#jobs" if bars <= LISTED else "#crew"
    found: _Rounds = {"live": [], "at rest": [], "polling": []}
    for _ in range(size.rounds):
        for name, pace, more in (
            ("at rest", 0.0, {"ages": False}),
            ("live", PACE, {}),
            ("polling", PACE, {"polls": region}),
        ):
            submit(server, "set_pace", reports=pace)
            found[name].append(_look(size, server, bars, **more))
    return found


def _variants(size: Size, server: Served, bars: int, table: Table) -> list[list[str]]:
    """Return the rows of a window in which all bars are in view, and of slower processors."""
    submit(server, "set_pace", reports=PACE)
    rows = [_row(f"{bars} bars, live, all in view", [_look(size, server, bars, height=_TALL)], {})]
    for slower in _SLOWER:
        one = _look(size, server, bars, slower=slower, seconds=2 * size.watch_seconds)
        rows.append(_row(f"{bars} bars, live, CPU {slower} times slower", [one], {}))
        if "early" in one:
            table.notes.append(
                f"CPU {slower} times slower: the age was {number(one['early'])} ms in the first third and "
                f"{number(one['late'])} ms in the last; it would grow if the page fell behind."
            )
    return rows


def _look(size: Size, server: Served, bars: int, **order: Any) -> dict[str, Any]:
    path = "/jobs?state=running" if bars <= LISTED else "/workers"
    address = f"http://127.0.0.1:{server.port}{path}"
    order = {"seconds": size.watch_seconds, **order}
    found: dict[str, Any] = measured("page_watch", size.folder, address=address, **order)
    # The list also shows what sets the pace while that runs.
    if found["bars"] < bars:
        raise CannotRun(f"{path} shows {found['bars']} bars of {bars}.")
    return found


def _row(name: str, rounds: list[dict[str, Any]], beside: _Rounds) -> list[str]:
    def shown(key: str, scale: float = 1.0) -> str:
        values = [one[key] / scale for one in rounds if key in one]
        return number(statistics.median(values)) if values else ""

    busy = [one["TaskDuration"] for one in rounds]
    live = [one["TaskDuration"] for one in beside.get("live", [])]
    work = [one["RecalcStyleDuration"] + one["LayoutDuration"] for one in rounds]
    return [
        name, spread(busy), spread(ratios(live, busy)) if live and live != busy else "", shown("ScriptDuration"),
        number(statistics.median(work)), shown("ProcessTime"), shown("frames"), shown("paints"), shown("messages"),
        shown("bytes", 1000), shown("p50"), shown("p95"),
    ]  # fmt: skip
