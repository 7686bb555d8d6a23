"""Helpers for work that goes on beside requests."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
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


class every:
    """Do `work` every so many seconds while the context is open; one failure does not end the series.

    No generator: a loop that ends with the context still open would close that behind the back of its owner.
    """

    def __init__(self, seconds: float, work: Callable[[], Awaitable[Any]], name: str) -> None:
        self._seconds = seconds
        self._work = work
        self._name = name

    async def __aenter__(self) -> None:
        """Begin the series."""
        self._task = spawn(self._series(), self._name)

    async def __aexit__(self, *_: object) -> None:
        """End the series."""
        await cancel(self._task)

    async def _series(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self._work()
            except Exception:
                log.exception("%s failed; it is tried again in %s s", self._name, self._seconds)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended, whatever it ends with."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task
