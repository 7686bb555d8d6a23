"""Jobs, kinds and log lines as a person reads them."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jalebi.client import Job, Kind, LogLine, Progress
from jalebi.commands.output import clean, plain

STYLES: Final = {
    "completed": "green", "failed": "red", "cancelled": "yellow", "cancelling": "yellow", "running": "cyan",
    "retrying": "magenta",
}  # fmt: skip
_LEVELS: Final = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}
#: Columns of a terminal below which a bar stands without its message, and without its counts.
WIDE: Final = 100
MEDIUM: Final = 60
#: Those from which on a list has room for everything.
LISTED: Final = 110


def state(job: Job) -> Text:
    """Return a job's state in its colour."""
    return plain(job.state, STYLES.get(job.state, "dim"))


def job_line(job: Job) -> Text:
    """Return a job in one line: state, kind, id, and how it ended."""
    parts = [state(job), plain(job.kind, "bold"), plain(job.id)]
    parts[0].pad_right(max(0, 10 - len(parts[0])))
    if job.state == "failed" and job.error is not None:
        parts.append(plain(f"{job.error.type}: {job.error.message}".strip(": "), "red"))
    elif job.terminal and job.started_at and job.finished_at:
        parts.append(plain(f"in {seconds((job.finished_at - job.started_at).total_seconds())}", "dim"))
    elif job.position is not None:
        parts.append(plain(f"number {job.position} in line", "dim"))
    return Text(" ").join(parts)


def job_table(jobs: Iterable[Job], width: int) -> Table:
    """Return jobs as a table of so many columns; an id is never cut, for it is what the next command needs."""
    wide = width >= LISTED
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("STATE", no_wrap=True, min_width=10)
    table.add_column("KIND", no_wrap=True, overflow="ellipsis")
    table.add_column("ID", no_wrap=True, min_width=36, overflow="fold")
    if wide:
        table.add_column("QUEUE", no_wrap=True, overflow="ellipsis")
    table.add_column("%", justify="right", no_wrap=True, min_width=4)
    table.add_column("CREATED", no_wrap=True)
    for job in jobs:
        created = moment(job.created_at)
        row = [state(job), plain(job.kind), plain(job.id), plain(job.queue), percent(job.progress), created]
        table.add_row(*(row if wide else [*row[:3], row[4], created[5:16]]))
    return table


def kind_table(kinds: Iterable[Kind]) -> Table:
    """Return kinds as a table: their names, arguments (those that may be left out in brackets), and what they do."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("KIND", "ARGUMENTS", "DESCRIPTION"):
        table.add_column(name)
    for kind in kinds:
        needed = kind.args_schema.get("required", [])
        names = [name if name in needed else f"[{name}]" for name in kind.args_schema.get("properties", {})]
        said = (kind.description or "").partition("\n")[0]
        table.add_row(plain(kind.name, "bold"), plain(" ".join(names)), plain(said))
    return table


def job_page(job: Job) -> RenderableType:
    """Return all that matters of a job."""
    grid = Table.grid(padding=(0, 2))
    rows: list[tuple[str, Any]] = [
        ("id", job.id), ("kind", job.kind), ("state", state(job)), ("progress", _position(job.progress)),
        ("attempt", f"{job.attempt} of {job.max_attempts}"), ("queue", job.queue), ("priority", job.priority or ""),
        ("tags", ", ".join(job.tags)), ("position", job.position or ""), ("created", moment(job.created_at)),
        ("not before", moment(job.run_at)), ("started", moment(job.started_at)), ("finished", moment(job.finished_at)),
        ("arguments", json.dumps(job.args, ensure_ascii=False)),
    ]  # fmt: skip
    for name, value in rows:
        if value:  # an empty Text is false too
            grid.add_row(Text(name, "dim"), value if isinstance(value, Text) else plain(str(value)))
    if job.error is None:
        return grid
    grid.add_row(Text("error", "dim"), plain(f"{job.error.type}: {job.error.message}", "red"))
    lines = (job.error.traceback or "").splitlines()
    return Group(grid, *(plain(line, "dim") for line in lines))


def bars(jobs: Iterable[Job], width: int) -> Table:
    """Return a bar for each job, as wide as the terminal."""
    grid = Table.grid(padding=(0, 1), expand=True)
    for _ in range(3):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    if width >= MEDIUM:
        grid.add_column(no_wrap=True)
    if width >= WIDE:
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        cells: list[RenderableType] = [state(job), plain(_label(job, width)), _bar(job, width), percent(job.progress)]
        if width >= MEDIUM:
            cells.append(_counts(job))
        if width >= WIDE:
            cells.append(plain((job.progress.message or "") if job.progress else ""))
        grid.add_row(*cells)
    return grid


def _label(job: Job, width: int) -> str:
    # The end of an id differs from job to job; its beginning is the time.
    return f"{job.kind[:24]} …{job.id[-8:]}" if width >= MEDIUM else f"…{job.id[-6:]}"


def _bar(job: Job, width: int) -> RenderableType:
    room = max(8, min(30, width // 4))
    fraction = job.progress.fraction if job.progress is not None else None
    if fraction is None and job.state not in {"running", "cancelling"}:
        return ProgressBar(total=1, completed=0, width=room)
    return ProgressBar(total=None if fraction is None else 1, completed=fraction or 0, width=room)


def percent(progress: Progress | None) -> Text:
    """Return how far it is, in percent; nothing where the total is unknown."""
    fraction = progress.fraction if progress is not None else None
    return Text("" if fraction is None else f"{fraction:.0%}")


def _counts(job: Job) -> Text:
    """Return counts, rate and the time that is left."""
    progress = job.progress
    if progress is None:
        return plain(f"number {job.position} in line" if job.position is not None else "", "dim")
    unit = f" {progress.unit[:12]}" if progress.unit else ""
    total = f"/{progress.total:g}" if progress.total is not None else ""
    parts = [f"{progress.done:g}{total}{unit}"]
    if job.state == "running":
        parts += [f"{progress.rate:.3g}/s"] if progress.rate else []
        parts += [f"eta {clock(progress.eta_seconds)}"] if progress.eta_seconds is not None else []
    return plain(" ".join(parts))


def _position(progress: Progress | None) -> str:
    if progress is None:
        return ""
    total = f" of {progress.total:g}" if progress.total is not None else ""
    share = f" ({progress.fraction:.0%})" if progress.fraction is not None else ""
    unit = f" {progress.unit}" if progress.unit else ""
    return f"{progress.done:g}{total}{unit}{share}" + (f", {progress.message}" if progress.message else "")


def log_line(line: LogLine) -> Text:
    """Return a line of a log."""
    at = line.at.astimezone().strftime("%H:%M:%S") if line.at is not None else ""
    return Text(" ").join(
        (Text(at, "dim"), plain(f"{line.level.upper():7}", _LEVELS.get(line.level, "")), plain(line.message))
    )


def value(found: Any) -> Text:
    """Return a result as JSON for a person."""
    lines = json.dumps(found, indent=2, ensure_ascii=False).split("\n")
    return Text("\n".join(clean(line) for line in lines))


def moment(at: datetime | None) -> Text:
    """Return a time in the zone of the reader."""
    return Text("" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S"))


def seconds(spent: float) -> str:
    """Return how long something took."""
    return f"{spent:.1f} s" if spent < 60 else clock(spent)


def clock(left: float) -> str:
    """Return seconds as minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(round(left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
