"""Kinds that do what a test asks of them."""

import asyncio
import ctypes
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from jalebi import Jalebi, JobContext, JobFailed, track


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Address(BaseModel):
    street: str
    city: str = "Jodhpur"


def make_shop(**settings: Any) -> Jalebi:
    """Return a shop with all the kinds; tests that need two shops in one process make two."""
    made = Jalebi(**settings)
    made.job(echo)
    made.job(steps)
    made.job(typed)
    made.job(chatty)
    made.job(wait_for)
    made.job(max_attempts=2, backoff=0.05)(misbehave)
    made.job(process_steps)
    made.job(isolation="thread")(thread_steps)
    made.job(backoff=0.05)(flaky)
    made.job(max_attempts=1)(look_around)
    made.job(max_attempts=1)(perish)
    return made


async def echo(value: Any = None) -> Any:
    """Return what was given."""
    return value


async def steps(ctx: JobContext, count: int = 10, pause: float = 0.02) -> int:
    """Take steps, one after the other.

    The second paragraph is only in the full description.
    """
    for _ in ctx.track(range(count), unit="steps"):
        await asyncio.sleep(pause)
    return count


async def typed(
    title: Annotated[str, Field(description="What it is called", min_length=1, max_length=40)],
    pages: Annotated[int, Field(ge=1, le=500)] = 20,
    colour: Colour = Colour.RED,
    size: Literal["small", "large"] = "small",
    tags: list[str] | None = None,
    address: Address | None = None,
    draft: bool = False,
) -> dict[str, Any]:
    """Take many types."""
    return {"title": title, "pages": pages, "colour": colour.value, "address": address and address.city}


async def chatty(ctx: JobContext, lines: int = 3) -> None:
    """Log lines and attach files."""
    for number in range(1, lines + 1):
        ctx.log(f"line {number}", level="warning" if number == 2 else "info")
    ctx.attach(b"some text\n", "notes.txt")
    ctx.attach(b"\x00" * 100_000, "zeros ☃.bin", "application/x-zeros")


async def wait_for(ctx: JobContext, path: str) -> str:
    """Wait until a file exists."""
    while not Path(path).exists():
        ctx.progress(1, 2, message="waiting")
        await asyncio.sleep(0.01)
    return "found"


def misbehave(ctx: JobContext, how: str) -> Any:
    """Fail in one of many ways."""
    match how:
        case "raise":
            raise ValueError("a bad value")
        case "give up":
            raise JobFailed("there is no way", retry=False)
        case "exit":
            os._exit(0)
        case "exit 3":
            os._exit(3)
        case "sys.exit":
            raise SystemExit(1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fork":
            if copy := os.fork():
                os.waitpid(copy, 0)
            else:
                return "the copy's result"
        case "orphan":
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        case "memory":
            raise MemoryError
        case "nan":
            return float("nan")
        case "object":
            return object()
        case "big":
            return "x" * (2 << 20)
        case "sleep":
            ctx.progress(0)
            time.sleep(60)
        case "stubborn":
            ctx.progress(0)
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    ctx.log("not yet")
        case "polite":
            ctx.log("stirring")
            while not ctx.cancelled:
                time.sleep(0.01)
            ctx.log("put away the ladle")
            ctx.raise_if_cancelled()
    return os.getpid()


def process_steps(count: int = 5, pause: float = 0.01) -> int:
    """Take steps in a child process."""
    for _ in track(range(count), unit="steps"):
        time.sleep(pause)
    return os.getpid()


def thread_steps(ctx: JobContext, count: int = 5, pause: float = 0.01) -> int:
    """Take steps in a thread."""
    for _ in ctx.track(range(count), unit="steps"):
        time.sleep(pause)
    return os.getpid()


async def flaky(ctx: JobContext, succeed_on: int = 2) -> int:
    """Fail until the given attempt."""
    if ctx.attempt < succeed_on:
        raise RuntimeError(f"attempt {ctx.attempt} fails")
    return ctx.attempt


def look_around() -> dict[str, Any]:
    """Tell what a job sees in its process, and what it is allowed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    descriptors = {number: os.path.realpath(f"/proc/self/fd/{number}") for number in range(256) if _is_open(number)}
    return {
        "pid": os.getpid(),
        "environment": dict(os.environ),
        "descriptors": descriptors,
        "inheritable": [number for number in descriptors if os.get_inheritable(number)],
        "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("AS", "FSIZE", "CORE")},
        "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0],
        "cpu_used": used.ru_utime + used.ru_stime,
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
    }


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def perish(ctx: JobContext, how: str, path: str = "") -> Any:
    """Die, hang, or go beyond a limit."""
    pipe: Any = ctx._link
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "fifteen lines":
            for number in range(15):
                ctx.log(f"line {number}" + "…" * 2000 * (number == 14))
            os._exit(3)
        case "hold the GIL":
            grind()
        case "burn":
            burn()
        case "burn on":
            signal.signal(signal.SIGXCPU, signal.SIG_IGN)
            burn()
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "nap":
            nap()
        case "memory":
            return len(bytearray(4 << 30))
        case "file":
            Path(path).write_bytes(bytes(1 << 20))
        case "close everything":
            os.closerange(0, 256)
            time.sleep(60)
        case "say":
            os.write(pipe._out.fileno(), f"{path}\n".encode())
            time.sleep(60)
        case "endless line":
            while True:
                os.write(pipe._out.fileno(), b"x" * 65536)
        case "fat":
            held = b"x" * (96 << 20)
            Path(path).touch()
            while True:
                time.sleep(len(held) * 1e-12)
        case "leave others":
            return [start_sleeper(group) for group in ("same", "own", "orphan")]
        case _:
            copy_oneself(how)
    return how


def copy_oneself(how: str) -> None:
    """Fork, and end: after a copy that crashes, or before one that holds what it got."""
    match how:
        case "crash a copy":
            if copy := os.fork():
                os.waitpid(copy, 0)
                os._exit(4)
            ctypes.string_at(0)
        case "leave a copy in C":
            if ctypes.PyDLL(None).fork() == 0:  # Python does not learn of it
                os.setsid()
                time.sleep(5)
                os._exit(0)
            os._exit(5)


def start_sleeper(group: str) -> int:
    """Start a process that sleeps: in this one's group, in one of its own, or as nobody's child in one of its own."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    if group == "orphan":
        quiet = "start_new_session=True, stdout=-3, stderr=-3"
        code = f"import subprocess; print(subprocess.Popen({command!r}, {quiet}).pid)"
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    return subprocess.Popen(command, start_new_session=group == "own").pid


def grind() -> None:
    """Hold the GIL in a loop in C that never looks whether a signal has come."""
    deque(itertools.repeat(None), maxlen=0)


def burn() -> None:
    """Use CPU."""
    while True:
        pass


def nap() -> None:
    """Wait for nothing."""
    time.sleep(60)


shop = make_shop()
