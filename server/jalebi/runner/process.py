"""Running a kind's function in a child process that can be killed; idle children are kept warm for the next job."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from jalebi.background import log, spawn
from jalebi.jobs import Completed, Outcome, Stopped, failure
from jalebi.runner import procfs
from jalebi.runner.attempt import Attempt
from jalebi.runner.handle import Child
from jalebi.runner.lastwords import how_it_ended
from jalebi.runner.limits import Limits
from jalebi.runner.reports import (
    Acknowledged,
    Delivered,
    File,
    Heeded,
    Line,
    Position,
    Raised,
    Report,
    Returned,
    understood,
)

#: Jobs after which a child is replaced, so that what they leak does not pile up.
JOBS_PER_CHILD: Final = 200
#: Log lines and files of a job, and bytes of lines, that may wait to be stored before its pipe is read on.
BACKLOG: Final = 500
BACKLOG_BYTES: Final = 1 << 20
#: Messages of a child that are taken in one go, so that a flood of them does not hold the event loop.
AT_ONCE: Final = 50
#: Seconds for which a child may import the target.
START_TIMEOUT: Final = 120.0
#: Seconds between two looks at what the running jobs use.
LOOK_EVERY: Final = 1.0
#: Seconds for which the end of a process is waited for that has closed its pipe.
MOMENT: Final = 1.0
#: What an attempt is stopped for that seems to hang.
_TOO_SLOW: Final = frozenset({"timeout", "stalled"})


class Children:
    """The child processes of one worker: at most as many as jobs run, and the idle ones are used again."""

    def __init__(self, target: str | None, line_limit: int, limits: Limits | None = None) -> None:
        self._where = {"target": target, "sys_path": list(sys.path)}
        self._line_limit = line_limit
        self._limits = limits or Limits()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._all: set[Child] = set()
        self._closed = False
        self._warming: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def warm(self) -> None:
        """Start a child before the first job needs one."""
        self._warming = asyncio.current_task()
        self._idle.append(await self._start())

    async def take(self, limits: Limits) -> Child:
        """Return an idle child that has these limits, or start one."""
        child = await self._idle_or_new(limits)
        child.words.begin(child.process.pid)
        self._busy.add(child)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)
        return child

    async def _idle_or_new(self, limits: Limits) -> Child:
        self._limits = limits
        warming, self._warming = self._warming, None
        if warming is not None:  # the first job takes it, however soon it comes
            await asyncio.wait({warming})
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None and child.limits == limits:
                return child
            await self._discard(child)
        return await self._start()

    async def give_back(self, child: Child) -> None:
        """Keep a child for the next job, or end it where it can't be trusted with one."""
        self._busy.discard(child)
        child.job_id = ""
        child.jobs += 1
        if self._closed or not child.healthy or child.jobs >= JOBS_PER_CHILD:
            await self._discard(child)
        else:
            child.words.rewind()  # whatever the job has written there
            self._idle.append(child)

    async def _discard(self, child: Child) -> None:
        await child.end()
        self._all.discard(child)

    def seen(self) -> list[tuple[int, int | None, str | None]]:
        """Return every child: pid, resident bytes where they are known, and the id of the job in it."""
        pids = sorted((child.process.pid, child.job_id) for child in self._all)
        return [(pid, procfs.resident_memory(pid), job_id or None) for pid, job_id in pids]

    def _look(self) -> None:
        """Look at every child that runs a job, now and then: one timer for all."""
        for child in self._busy:
            child.look()
        self._timer = None
        if self._busy and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    async def close(self) -> None:
        """End every child."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for child in list(self._all):
            await child.end()
        self._all.clear()
        self._idle.clear()

    def abandon(self) -> None:
        """Kill every child where the event loop that could wait for it is no more."""
        self._closed = True
        for child in self._all:
            child.signal(signal.SIGKILL)
            child.words.close()

    async def _start(self) -> Child:
        child = await Child.start(self._where, self._line_limit, self._limits)
        self._all.add(child)
        trouble: str | None = "The server is shutting down."
        try:
            if not self._closed:  # it may have been closed while the child came to life
                trouble = await self._trouble(child)
        except BaseException:
            child.signal(signal.SIGKILL)
            child.words.close()
            raise
        if trouble:
            await self._discard(child)
            raise ChildError(trouble)
        return child

    @staticmethod
    async def _trouble(child: Child) -> str | None:
        """Wait until a child has imported the target; return what went wrong, as one sentence, or None."""
        try:
            ready = await asyncio.wait_for(child.receive(), START_TIMEOUT)
        except TimeoutError:
            return f"The child process could not start: it took over {START_TIMEOUT:g} s to import the target."
        if ready is None or ready.get("t") != "ready":
            code = await child.ended_within(MOMENT)
            how = "was killed: it said what is no message" if code is None else how_it_ended(code)
            return f"The child process could not start: it {how}{child.limits.hint()}."
        error: str | None = ready["error"]
        if error is not None and any(sign in error for sign in _NO_MEMORY):
            error = error.rstrip(".") + child.limits.hint() + "."
        return error


#: What Python, the dynamic linker and numerical libraries say where memory is refused.
_NO_MEMORY: Final = ("MemoryError", "Cannot allocate memory", "map segment", "start new thread")


class ChildError(Exception):
    """A child process could not be started; the message is one sentence."""


async def run_in_process(attempt: Attempt, children: Children) -> Outcome:
    """Run a function in a child process; to stop it, it is asked, told by SIGTERM, and killed, in that order."""
    limits = Limits.of(attempt.queue.settings)
    try:
        child = await children.take(limits)
    except (ChildError, OSError) as error:
        return attempt.failed(failure("ChildError", str(error)))
    if attempt.reason is not None:  # stopped while the child was starting
        await children.give_back(child)
        return Stopped()
    child.job_id = attempt.job.id
    attempt.start_clock()  # a child's start-up is not the job's time
    ladder: list[asyncio.Task[None]] = []
    attempt.when_stopped(lambda: ladder.append(spawn(_stop(attempt, child), f"stop of job {attempt.job.id}")))
    try:
        child.send(_order(attempt, limits))
        return await _follow(attempt, child)
    except BaseException:  # it still runs the job
        child.healthy = False
        raise
    finally:
        attempt.over()
        for step in ladder:
            step.cancel()
        await children.give_back(child)


def _order(attempt: Attempt, limits: Limits) -> dict[str, Any]:
    function = attempt.kind.function
    module = sys.modules.get(function.__module__)
    files = attempt.queue.files
    return {
        "t": "run",
        "kind": attempt.kind.name,
        "module": function.__module__,
        "file": getattr(module, "__file__", None),
        "job_id": attempt.job.id,
        "attempt": attempt.job.attempt,
        "args": attempt.job.args,
        "staging": str(files.staging.resolve()),
        "inputs": str(files.inputs(attempt.job.id).resolve()),
        "max_result": attempt.queue.settings.max_result,
        "cpu": limits.cpu,
    }


async def _follow(attempt: Attempt, child: Child) -> Outcome:
    """Take the child's reports until its answer, or until it is gone."""
    staging = str(attempt.queue.files.staging.resolve())
    taken = written = 0
    while (message := await child.receive()) is not None:
        report = understood(message, staging)
        if report is None:
            child.nonsense = "a line that is no message"
            break
        if (outcome := _take(attempt, child, report)) is not None:
            if attempt.reason in _TOO_SLOW:
                attempt.last_words = child.words.document(None)
            return outcome
        written += len(report.message) if isinstance(report, Line) else 0
        if attempt.backlog > BACKLOG or written > BACKLOG_BYTES:  # the pipe fills, and the job waits for the store
            await attempt.flush()
            written = 0
        taken += 1
        if taken % AT_ONCE == 0:
            await asyncio.sleep(0)
    return await _died(attempt, child)


