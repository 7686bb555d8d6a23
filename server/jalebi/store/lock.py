"""The lock file beside a SQLite database: one server a file, and proof that its predecessor is dead."""

import os
from contextlib import suppress
from pathlib import Path

from jalebi.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows: SQLite's own locks keep the file sound, two servers are only not noticed
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """An advisory lock that the operating system drops with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, database: str) -> None:
        """Take the lock. Raises StorageError where another live server holds it, or the folder can't be written."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"The database {database} can't be opened: {error.strerror}.") from None
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode(errors="replace").strip()
            os.close(file)
            raise StorageError(f"The database {database} is in use by another server (process {holder}).") from None
        with suppress(OSError):  # a full disk: who holds the lock is only for people to read
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two servers hold two different files."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
