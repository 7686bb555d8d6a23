"""What this machine is, what runs on it besides us, and where our processes may run."""

import contextlib
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.plain import sqlite_version

#: The server has the first core to itself and the client the second.
SERVER_CPU: Final = 0
CLIENT_CPU: Final = 1
_PROC: Final = Path("/proc")


def pin(cpu: int | None) -> None:
    """Keep this process on one core, where the system can and has two."""
    if cpu is not None and can_pin():
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[cpu]})


def can_pin() -> bool:
    """Whether server and client get a core each."""
    return hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


def facts(folder: Path) -> list[str]:
    """Return what the figures depend on."""
    names = ("starlette", "uvicorn", "uvloop", "httptools", "websockets", "pydantic", "msgspec")
    cores = f"{os.cpu_count()} cores" + ("" if can_pin() else "; server and client could not be given a core each")
    system = f"{platform.system()} {platform.release().partition('-')[0]} on {platform.machine()}"
    return [
        f"{time.strftime('%Y-%m-%d')}, {system}, {cores}",
        f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names),
        f"database on {file_system(folder)} (the file system of "
        + ("TMPDIR" if os.environ.get("TMPDIR") else "the working directory")
        + "), journal_mode=WAL, synchronous=FULL",
    ]


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder; one in memory would make every commit free."""
    best = ("", "an unknown file system")
    with contextlib.suppress(OSError):
        for line in (_PROC / "mounts").read_text().splitlines():
            _, point, kind = line.split()[:3]
            if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
                best = (point, kind)
    return f"{best[1]}, IN MEMORY: NOT A DISK" if best[1] in {"tmpfs", "ramfs"} else best[1]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, those it waited for included; 0 where the system does not tell."""
    try:
        values = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(value) for value in values[11:15]) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int | None:
    """Return the bytes of memory that a process holds, or None where the system does not tell."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


class Others:
    """How much CPU went to what is not ours while a benchmark ran."""

    def __init__(self) -> None:
        self._began = (time.monotonic(), _busy(), _ours())

    def note(self) -> str:
        """Return a sentence about the noise."""
        load = f"load average {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "load unknown"
        then, busy, ours = self._began
        if busy is None or (now := _busy()) is None:
            return f"Noise: {load}."
        foreign = max(0.0, (now - busy) - (_ours() - ours)) / max(0.001, time.monotonic() - then)
        verdict = "quiet" if foreign < 0.05 else "some noise" if foreign < 0.25 else "NOISY: do not trust small gaps"
        return f"Noise: other processes used {foreign:.2f} cores ({verdict}); {load}."


def _busy() -> float | None:
    try:
        first = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(value) for value in first)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    """Return the CPU time of this process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    mine = {os.getpid()}
    while fresh := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= fresh
    return sum(cpu_seconds(pid) for pid in mine)
