"""Following jobs at a terminal: a bar for each that runs, and a line for each that is over."""

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

import msgspec
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from jalebi.client import AsyncClient, ClientError, Event, Job, ProblemError, Unavailable
from jalebi.commands import showing
from jalebi.commands.connecting import AGAIN, ENDS, connect_async
from jalebi.commands.output import Output, say

#: Exit codes of several jobs: the first of these that one of them has is that of all.
_WORST: Final = (4, 2, 1, 3)


class Board:
    """The bars of the jobs that are not over, drawn anew at the terminal's present width."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw."""
        if self.jobs:
            yield showing.bars(list(self.jobs.values()), options.max_width)


def watch(options: argparse.Namespace, out: Output) -> int:
    """Follow jobs until all are over."""
    return watch_ids(options, list(dict.fromkeys(options.ids)), out)


def watch_ids(options: argparse.Namespace, ids: Sequence[str], out: Output) -> int:
    """Follow jobs until all are over; return the worst of their ends."""
    return asyncio.run(_watch(options, ids, out))


async def _watch(options: argparse.Namespace, ids: Sequence[str], out: Output) -> int:
    board = Board()
    # Drawn ten times a second and when a line is written; the bars are wiped away at the end, the lines stay.
    live = Live(board, console=out.console, transient=True, refresh_per_second=10) if out.moving else nullcontext()
    async with connect_async(options) as client:
        with live:
            codes = await asyncio.gather(*(_one(client, job_id, out, board) for job_id in ids))
    return next((code for code in _WORST if code in codes), 0)


async def _one(client: AsyncClient, job_id: str, out: Output, board: Board) -> int:
    """Follow one job; return how it ended as an exit code."""
    try:
        job = await client.get(job_id)
        if out.human:
            job = await _drawn(client, job, out, board)
        else:
            async for event in client.events(job_id, patience=AGAIN):
                out.line(event.wire)
                job = event.job or job
        return ENDS.get(job.state, 0)
    except ClientError as error:
        say(f"{job_id}: {error}")
        return 2 if isinstance(error, ProblemError) and not isinstance(error, Unavailable) else 4
    finally:
        board.jobs.pop(job_id, None)


async def _drawn(client: AsyncClient, job: Job, out: Output, board: Board) -> Job:
    board.jobs[job.id] = job
    shown = job.state
    # A job that is over has no more to tell; what it tells is asked for all the same, for a retry may have begun.
    async for event in client.events(job.id, job.seq, patience=AGAIN):
        job = board.jobs[job.id] = _moved(job, event)
        if not out.moving and job.state != shown and not job.terminal:
            shown = job.state
            out.print(showing.job_line(job), wrap=False)
    del board.jobs[job.id]
    out.print(showing.job_line(job), wrap=False)
    return job


def _moved(job: Job, event: Event) -> Job:
    if event.job is not None:
        return event.job
    if event.progress is None:
        return job
    return msgspec.structs.replace(job, progress=event.progress)
