"""Kinds that do their worst to the server that runs them, and healthy ones that must not notice.

With POISON_BROKEN the server that imports this is broken on purpose, so that a test can see that this is found.
"""

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from jalebi import Jalebi, JobContext

BROKEN = os.environ.get("POISON_BROKEN", "")
MIB = 1 << 20

shop = Jalebi()


@shop.job
async def add(a: int, b: int) -> int:
    """Be healthy in the event loop."""
    return a + b


@shop.job
def count(ctx: JobContext, to: int) -> int:
    """Be healthy in a process."""
    ctx.log("counting")
    return sum(1 for _ in ctx.track(range(to), unit="steps"))


@shop.job(isolation="thread")
def rest(ctx: JobContext) -> str:
    """Be healthy in a thread."""
    for _ in ctx.track(range(10)):
        time.sleep(0.02)
    return "rested"


@shop.job(max_attempts=2, backoff=0.1)
def vanish(ctx: JobContext, path: str) -> int:
    """Die in the first attempt, and leave the time of death."""
    if ctx.attempt == 1:
        Path(path).write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


@shop.job(max_attempts=1, isolation="thread" if BROKEN == "thread" else "process")
def poison(ctx: JobContext, how: str, amount: int = 1) -> Any:
    """Do harm."""
    return getattr(Poison, how)(ctx, amount)


class Poison:
    """The ways to do harm; each is called with the context and an amount."""

    @staticmethod
    def segfault(ctx: JobContext, amount: int) -> None:
        ctx.log("about to read where nothing is")
        ctypes.string_at(0)

    @staticmethod
    def exit_0(ctx: JobContext, amount: int) -> None:
        os._exit(0)

    @staticmethod
    def sys_exit(ctx: JobContext, amount: int) -> None:
        sys.exit(3)

    @staticmethod
    def deaf(ctx: JobContext, amount: int) -> None:
        """Loop for ever and ignore SIGTERM."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass

    @staticmethod
    def hold_the_gil(ctx: JobContext, amount: int) -> None:
        deque(itertools.repeat(None), maxlen=0)

    @staticmethod
    def burn(ctx: JobContext, amount: int) -> None:
        while True:
            pass

    @staticmethod
    def stop(ctx: JobContext, amount: int) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    @staticmethod
    def memory(ctx: JobContext, amount: int) -> int:
        return len(bytearray(4096 * MIB))

    @staticmethod
    def forks(ctx: JobContext, amount: int) -> str:
        """Leave processes behind, some of them in sessions of their own."""
        for number in range(amount):
            if os.fork() == 0:
                if number % 10 == 0:
                    os.setsid()
                time.sleep(600)
                os._exit(0)
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        for own in (True, False):
            subprocess.Popen(sleeper, start_new_session=own)
        return "left"

    @staticmethod
    def print_much(ctx: JobContext, amount: int) -> int:
        line = "x" * (16 * 1024 - 1)
        for _ in range(amount * 64):
            print(line)
        return amount

    @staticmethod
    def report_much(ctx: JobContext, amount: int) -> float:
        """Report progress without a pause; return how often a second."""
        since = time.monotonic()
        for number in range(amount):
            ctx.progress(number, amount)
        return amount / (time.monotonic() - since)

    @staticmethod
    def log_much(ctx: JobContext, amount: int) -> int:
        line = "x" * 16 * 1024
        for _ in range(amount * 64):
            ctx.log(line)
        return amount

    @staticmethod
    def return_much(ctx: JobContext, amount: int) -> str:
        return "x" * (amount * MIB)

    @staticmethod
    def endless_line(ctx: JobContext, amount: int) -> None:
        while True:
            os.write(pipe_of(ctx), b"x" * MIB)

    @staticmethod
    def garbage(ctx: JobContext, amount: int) -> None:
        os.write(pipe_of(ctx), b'\x00\xff{"t": "completed"\n' * 1000)
        time.sleep(600)

    @staticmethod
    def forge_much(ctx: JobContext, amount: int) -> int:
        """Write to the pipe what the process itself would never write as fast."""
        reports = b'{"t":"progress","p":[1,2,null,null]}\n' * 1000
        for _ in range(amount):
            written = 0
            while written < len(reports):
                written += os.write(pipe_of(ctx), reports[written:])
        return amount

    @staticmethod
    def close_everything(ctx: JobContext, amount: int) -> None:
        os.closerange(0, 1024)
        time.sleep(600)

    @staticmethod
    def probe(ctx: JobContext, amount: int) -> str:
        os.kill(os.getppid(), 0)
        return "alive"


def pipe_of(ctx: JobContext) -> int:
    """Return the descriptor through which the process of a job reports."""
    link: Any = ctx._link
    number: int = link._out.fileno()
    return number


def _break() -> None:
    from jalebi.runner.handle import Child

    def only_itself(child: Child, number: int) -> None:
        if child.process.returncode is None:
            child.process.send_signal(number)

    if BROKEN == "group":
        Child.signal = only_itself  # type: ignore[method-assign, assignment]


_break()