def _take(attempt: Attempt, child: Child, report: Report) -> Outcome | None:
    """Hand on what the child reports; return the outcome where it is one."""
    match report:
        case Position(p=position):
            attempt.report(*position)
        case Line():
            child.words.line(report.message)
            attempt.log(report.message, report.level)
        case File():
            attempt.attach(Path(report.path), report.size, report.name, report.media_type)
        case Delivered():
            attempt.receipt("delivered")
        case Acknowledged():
            attempt.receipt("acknowledged")
        case Returned():
            child.healthy &= report.clean
            return Completed(report.result)
        case Heeded():
            child.healthy &= report.clean
            attempt.receipt("acknowledged")
            return Stopped()
        case Raised(error=error):
            child.healthy &= report.clean
            return attempt.failed(failure(error.type, error.message, error.traceback), retry=report.retry)
    return None


async def _died(attempt: Attempt, child: Child) -> Outcome:
    """Say how a child has ended that has ended without an answer, or whose words can't be taken any more."""
    child.words.sample()  # it may lie there as a zombie
    code = None if child.nonsense else await child.ended_within(MOMENT)
    kind, how = "ProcessDied", ""
    if child.overdrawn or (code == -signal.SIGXCPU and child.limits.cpu is not None):
        kind, how = "CpuLimit", f"used more than its {child.limits.cpu:g} s of CPU (job_cpu)"
    elif child.nonsense:
        how = f"was killed: it wrote {child.nonsense} to the pipe through which it reports"
    elif code is None:
        how = "was killed: it closed the pipe through which it reports"
    last_code = await child.end()
    attempt.last_words = child.words.document(last_code)
    error = failure(kind, f"The job's process {how or how_it_ended(last_code)}.")
    return attempt.failed({**error, "last_words": attempt.last_words})


async def _stop(attempt: Attempt, child: Child) -> None:
    grace = attempt.queue.settings.cancel_grace
    if attempt.reason == "lost":
        child.signal(signal.SIGKILL)
        return
    asked = time.monotonic()
    if attempt.reason in _TOO_SLOW:  # before the signal moves it from where it hangs
        await child.words.ask(child.signal)
    child.send({"t": "cancel"})
    await asyncio.sleep(max(0.0, grace / 2 - (time.monotonic() - asked)))
    child.healthy = False  # the signal may find the job at its end, and then ends the idle child
    child.signal(signal.SIGTERM)
    await asyncio.sleep(max(0.0, grace - (time.monotonic() - asked)))
    log.warning("Job %s (%s) did not stop in %g s; its process is killed", attempt.job.id, attempt.kind.name, grace)
    attempt.killed = True
    child.words.sample()
    child.signal(signal.SIGKILL)
