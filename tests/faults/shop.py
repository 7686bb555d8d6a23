"""Kinds that write into a journal when each of their attempts begins and ends; the servers of the fault tests run it.

The journal is a file that every attempt appends to, one write a line. A lock beside it, one a job, is held for as long
as an attempt runs: the kernel drops it with the process, so an attempt that begins while another still runs sees it.
"""

import asyncio
import ctypes
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jalebi import Jalebi, JobContext, JobFailed

FOLDER = "FAULTS_FOLDER"
PARENT = "FAULTS_PARENT"

#: Of all isolations, journaled.
shop = Jalebi()
#: Of all isolations, led by a test.
gated = Jalebi()
#: Nothing that needs a child process.
light = Jalebi()

if os.environ.get(PARENT) == str(os.getppid()):  # a server, not a child of it: it must not outlive the tests
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def append(word: str, ctx: JobContext) -> None:
    """Write one line: word, job, attempt, the process, the process that supervises it, nanoseconds."""
    mine = os.getpid()
    above = os.getppid() if ctx.kind.startswith("process") else mine
    line = f"{word} {ctx.job_id} {ctx.attempt} {mine} {above} {time.monotonic_ns()}\n"
    file = os.open(Path(os.environ[FOLDER]) / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@contextmanager
def journaled(ctx: JobContext) -> Iterator[None]:
    """Hold the job's lock, and write down the beginning and the end."""
    folder = Path(os.environ[FOLDER]) / "locks"
    lock = os.open(folder / ctx.job_id, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            append("start", ctx)
        except BlockingIOError:
            append("overlap", ctx)
        try:
            yield
        except BaseException:
            append("stop", ctx)
            raise
        append("finish", ctx)
    finally:
        os.close(lock)


@shop.job(backoff=0.05)
async def loop_work(ctx: JobContext, seconds: float = 0.0) -> int:
    """Take some time in the event loop."""
    with journaled(ctx):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ctx.progress(seconds - left, seconds)
            await asyncio.sleep(min(left, 0.05))
    return ctx.attempt


@shop.job(backoff=0.05, isolation="thread")
def thread_work(ctx: JobContext, seconds: float = 0.0) -> int:
    """Take some time in a thread."""
    return _work(ctx, seconds)


@shop.job(backoff=0.05)
def process_work(ctx: JobContext, seconds: float = 0.0) -> int:
    """Take some time in a child process."""
    return _work(ctx, seconds)


def _work(ctx: JobContext, seconds: float) -> int:
    with journaled(ctx):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ctx.progress(seconds - left, seconds)
            ctx.raise_if_cancelled()
            time.sleep(min(left, 0.05))
    return ctx.attempt


@shop.job(backoff=0.05)
def process_sleep(ctx: JobContext, seconds: float) -> int:
    """Sleep in a child process in the first attempt, without a word to the server."""
    with journaled(ctx):
        if ctx.attempt == 1:
            time.sleep(seconds)
    return ctx.attempt


@gated.job
async def loop_gated(ctx: JobContext, folder: str, deeds: list[str], ending: str) -> int:
    """Do at the opening of one gate what is asked, in the event loop, and end at the opening of another."""
    gates = Gates(ctx, folder)
    for gate in ("go", "end"):
        while True:  # files tell nobody
            if gates.passed(gate):
                break
            await asyncio.sleep(0.005)
        if gate == "go":
            gates.do(deeds)
    return gates.end(ending)


@gated.job(isolation="thread")
def thread_gated(ctx: JobContext, folder: str, deeds: list[str], ending: str) -> int:
    """Do the same in a thread."""
    return _gated(ctx, folder, deeds, ending)


@gated.job
def process_gated(ctx: JobContext, folder: str, deeds: list[str], ending: str) -> int:
    """Do the same in a child process."""
    return _gated(ctx, folder, deeds, ending)


def _gated(ctx: JobContext, folder: str, deeds: list[str], ending: str) -> int:
    gates = Gates(ctx, folder)
    while not gates.passed("go"):
        time.sleep(0.005)
    gates.do(deeds)
    while not gates.passed("end"):
        time.sleep(0.005)
    return gates.end(ending)


class Gates:
    """Files by which a test lets one attempt go on and hears how far it is."""

    def __init__(self, ctx: JobContext, folder: str) -> None:
        self._ctx = ctx
        self._folder = Path(folder)
        self._say("began")

    def _say(self, word: str) -> None:
        (self._folder / f"{self._ctx.attempt}.{word}").touch()

    def passed(self, gate: str) -> bool:
        """Whether the test has opened a gate for this attempt."""
        return (self._folder / f"{self._ctx.attempt}.{gate}").exists()

    def do(self, deeds: list[str]) -> None:
        """Report a position, log a line, or keep a file."""
        for deed in deeds:
            match deed:
                case "progress":
                    self._ctx.progress(self._ctx.attempt, 100)
                case "log":
                    self._ctx.log(f"a line of attempt {self._ctx.attempt}")
                case "file":
                    self._ctx.attach(f"of attempt {self._ctx.attempt}".encode(), "report.txt")
        self._say("did")

    def end(self, ending: str) -> int:
        """Return; the first attempt fails or gives up where it is asked to."""
        if self._ctx.attempt == 1 and ending == "raise":
            raise ValueError("the first attempt fails")
        if self._ctx.attempt == 1 and ending == "give up":
            raise JobFailed("the first attempt gives up", retry=False)
        return self._ctx.attempt


@light.job
async def note(key: str) -> str:
    """Return the key that the job was submitted with."""
    return key
