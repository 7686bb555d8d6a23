"""Helpers for work that goes on beside requests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

log = logging.getLogger("jalebi")

_running: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Start `work` as a task that is kept alive until it ends; an unexpected error is logged."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s stopped unexpectedly", task.get_name(), exc_info=error)


@asynccontextmanager
async def every(seconds: float, work: Callable[[], Awaitable[Any]], name: str) -> AsyncIterator[None]:
    """Do `work` every so many seconds while the context is open; one failure does not end the series."""

    async def series() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:
                log.exception("%s failed; it is tried again in %s s", name, seconds)

    task = spawn(series(), name)
    try:
        yield
    finally:
        await cancel(task)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended, whatever it ends with."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
