"""How the dashboard writes values for people: numbers, durations, sizes, progress, args, states."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, inf
from typing import Any, Final, Literal

from jalebi.events import Outlook
from jalebi.jobs import Job, Progress, State

#: An icon and the folder of templates for each state.
ICONS: Final = {
    State.SCHEDULED: "calendar-clock",
    State.QUEUED: "clock",
    State.RETRYING: "rotate-cw",
    State.BLOCKED: "lock",
    State.RUNNING: "loader-circle",
    State.CANCELLING: "circle-stop",
    State.COMPLETED: "circle-check",
    State.FAILED: "circle-x",
    State.CANCELLED: "ban",
}
FOLDERS: Final = {
    State.SCHEDULED: "waiting",
    State.QUEUED: "waiting",
    State.RETRYING: "waiting",
    State.BLOCKED: "waiting",
    State.RUNNING: "running",
    State.CANCELLING: "running",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
#: The units of a range: the seconds of each, and how many of them are still said in it.
_RANGES: Final = ((1.0, "s", 100.0), (60.0, "min", 100.0), (3600.0, "h", 48.0), (86400.0, "d", inf))
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
#: Args longer than this are not read for a summary.
_READABLE: Final = 4000


def number(value: float) -> str:
    """Return a number with thousands apart and no fraction that is not there."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.1f}"


def seconds(value: float | None) -> str:
    """Return a duration in its two largest units."""
    if value is None:
        return "-"
    if value < 10:
        return f"{max(0.0, value):.1f} s"
    left, parts = round(value), []
    for size, name in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {name}")
            left %= size
        if len(parts) == 2:
            break
    return " ".join(parts)


def size(value: int) -> str:
    """Return a number of bytes."""
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes all")


def ordinal(value: int) -> str:
    """Return 1st, 2nd, 3rd and so on."""
    ending = "th" if value % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value:,}{ending}"


def moment(at: float) -> str:
    """Return a Unix time for those whose browser does not write it in their own zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b %H:%M:%S UTC")


def percent(job: Job) -> float | None:
    """Return how far the bar of a job is, from 0 to 100; None where that is not known."""
    if job.state is State.COMPLETED:
        return 100
    if job.progress is None:
        return None if job.state in {State.RUNNING, State.CANCELLING} else 0
    fraction = job.progress.fraction
    if fraction is None:
        return None
    permille = int(fraction * 1000)  # rounded down: 100 is for what is done
    return permille // 10 if permille % 10 == 0 else permille / 10


def reached(job: Job) -> str:
    """Return the short text beside a bar: the percentage, or what is done where the total is unknown."""
    value = percent(job)
    if value is not None:
        return f"{int(value)} %"
    if job.progress is None:
        return ""
    return f"{number(job.progress.done)} {job.progress.unit or ''}".rstrip()


def note(progress: Progress | None, *, short: bool = False) -> str:
    """Return what is known of a running attempt: its step, how much is done and how fast; short, what is left."""
    if progress is None:
        return ""
    unit = f" {progress.unit}" if progress.unit else ""
    parts = [progress.message or ""]
    if not short and progress.total is not None:
        parts.append(f"{number(progress.done)} of {number(progress.total)}{unit}")
    if progress.stalled:  # the rate and the rest of the time are of what was before
        return " · ".join(part for part in parts if part)
    if not short and progress.rate:
        parts.append(f"{number(round(progress.rate, 1))}{unit or ' steps'}/s")
    if short and progress.left is not None and progress.done != progress.total:
        parts.append(f"{between(progress.left.earliest, progress.left.latest)} left")
    return " · ".join(part for part in parts if part)


def plain(text: str) -> str:
    """Return a text without what steers a terminal, or its direction: each such character as a question mark."""
    return "".join(char if char.isprintable() else "?" for char in text)


def between(low: float, high: float) -> str:
    """Return a range of seconds in round numbers, the lower end rounded down and the upper one up."""
    if high <= 2.0:
        return "a moment"
    size, unit = next((size, unit) for size, unit, most in _RANGES if high <= most * size)
    step = 1 if high <= 10 * size else 5 if high <= 60 * size else 10
    first, last = floor(low / size / step) * step, ceil(high / size / step) * step
    if first == last:
        return f"about {last} {unit}"
    return f"about {first} to {last} {unit}" if first > 0 else f"under {last} {unit}"


def expected(job: Job, outlook: Outlook, now: float) -> str:
    """Return when a job in line starts, or one that runs is done, as the rest of a sentence; "" where unknown."""
    start, finish = (
        None if span is None else between(max(0.0, span.earliest - now), max(0.0, span.latest - now))
        for span in (outlook.start, outlook.finish)
    )
    if job.state is State.RUNNING:
        return "" if finish is None else f"· done in {finish}"
    if job.state is not State.QUEUED or start is None:
        return ""
    return f", starts in {start}" + ("" if finish is None else f", done in {finish}")


def stalled(job: Job) -> bool:
    """Return whether a job's progress has stopped for many times its usual interval."""
    return job.progress is not None and job.progress.stalled


def took(job: Job) -> str | None:
    """Return how long the last attempt of a finished job took."""
    if job.finished_at is None or job.started_at is None:
        return None
    return seconds(job.finished_at - job.started_at)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a cancellation; `at` is None for one that is still to come, and for one that never came."""

    name: str
    how: Literal["done", "pending", "missed"]
    at: float | None = None
    after: str = ""  # how long after it was asked for


def receipts(job: Job) -> list[Step]:
    """Return the steps of a job's cancellation, in order; those still to come too, while it lasts."""
    found = job.cancellation
    if found is None:
        return []
    end = ("stopped", found.stopped_at) if found.killed_at is None else ("killed", found.killed_at)
    steps = [Step("requested", "done", found.requested_at)]
    for name, at in (("delivered", found.delivered_at), ("acknowledged", found.acknowledged_at), end):
        if at is not None:
            steps.append(Step(name, "done", at, after(at - found.requested_at)))
        elif job.state is State.CANCELLING:
            steps.append(Step(name, "pending"))
        elif name == "acknowledged" and found.delivered_at is not None:
            steps.append(Step("not acknowledged", "missed"))
    return steps


def after(value: float) -> str:
    """Return how much later something was, in milliseconds where it was less than a second."""
    return f"+{max(0, round(value * 1000))} ms" if value < 0.9995 else f"+{seconds(value)}"


def trouble(clause: str | None) -> str:
    """Return what is wrong with the storage as a sentence; empty where nothing is."""
    if not clause:
        return ""
    return f"{clause[:1].upper()}{clause[1:]}: nothing new is accepted while this lasts. Jobs that run go on."


def summary(args: str) -> str:
    """Return args in one line."""
    if len(args) > _READABLE:
        return args[:160] + "…"
    found: Any = json.loads(args)
    if not isinstance(found, dict):
        return args
    return " · ".join(f"{name}: {_short(value)}" for name, value in found.items() if value not in ("", None, [], {}))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def pretty(text: str, most: int = 20_000) -> str:
    """Return JSON text with its parts on lines of their own; what is over `most` characters is left out."""
    shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False) if len(text) <= most else text
    return shown if len(shown) <= most else shown[:most] + "\n…"
