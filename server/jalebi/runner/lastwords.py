"""What a job's process leaves behind as it dies or is killed: its stack, its last log lines, and what it has used."""

import asyncio
import faulthandler
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Final

from jalebi.context import clean_text
from jalebi.runner import procfs

#: Characters of a log line, lines, and bytes of a stack that are kept.
MAX_LINE: Final = 1000
MAX_LINES: Final = 10
MAX_STACK: Final = 64 * 1024
#: Seconds for which a process may write its stack before it is told to stop.
PATIENCE: Final = 0.3
_LOOK: Final = 0.02


def dump_signal() -> int | None:
    """Return the signal at which a child process writes its stack: none that a job is likely to use itself."""
    if sys.platform == "win32":
        return None
    realtime = getattr(signal, "SIGRTMIN", None)
    return signal.SIGUSR2 if realtime is None else int(realtime) + 5


def leave_stacks(descriptor: int) -> None:
    """Let this process write its stack to a file when it crashes, uses up its CPU time, or is asked to.

    That works where the interpreter does not: the handlers are C and need no lock.
    """
    faulthandler.enable(descriptor)
    number = dump_signal()
    if number is not None and sys.platform != "win32":
        faulthandler.register(number, descriptor)
        faulthandler.register(signal.SIGXCPU, descriptor, chain=True)  # and then it dies of it


class LastWords:
    """What is known of one child process in the attempt that it runs; the stack is in a file that both hold."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = _nameless() if sys.platform != "win32" else None
        self._pid: int | None = None
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._stack: str | None = None
        self._peak: int | None = None
        self._cpu: float | None = None
        self._cpu_before = 0.0

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child process is to inherit."""
        return () if self._file is None else (self._file.fileno(),)

    def begin(self, pid: int) -> None:
        """Start anew for the next attempt of the process."""
        self._pid, self._peak, self._cpu, self._stack = pid, None, None, None
        self._lines.clear()
        self.rewind()
        procfs.forget_peak(pid)
        self._cpu_before = procfs.cpu_seconds(pid) or 0.0
        self.sample()

    def rewind(self) -> None:
        """Empty the file; its position is the child process's too."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.seek(0)

    def line(self, message: str) -> None:
        """Keep a log line among the last ones."""
        self._lines.append(message if len(message) <= MAX_LINE else f"{message[:MAX_LINE]}…")

    def sample(self) -> float | None:
        """Take down what the process uses while that can be known; return its CPU seconds in this attempt."""
        if self._pid is not None:
            self._peak = procfs.peak_memory(self._pid) or self._peak
            if (cpu := procfs.cpu_seconds(self._pid)) is not None:
                self._cpu = max(0.0, cpu - self._cpu_before)
        return self._cpu

    async def ask(self, send: Callable[[int], None]) -> None:
        """Send the process the signal for its stack, and wait a little until it is written."""
        number = dump_signal()
        if number is None or self._file is None:
            return
        before = seen = self._size()
        send(number)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            await asyncio.sleep(_LOOK)
            size = self._size()
            if size == seen > before:  # it has come, and grows no more
                return
            seen = size

    def document(self, code: int | None) -> dict[str, Any]:
        """Return all of it; `code` is how the process ended, None where it lives."""
        return {
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": signal_name(-code) if code is not None and code < 0 else None,
            "log": list(self._lines),
            "stack": self._stack or self._read(),
            "peak_memory": self._peak,
            "cpu_seconds": None if self._cpu is None else round(self._cpu, 2),
        }

    def close(self) -> None:
        """Read the stack and close the file."""
        if self._file is not None:
            self._stack = self._read()
            self._file.close()
        self._file = self._pid = None  # the number may be another process's soon

    def _size(self) -> int:
        return 0 if self._file is None else os.fstat(self._file.fileno()).st_size

    def _read(self) -> str | None:
        if self._file is None:
            return None
        found = os.pread(self._file.fileno(), MAX_STACK, 0)  # where it writes is not moved
        return clean_text(found.decode(errors="replace")).strip() or None


def _nameless() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("jalebi-last-words"), "w+b", buffering=0)
    from tempfile import TemporaryFile

    return TemporaryFile(buffering=0)


def signal_name(number: int) -> str:
    """Return a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def how_it_ended(code: int) -> str:
    """Return what an exit code says, for a sentence that begins with the process."""
    if code >= 0:
        return f"exited with code {code} before it handed over a result"
    hint = ", perhaps because memory ran out" if -code == signal.SIGKILL else ""
    return f"was killed by signal {-code} ({signal_name(-code)}{hint})"
