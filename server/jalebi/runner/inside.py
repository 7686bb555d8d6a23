"""Running a kind's function in this process: in the event loop, or in a thread of its own."""

import asyncio
import inspect
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from jalebi.context import JobContext, current
from jalebi.errors import JobFailed
from jalebi.jobs import Completed, Outcome, Stopped, failure
from jalebi.kinds import Kind, Result
from jalebi.runner.attempt import Attempt
from jalebi.runner.describe import describe, stopped

#: Seconds after which the loop looks again for what a thread reports.
LOOK_AGAIN: Final = 0.05


class LoopLink:
    """An attempt's link where the job runs in the event loop."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        return self._attempt.reason is not None

    def progress(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        """Hand on the latest position."""
        self._attempt.report(done, total, message, unit)

    def log(self, message: str, level: str) -> None:
        """Hand on a log line."""
        self._attempt.log(message, level)

    def attach(self, source: Path | bytes, name: str, media_type: str | None) -> None:
        """Take a file's content before returning."""
        staged, size = self._attempt.stage(source)
        self._attempt.attach(staged, size, name, media_type)

    def acknowledge(self) -> None:
        """Say that the code has heard that it is to stop."""
        self._attempt.receipt("acknowledged")

    def inputs(self) -> Path:
        """Return the folder of the files uploaded for this job."""
        return self._attempt.queue.files.inputs(self._attempt.job.id)


class ThreadLink(LoopLink):
    """The same from another thread: positions are conflated before they cross over."""

    def __init__(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(attempt)
        self._loop = loop
        self._latest: tuple[Any, ...] | None = None
        self._crossing = False
        self._lock = threading.Lock()

    def progress(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        """Hand on the latest position; one crossing carries all that came meanwhile."""
        with self._lock:
            if total is None and self._latest is not None:  # what was not handed on says it
                total = self._latest[1]
            if unit is None and self._latest is not None:
                unit = self._latest[3]
            self._latest = (done, total, message, unit)
            crossing, self._crossing = self._crossing, True
        if not crossing:
            self._loop.call_soon_threadsafe(self._cross)

    def _cross(self) -> None:
        with self._lock:
            latest, self._latest = self._latest, None
            self._crossing = latest is not None
        if latest is not None:
            self._attempt.report(*latest)
            # To wake the loop for each report would slow down both: it looks again by itself.
            self._loop.call_later(LOOK_AGAIN, self._cross)

    def end(self) -> None:
        """Hand on what is left."""
        with self._lock:
            latest, self._latest = self._latest, None
        if latest is not None:
            self._attempt.report(*latest)

    def log(self, message: str, level: str) -> None:
        """Hand on a log line."""
        self._loop.call_soon_threadsafe(self._attempt.log, message, level)

    def attach(self, source: Path | bytes, name: str, media_type: str | None) -> None:
        """Take a file's content before returning."""
        staged, size = self._attempt.stage(source)
        self._loop.call_soon_threadsafe(self._attempt.attach, staged, size, name, media_type)

    def acknowledge(self) -> None:
        """Say that the code has heard that it is to stop."""
        self._loop.call_soon_threadsafe(self._attempt.receipt, "acknowledged")


async def run_in_loop(attempt: Attempt) -> Outcome:
    """Run an `async def` in the task at hand, its own; to stop it, the task is cancelled."""
    context = JobContext(attempt.job.id, attempt.job.attempt, attempt.kind.name, LoopLink(attempt))
    task = asyncio.current_task()
    assert task is not None
    began = time.monotonic()

    def stop() -> None:
        attempt.receipt("delivered")
        task.cancel()

    attempt.start_clock()
    attempt.when_stopped(stop)
    # Nothing that a job raises, SystemExit included, may reach the loop.
    try:
        await _delivered(attempt)
        outcome = completed(attempt, await call(attempt.kind, context, attempt.job.args))
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            if attempt.reason is None and task.cancelling():  # it is the worker that is cancelled
                raise
            attempt.receipt("acknowledged")
        outcome = failed(attempt, error)
    finally:
        attempt.over()
    if task.cancelling():
        # What is left of being stopped must not reach what follows in this task.
        task.uncancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
    if time.monotonic() - began >= attempt.queue.settings.block_warning:
        await asyncio.sleep(0)  # what the watchdog has to say of a blocking call comes first
    return outcome


async def _delivered(attempt: Attempt) -> None:
    """Let a stop that was asked for before the job has begun arrive."""
    if attempt.reason is not None:
        await asyncio.sleep(0)


async def run_in_thread(attempt: Attempt) -> Outcome:
    """Run a function in a thread of its own; it can be asked to stop, but not made to."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome] = loop.create_future()
    link = ThreadLink(attempt, loop)
    context = JobContext(attempt.job.id, attempt.job.attempt, attempt.kind.name, link)

    def work() -> None:
        try:
            value = call(attempt.kind, context, attempt.job.args)
            outcome = completed(attempt, asyncio.run(_await(value)) if inspect.isawaitable(value) else value)
        except BaseException as error:
            outcome = failed(attempt, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, done, outcome)

    attempt.start_clock()
    attempt.when_stopped(lambda: attempt.receipt("delivered"))
    threading.Thread(target=work, name=f"job {attempt.kind.name}", daemon=True).start()
    outcome = await done
    link.end()
    return outcome


async def _await(value: Any) -> Any:
    return await value


def _resolve(future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def call(kind: Kind, context: JobContext, args: str) -> Any:
    """Call a kind's function with its stored args; an `async def` gives its coroutine."""
    current.set(context)
    values = kind.load(args)
    return kind.function(context, **values) if kind.takes_context else kind.function(**values)


def completed(attempt: Attempt, value: Any) -> Outcome:
    """Return the outcome of a function that returned."""
    try:
        return Completed(Result.dump(value, attempt.queue.settings.max_result))
    except ValueError as error:
        return attempt.failed(failure("ResultError", str(error)))


def failed(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of a function that raised."""
    if stopped(error):
        return Stopped()
    return attempt.failed(describe(error), retry=error.retry if isinstance(error, JobFailed) else True)
