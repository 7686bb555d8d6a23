"""A child process as the server holds it: the pipes to it, its signals, and what is known of it should it die."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Any, Final

from jalebi.runner import procfs
from jalebi.runner.lastwords import LastWords
from jalebi.runner.limits import Limits

#: Seconds of CPU over the limit at which a process is killed that ignores the kernel's signal.
CPU_SLACK: Final = 2.0
#: Seconds for which the end of a process is waited for that was killed.
LAST_WAIT: Final = 5.0


class Child:
    """A child process, the pipes to it, and what is known of it should it die."""

    def __init__(self, process: Process, words: LastWords, limits: Limits) -> None:
        self.process = process
        self.job_id = ""  # of the job in it
        self.words = words
        self.limits = limits
        self.jobs = 0
        self.healthy = True
        self.nonsense = ""  # what it has said that is no message
        self.overdrawn = False  # whether it was killed for the CPU that it used
        self._over = False
        assert process.stdin is not None
        assert process.stdout is not None
        self._in = process.stdin
        self._out = process.stdout

    @classmethod
    async def start(cls, where: dict[str, Any], line_limit: int, limits: Limits) -> "Child":
        """Start a child and let it import the target; returns before it has."""
        words = LastWords()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "jalebi.runner.child", str(os.getpid()), *map(str, words.descriptors),
                stdin=PIPE, stdout=PIPE, limit=line_limit, env=limits.environment(os.environ),
                pass_fds=words.descriptors,
                start_new_session=True,  # its own group, so that what it starts can be killed with it
            )  # fmt: skip
        except BaseException:
            words.close()
            raise
        child = cls(process, words, limits)
        child.send({**where, "limits": limits.orders()})
        return child

    def send(self, message: dict[str, Any]) -> None:
        """Write one message; a child that is gone does not hear it."""
        with suppress(ConnectionError, RuntimeError):
            self._in.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None once the child is gone or talks nonsense."""
        try:
            line = await self._out.readline()
        except ConnectionError:
            return None
        except ValueError:
            self.nonsense = "a line without end"
            return None
        try:
            return dict(json.loads(line)) if line.endswith(b"\n") else None
        except (ValueError, TypeError, RecursionError):
            self.nonsense = "a line that is no message"
            return None

    def signal(self, number: int) -> None:
        """Send a signal to the child, and SIGKILL also to all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            if number != signal.SIGKILL:
                self.process.send_signal(number)
                return
            # Those that have left its group are found as long as it lives.
            others = procfs.descendants(self.process.pid) if self.process.returncode is None else []
            os.killpg(self.process.pid, number)
            for pid in others:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def look(self) -> None:
        """Take down what the child uses; kill it where that is too much CPU, and see that its death is noticed."""
        if self.process.returncode is not None:
            if self._over:  # a copy of it that knows nothing of us may hold its pipe open
                self._out.feed_eof()
            self._over = True
            return
        used = self.words.sample()
        if used is not None and self.limits.cpu is not None and used > self.limits.cpu + CPU_SLACK:
            self.overdrawn = True
            self.signal(signal.SIGKILL)

    async def ended_within(self, seconds: float) -> int | None:
        """Return the child's exit code, None where it is still running after some seconds."""
        if self.process.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), seconds)
        return self.process.returncode

    async def end(self) -> int:
        """Kill the child with what it started; return its exit code."""
        self.healthy = False
        self.signal(signal.SIGKILL)  # also where it has ended itself: what it started has not
        code = await self.ended_within(LAST_WAIT)
        self.words.close()
        self.process._transport.close()  # type: ignore[attr-defined]  # also where somebody else holds a pipe open
        return -signal.SIGKILL if code is None else code
