"""Kinds that run in the event loop only: a shop of them opens in no time."""

import asyncio
from pathlib import Path
from typing import Any

from jalebi import Jalebi, JobContext, JobFailed
from tests.targets.kinds import chatty, echo, flaky, steps, typed, wait_for


def quick_shop(**settings: Any) -> Jalebi:
    """Return a shop that is kept in memory, unless it is told otherwise."""
    made = Jalebi(**{"database_url": "sqlite://", "cancel_grace": 0.6, "grace": 0.1, "block_warning": 60, **settings})
    for function in (echo, steps, typed, chatty, wait_for, fail, hold, keep, talk):
        made.job(function)
    made.job(backoff=0.02)(flaky)
    made.job(name="odd:name.of-a_kind", queue="odd")(echo_union)
    return made


async def fail(message: str = "it broke") -> None:
    """Fail for good."""
    raise JobFailed(message, retry=False)


async def hold(ctx: JobContext) -> None:
    """Run until it is cancelled."""
    ctx.progress(1, 4, unit="turns")
    await asyncio.Event().wait()


async def keep(ctx: JobContext, name: str, content: str = "content", media_type: str | None = None) -> None:
    """Attach one file."""
    ctx.attach(content.encode(), name, media_type)


async def talk(ctx: JobContext, lines: int, size: int = 10, after: str = "") -> None:
    """Log many lines, and let others work in between; begin once the file `after` exists."""
    while after and not Path(after).exists():  # noqa: ASYNC110 - a test makes the file
        await asyncio.sleep(0.01)
    for number in range(lines):
        ctx.log(f"{number} ".ljust(size, "x"))
        if number % 50 == 49:
            await asyncio.sleep(0)


async def echo_union(value: int | list[int] | None = None) -> Any:
    """Return what was given, if it is of one of two types."""
    return value
