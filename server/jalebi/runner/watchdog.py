"""Finds the `async def` job that holds the event loop with a blocking call, and says so in its log."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from jalebi.background import log

_BEAT: Final = 0.05


class Watchdog:
    """A thread that watches whether the loop's beat comes; `blame` gets the running task and where it hangs."""

    def __init__(self, threshold: float, blame: Callable[["asyncio.Task[object] | None", str, float], None]) -> None:
        self._threshold = threshold
        self._blame = blame
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beat_at = time.monotonic()
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> "Watchdog":
        self._beat()
        threading.Thread(target=self._watch, name="jalebi-watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self._timer = self._loop.call_later(_BEAT, self._beat)

    def _watch(self) -> None:
        told_of = 0.0
        while not self._stop.wait(self._threshold / 2):
            beat = self._beat_at
            if time.monotonic() - beat < self._threshold or beat == told_of:
                continue
            told_of = beat  # once for each hang
            frame = sys._current_frames().get(self._loop_thread)
            where = "".join(traceback.format_stack(frame)[-4:]) if frame is not None else ""
            task = asyncio.current_task(self._loop)
            try:
                self._loop.call_soon_threadsafe(self._report, task, where, beat)
            except RuntimeError:  # the loop is closed
                return

    def _report(self, task: "asyncio.Task[object] | None", where: str, since: float) -> None:
        held = time.monotonic() - since
        log.warning("%s held the event loop for %.2f s at:\n%s", task.get_name() if task else "A callback", held, where)
        self._blame(task, where, held)
