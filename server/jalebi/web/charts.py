"""Figures over time as pages show them: sparklines, charts, and the same as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import MalformedRequest
from jalebi.store.trends import COARSE, FINE, Slot, added, percentile, trend
from jalebi.web import words
from jalebi.web.answers import json_answer
from jalebi.web.rooms import rooms_of

#: What a reader may choose: seconds that a chart shows, seconds of one of its points, seconds of what is kept.
RANGES: Final[dict[str, tuple[int, int, Literal[10, 900]]]] = {
    "15m": (900, 10, FINE),
    "1h": (3600, 60, FINE),
    "24h": (86_400, 900, COARSE),
}
DEFAULT: Final = "15m"


@dataclass(frozen=True, slots=True)
class Point:
    """What happened within one point of a chart; rates are per second, durations in seconds."""

    at: int
    seconds: int
    created: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    running: int = 0
    wait_p50: float | None = None
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None

    @property
    def completed_rate(self) -> float:
        """Completed jobs a second."""
        return round(self.completed / self.seconds, 3)

    @property
    def failed_rate(self) -> float:
        """Failed jobs a second."""
        return round(self.failed / self.seconds, 3)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: its name, the class that colours it, and its values."""

    name: str
    look: str
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its scale; `unit` is `per_second`, `seconds` or `jobs`."""

    name: str
    unit: str
    times: list[int]
    series: list[Series]

    @property
    def top(self) -> float:
        """The highest value, at least what makes a flat line lie at the bottom."""
        return max((value for one in self.series for value in one.values if value is not None), default=0.0)

    def line(self, series: Series) -> str:
        """Return a line as the points of SVG polylines in a box of 300 by 100, gaps left out."""
        step = 300 / max(1, len(self.times) - 1)
        top = self.top or 1.0
        return " ".join(
            f"{index * step:.1f},{98 - 94 * value / top:.1f}"
            for index, value in enumerate(series.values)
            if value is not None
        )

    def shown(self, value: float | None) -> str:
        """Return a value with its unit."""
        if value is None:
            return "-"
        if self.unit == "seconds":
            return f"{round(value * 1000)} ms" if value < 0.9995 else words.seconds(value)
        return f"{words.number(round(value, 2))}{'/s' if self.unit == 'per_second' else ''}"

    def wire(self) -> dict[str, Any]:
        """Return the chart as its script takes it."""
        series = [{"name": one.name, "look": one.look, "values": one.values} for one in self.series]
        return {"name": self.name, "unit": self.unit, "times": self.times, "series": series}


def points(slots: Sequence[Slot], *, now: float, seconds: int, step: int) -> list[Point]:
    """Return the last `seconds` in points of `step` seconds; the last one is the last that is over."""
    end = int(now) // step * step
    start = end - seconds
    by_point: dict[int, list[Slot]] = {}
    for slot in slots:
        if start <= slot.at < end:
            by_point.setdefault((slot.at - start) // step, []).append(slot)
    return [_point(start + index * step, step, by_point.get(index, [])) for index in range(seconds // step)]


def _point(at: int, step: int, slots: Sequence[Slot]) -> Point:
    if not slots:
        return Point(at, step)
    waits, runs = added(slot.waits for slot in slots), added(slot.runs for slot in slots)
    return Point(
        at,
        step,
        created=sum(slot.created for slot in slots),
        completed=sum(slot.completed for slot in slots),
        failed=sum(slot.failed for slot in slots),
        cancelled=sum(slot.cancelled for slot in slots),
        waiting=slots[-1].waiting,
        running=slots[-1].running,
        wait_p50=percentile(waits, 0.5),
        wait_p95=percentile(waits, 0.95),
        run_p50=percentile(runs, 0.5),
        run_p95=percentile(runs, 0.95),
    )


def range_of(text: str | None) -> str:
    """Return the range in an address. Raises MalformedRequest."""
    if text is None or text == "":
        return DEFAULT
    if text not in RANGES:
        raise MalformedRequest(f"The range must be one of {', '.join(RANGES)}.", parameter="range")
    return text


def charts(connection: Connection, queue: str | None, chosen: str, now: float) -> list[Chart]:
    """Return the charts of a queue, or of all together."""
    seconds, step, kept = RANGES[chosen]
    slots = trend(connection, queue, since=now - seconds - step, step=kept)
    found = points(slots, now=now, seconds=seconds, step=step)
    times = [point.at for point in found]

    def series(name: str, look: str, value: Callable[[Point], float | None]) -> Series:
        return Series(name, look, [value(point) for point in found])

    return [
        Chart("Throughput", "per_second", times, [
            series("completed", "good", lambda point: point.completed_rate),
            series("failed", "bad", lambda point: point.failed_rate),
        ]),
        Chart("Waiting and running", "jobs", times, [
            series("waiting", "wait", lambda point: point.waiting),
            series("running", "run", lambda point: point.running),
        ]),
        Chart("Wait before the start", "seconds", times, [
            series("median", "wait", lambda point: _rounded(point.wait_p50)),
            series("95 %", "edge", lambda point: _rounded(point.wait_p95)),
        ]),
        Chart("Time of a run", "seconds", times, [
            series("median", "run", lambda point: _rounded(point.run_p50)),
            series("95 %", "edge", lambda point: _rounded(point.run_p95)),
        ]),
    ]  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def spark(values: Sequence[float]) -> str:
    """Return the points of an SVG polyline in a box of 100 by 24."""
    top = max(values, default=0.0) or 1.0
    step = 100 / max(1, len(values) - 1)
    return " ".join(f"{index * step:.1f},{22 - 20 * value / top:.1f}" for index, value in enumerate(values))


def spark_text(values: Sequence[float]) -> str:
    """Return what a sparkline shows, in words."""
    top, last = max(values, default=0), values[-1] if values else 0
    return f"{words.number(last)} at the end, {words.number(top)} at most"


async def data(request: Request) -> Response:
    """`GET /charts?queue=&range=`: the charts of a page, for its script."""
    rooms = rooms_of(request)
    queue, chosen = request.query_params.get("queue") or None, range_of(request.query_params.get("range"))
    now = rooms.store.clock()
    found = await rooms.store.read(lambda connection: charts(connection, queue, chosen, now))
    return json_answer({"charts": [chart.wire() for chart in found]})
