"""What Linux tells about another process: the memory and CPU that it used, and what it has started."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Processes below one that are looked for; a fork bomb must not keep who counts it.
MOST: Final = 1000


def peak_memory(pid: int) -> int | None:
    """Return the most bytes of memory that a process has had at once; None where that can't be known (any more)."""
    return _memory(pid, "VmHWM:")


def resident_memory(pid: int) -> int | None:
    """Return the bytes of memory that a process has now; None where that can't be known (any more)."""
    return _memory(pid, "VmRSS:")


def _memory(pid: int, field: str) -> int | None:
    for line in _read(pid, "status").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return None


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory start anew, where the kernel can."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU that a process and those that it has waited for have used; known until somebody waits for it."""
    fields = _read(pid, "stat").rpartition(")")[2].split()  # a name may hold anything
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") if len(fields) > 14 else None


def descendants(pid: int) -> list[int]:
    """Return what a process has started, and what those have; empty where that can't be known."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                found += map(int, _read(one, f"task/{task}/children").split())
        if len(found) > MOST:
            break
    return found[1:]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
