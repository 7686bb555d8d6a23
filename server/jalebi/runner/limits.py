"""What bounds a job's process: memory, CPU time, size of files, environment. No sandbox: its user is the server's."""

import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from jalebi.settings import Settings

#: Bytes of address space that a child process needs to start and to run a job that needs none.
ROOM: Final = 48 << 20
#: How much sooner than the server the kernel ends a job's process where the machine's memory runs out.
EXPENDABLE: Final = 500
#: Variables that Python and what it starts can't do without; a star stands for any end.
NEEDED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP", "PYTHON*",
    "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_*", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child process is started with; None is no limit. `cpu` is in seconds for each job, the rest in bytes."""

    memory: int | None = None
    cpu: float | None = None
    file_size: int | None = None
    variables: tuple[str, ...] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return what the settings allow a job."""
        return cls(settings.job_memory, settings.job_cpu, settings.job_file_size, settings.job_env)

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return what a child process sees of an environment; never what is meant for the server, its token first."""
        return {name: value for name, value in given.items() if not _ours(name) and self._allows(name)}

    def _allows(self, name: str) -> bool:
        if self.variables is None or name in self.variables:
            return True
        capital = name.upper() if sys.platform == "win32" else name
        return any(capital.startswith(needed[:-1]) if needed[-1] == "*" else capital == needed for needed in NEEDED)

    def orders(self) -> dict[str, Any]:
        """Return what the child process is told to set itself."""
        return {"memory": self.memory, "file_size": self.file_size}

    def hint(self) -> str:
        """Return what to look at first where a process could not start, for the end of a sentence."""
        return "" if self.memory is None else f"; the setting job_memory allows it {self.memory} bytes"


def _ours(name: str) -> bool:
    return name.upper().startswith("JALEBI_")  # settings are read in any case


def confine(memory: int | None, file_size: int | None) -> str | None:
    """Limit this process, before it imports what a job brings; return why it can't be done, as one sentence, or None.

    Not from the outside between fork and exec: code that runs there may hang in a server that has threads.
    """
    with suppress(OSError):
        _be_expendable()
    if sys.platform == "win32":
        return None
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file_size is not None:
        _lower(resource.RLIMIT_FSIZE, file_size)
    if memory is None:
        return None
    needed = _address_space() + ROOM
    if memory < needed:
        return f"The child process could not start: it needs about {needed} bytes, and job_memory allows {memory}."
    _lower(resource.RLIMIT_AS, memory)
    return None


def limit_cpu(seconds: float | None) -> None:
    """Let this process use so much more CPU, rounded up to a whole second; then SIGXCPU ends it."""
    if seconds is None or sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime + seconds)
    if most != resource.RLIM_INFINITY:
        until = min(until, most)
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))  # the hard limit is for life, and the next job needs more


def _lower(kind: int, limit: int) -> None:
    import resource

    _, most = resource.getrlimit(kind)
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(kind, (limit, limit))


def _be_expendable() -> None:
    if sys.platform == "linux":
        with open("/proc/self/oom_score_adj", "r+") as file:
            score = min(1000, int(file.read()) + EXPENDABLE)
            file.seek(0)
            file.write(str(score))


def _address_space() -> int:
    """Return the bytes of address space in use, 0 where that can't be known."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
