"""Space kept beside a database, given up when the disk is full, so that what is under way can still be ended."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

PAGE: Final = 4096
#: SQLite's own size of the log at which it is copied into the database; a small disk gets a smaller log.
LOG: Final = 1000 * PAGE
LEAST_LOG: Final = 16 * PAGE
#: Room to grow that there must be before a disk that was full counts as healthy.
GROWTH: Final = 4 << 20


class Reserve:
    """A file that holds up to `size` bytes, at most an eighth of its disk; 0 keeps none and only looks for room."""

    def __init__(self, database: str, size: int) -> None:
        self._path = Path(f"{database}-reserve")
        total = self._space()[0]
        self._target = min(size, total // 8)
        self._growth = min(GROWTH, total // 32)
        #: Bytes at which the log is copied into the database.
        self.log_bytes = max(LEAST_LOG, min(LOG, total // 16))
        #: Bytes that the file holds.
        self.held = 0

    def _space(self) -> tuple[int, int]:
        """Return the bytes of the disk and those that are free; a disk that can't tell is taken for a large one."""
        try:
            usage = shutil.disk_usage(self._path.parent)
        except OSError:
            return 1 << 40, 1 << 40
        return (usage.total, usage.free) if usage.total else (1 << 40, 1 << 40)

    def make(self) -> None:
        """Hold as much as may be held now; less than wanted, or nothing, where the disk is short of space."""
        self.free()
        size = min(self._target, self._space()[1] // 8)
        # After a full disk an eighth of what is free would be little: the room for the log is enough to leave.
        size = max(size, min(self._target, self._space()[1] - self.log_bytes - self._growth))
        size -= size % PAGE
        if size <= 0:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            _allocate(file, size)
            self.held = size
        except OSError:
            self.free()
        finally:
            os.close(file)

    def free(self) -> None:
        """Give the space back."""
        with suppress(OSError):
            self._path.unlink()
        self.held = 0

    def has_room(self, spare: int) -> bool:
        """Whether a disk that was full has room again, `spare` bytes of it inside the database."""
        free = self._space()[1] + self.held
        # The database's own free pages count as room to grow, but neither the log nor the reserve can lie in them.
        least = self._target // 4 + self.log_bytes
        return free >= least and free + spare >= self._target + self.log_bytes + self._growth


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for _ in range(0, size, 1 << 20):  # macOS, Windows
        os.write(file, bytes(min(size, 1 << 20)))
