"""Running a kind's function in a child process that can be killed; idle children are kept warm for the next job."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from jalebi.background import log, spawn
from jalebi.jobs import Completed, Outcome, Stopped, failure
from jalebi.runner.attempt import Attempt

#: Jobs after which a child is replaced, so that what they leak does not pile up.
JOBS_PER_CHILD: Final = 200
#: Log lines and files of a job that may wait to be stored before its pipe is read on.
BACKLOG: Final = 500
#: Seconds for which a child may import the target.
START_TIMEOUT: Final = 120.0


class Child:
    """A child process and the pipes to it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.jobs = 0
        self.healthy = True
        assert process.stdin is not None
        assert process.stdout is not None
        self._in = process.stdin
        self._out = process.stdout

    @classmethod
    async def start(cls, where: dict[str, Any], line_limit: int) -> "Child":
        """Start a child and let it import the target; returns before it has."""
        environment = {name: value for name, value in os.environ.items() if name != "JALEBI_TOKEN"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "jalebi.runner.child", str(os.getpid()),
            stdin=PIPE, stdout=PIPE, limit=line_limit, env=environment,
            start_new_session=True,  # its own group, so that what it starts can be killed with it
        )  # fmt: skip
        child = cls(process)
        child.send(where)
        return child

    def send(self, message: dict[str, Any]) -> None:
        """Write one message; a child that is gone does not hear it."""
        with suppress(ConnectionError, RuntimeError):
            self._in.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None once the child is gone or talks nonsense."""
        try:
            line = await self._out.readline()
            return dict(json.loads(line)) if line.endswith(b"\n") else None
        except (ValueError, ConnectionError):
            return None

    def signal(self, number: int) -> None:
        """Send a signal to the child and to what it started."""
        with suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGTERM:
                self.process.send_signal(number)
            else:
                os.killpg(self.process.pid, number)

    async def end(self) -> int:
        """Kill the child with what it started; return its exit code."""
        self.healthy = False
        self.signal(signal.SIGKILL)  # also where it has ended itself: what it started has not
        return await self.process.wait()


class Children:
    """The child processes of one worker: at most as many as jobs run, and the idle ones are used again."""

    def __init__(self, target: str | None, line_limit: int) -> None:
        self._where = {"target": target, "sys_path": list(sys.path)}
        self._line_limit = line_limit
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._closed = False
        self._warming: asyncio.Task[Any] | None = None

    async def warm(self) -> None:
        """Start a child before the first job needs one."""
        self._warming = asyncio.current_task()
        self._idle.append(await self._start())

    async def take(self) -> Child:
        """Return an idle child, or start one."""
        warming, self._warming = self._warming, None
        if warming is not None:  # the first job takes it, however soon it comes
            await asyncio.wait({warming})
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None:
                return child
            self._all.discard(child)
        return await self._start()

    async def give_back(self, child: Child) -> None:
        """Keep a child for the next job, or end it where it can't be trusted with one."""
        child.jobs += 1
        if self._closed or not child.healthy or child.jobs >= JOBS_PER_CHILD:
            await child.end()
            self._all.discard(child)
        else:
            self._idle.append(child)

    async def close(self) -> None:
        """End every child."""
        self._closed = True
        for child in list(self._all):
            if child.process.returncode is None:
                await child.end()
        self._all.clear()
        self._idle.clear()

    def abandon(self) -> None:
        """Kill every child where the event loop that could wait for it is no more."""
        self._closed = True
        for child in self._all:
            child.signal(signal.SIGKILL)

    async def _start(self) -> Child:
        child = await Child.start(self._where, self._line_limit)
        self._all.add(child)
        trouble: str | None = "The server is shutting down."
        try:
            if not self._closed:  # it may have been closed while the child came to life
                trouble = await self._trouble(child)
        except BaseException:
            child.signal(signal.SIGKILL)
            raise
        if trouble:
            await child.end()
            self._all.discard(child)
            raise ChildError(trouble)
        return child

    @staticmethod
    async def _trouble(child: Child) -> str | None:
        """Wait until a child has imported the target; return what went wrong, as one sentence, or None."""
        try:
            ready = await asyncio.wait_for(child.receive(), START_TIMEOUT)
        except TimeoutError:
            return f"The child process could not start: it took over {START_TIMEOUT:g} s to import the target."
        if ready is None:
            return f"The child process could not start: it {how_it_ended(await child.end())}."
        error: str | None = ready["error"]
        return error


class ChildError(Exception):
    """A child process could not be started; the message is one sentence."""


async def run_in_process(attempt: Attempt, children: Children) -> Outcome:
    """Run a function in a child process; to stop it, it is asked, told by SIGTERM, and killed, in that order."""
    try:
        child = await children.take()
    except (ChildError, OSError) as error:
        return attempt.failed(failure("ChildError", str(error)))
    if attempt.reason is not None:  # stopped while the child was starting
        await children.give_back(child)
        return Stopped()
    attempt.start_clock()  # a child's start-up is not the job's time
    ladder: list[asyncio.Task[None]] = []
    attempt.when_stopped(lambda: ladder.append(spawn(_stop(attempt, child), f"stop of job {attempt.job.id}")))
    try:
        child.send(_order(attempt))
        return await _follow(attempt, child)
    except BaseException:  # it still runs the job
        child.healthy = False
        raise
    finally:
        attempt.over()
        for step in ladder:
            step.cancel()
        await children.give_back(child)


def _order(attempt: Attempt) -> dict[str, Any]:
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
    }


async def _follow(attempt: Attempt, child: Child) -> Outcome:
    """Take the child's reports until its answer, or until it is gone."""
    while (message := await child.receive()) is not None:
        match message["t"]:
            case "progress":
                attempt.report(*message["p"])
            case "log":
                attempt.log(message["message"], message["level"])
            case "file":
                attempt.attach(Path(message["path"]), message["size"], message["name"], message["media_type"])
            case "delivered" | "acknowledged" as step:
                attempt.receipt(step)
            case answer:
                child.healthy &= message["clean"]
                if answer == "completed":
                    return Completed(message["result"])
                if answer == "stopped":
                    attempt.receipt("acknowledged")
                    return Stopped()
                return attempt.failed(message["error"], retry=message["retry"])
        if attempt.backlog > BACKLOG:  # the pipe fills, and the job waits for the store
            await attempt.flush()
    code = await child.end()
    return attempt.failed(failure("ProcessDied", f"The job's process {how_it_ended(code)}."))


async def _stop(attempt: Attempt, child: Child) -> None:
    grace = attempt.queue.settings.cancel_grace
    if attempt.reason == "lost":
        child.signal(signal.SIGKILL)
        return
    child.send({"t": "cancel"})
    asked = time.monotonic()
    await asyncio.sleep(grace / 2)
    child.healthy = False  # the signal may find the job at its end, and then ends the idle child
    child.signal(signal.SIGTERM)
    await asyncio.sleep(max(0.0, grace - (time.monotonic() - asked)))
    log.warning("Job %s (%s) did not stop in %g s; its process is killed", attempt.job.id, attempt.kind.name, grace)
    attempt.killed = True
    child.signal(signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """Return what an exit code says, for a sentence that begins with the process."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
        return f"was killed by signal {-code} ({name}{hint})"
    return f"exited with code {code} before it handed over a result"
