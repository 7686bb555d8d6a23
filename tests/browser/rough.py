"""Kinds that stand still, will not stop, and die; files in the working directory let them go on."""

import asyncio
import os
import signal
import time
from pathlib import Path

from jalebi import Jalebi, JobContext
from jalebi.errors import JobStopped

shop = Jalebi()


@shop.job(on_stall="warn")
async def stand(ctx: JobContext, name: str, total: int | None = 100) -> None:
    """Move a little, stand still until the first file is there, and move on until the second one is."""
    for done in range(1, 8):
        ctx.progress(done, total, "on the way", "steps")
        await asyncio.sleep(0.01)
    while not Path(name).exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.02)
    while not Path(f"{name}-ends").exists():
        ctx.progress(8, total, "further", "steps")
        await asyncio.sleep(0.02)


@shop.job
def stubborn(ctx: JobContext) -> None:
    """Stop for nothing but a kill."""
    ctx.progress(1, 4)
    while True:
        try:
            time.sleep(60)
        except JobStopped:
            ctx.log("no")


@shop.job
def tidy(ctx: JobContext, name: str) -> None:
    """Hear of the cancellation at once, and tidy up until the file is there."""
    ctx.progress(1, 4)
    while not ctx.cancelled:
        time.sleep(0.02)
    while not Path(name).exists():
        time.sleep(0.02)


@shop.job(max_attempts=1)
def die(ctx: JobContext) -> None:
    """Say something and kill itself."""
    ctx.log("weighing the sugar")
    ctx.log("<b>too much sugar</b>")
    os.kill(os.getpid(), signal.SIGSEGV)
