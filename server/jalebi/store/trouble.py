"""What the writer does when its disk is full or fails: what goes on, what is refused, and how it gets well again."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from jalebi.store.reserve import Reserve

log = logging.getLogger("jalebi.store")

#: Seconds between two lines in the log, and between two looks whether a storage in trouble is well again.
PAUSE: Final = 1.0
#: Milliseconds for which a copy of the log into the database waits for readers, while the disk is full.
PATIENCE: Final = 300


class Ailment(Enum):
    """What can be wrong with the storage, as far as it matters what is done about it."""

    FULL = "there is no space; the connection is sound"
    BROKEN = "nobody knows what has reached the disk; the connection is not to be trusted"
    BUSY = "another program holds the database; it was waited for long enough"


_AILMENTS: Final = {
    sqlite3.SQLITE_FULL: Ailment.FULL,
    sqlite3.SQLITE_BUSY: Ailment.BUSY,
    sqlite3.SQLITE_IOERR: Ailment.BROKEN,
    sqlite3.SQLITE_CORRUPT: Ailment.BROKEN,
    sqlite3.SQLITE_NOTADB: Ailment.BROKEN,
    sqlite3.SQLITE_CANTOPEN: Ailment.BROKEN,
    sqlite3.SQLITE_READONLY: Ailment.BROKEN,  # what a file system becomes after an error of its disk
}
#: Errors that a quota or a full disk causes too, where SQLite does not say that it is full.
_MAY_BE_SPACE: Final = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}


def ailment(error: BaseException) -> Ailment | None:
    """Return what an error says about the storage; None where something else is to blame."""
    code = getattr(error, "sqlite_errorcode", None)
    return _AILMENTS.get(code & 0xFF) if isinstance(code, int) else None


class Voice:
    """Says what happens to the storage, a line a second at most; what comes sooner waits, and the newest counts."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._said_at = float("-inf")
        self._waiting: tuple[int, str, BaseException | None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether a line waits for its second."""
        return self._waiting is not None

    def say(self, level: int, line: str, error: BaseException | None = None) -> None:
        """Log a line, with the traceback of an error where there is one."""
        self._waiting = (level, line, error)
        self.catch_up()

    def catch_up(self) -> None:
        """Log what waits, once its second has come."""
        if self._waiting is not None and self._steady() - self._said_at >= PAUSE:
            (level, line, error), self._waiting = self._waiting, None
            self._said_at = self._steady()
            log.log(level, line, exc_info=error)


@dataclass
class Disk:
    """What a database in a file has and one in memory has not."""

    reserve: Reserve
    #: Opens a connection like the first one, with the same checks; nothing of the old log is left to be trusted.
    reconnect: Callable[[], Any]


class Care:
    """Keeps the writer's connection, and knows whether the storage is in trouble.

    A full disk: the reserve is given up, and what is essential goes on. An error of the disk: the connection is closed,
    for after a failed fsync the kernel may take pages for clean that never reached the disk, and another one is opened.
    Either way it is looked once a second whether all is well again.
    """

    def __init__(self, connection: Any, steady: Callable[[], float], disk: Disk | None) -> None:
        self.connection: Any | None = connection
        #: Why the storage takes no new work, as a clause; None while it does.
        self.trouble: str | None = None
        #: Set by the writer: told of a new connection before it is used.
        self.reconnected: Callable[[Any], None] = lambda _: None
        self.voice = Voice(steady)
        self._steady = steady
        self._disk = disk
        self._short = False  # of space
        self._since = 0.0
        self._looked_at = float("-inf")

    def admits(self, *, essential: bool) -> bool:
        """Whether an operation may be tried now."""
        return self.trouble is None or (essential and self.connection is not None)

    def take(self, error: BaseException) -> bool:
        """Take note of what has undone a transaction; return whether it brings trouble."""
        found = ailment(error)
        if self._disk is None or found not in {Ailment.FULL, Ailment.BROKEN}:
            return False
        if found is Ailment.FULL and not self._stuck():
            self._run_short(error)
        else:
            self._distrust(error)
        return True

    def heal(self) -> bool:
        """Look, once a second at most, whether a storage in trouble is well again; return whether it just got so."""
        now = self._steady()
        disk = self._disk
        if self.trouble is None or disk is None or now - self._looked_at < PAUSE:
            return False
        self._looked_at = now
        try:
            if self.connection is None:
                fresh = disk.reconnect()
                try:
                    self.reconnected(fresh)
                except BaseException:
                    fresh.close()
                    raise
                self.connection = fresh
            if self._short:
                self._shrink_log()
                if not disk.reserve.has_room(_spare(self.connection)):
                    return False
                disk.reserve.make()
            _probe(self.connection)
        except Exception as error:
            self._not_yet(error)
            return False
        self.trouble, self._short = None, False
        self.voice.say(logging.INFO, f"The database takes every write again, after {now - self._since:.1f} s")
        return True

    def close(self) -> None:
        """Copy the log into the database and close the connection, and give the reserve back."""
        if self.connection is not None:
            with suppress(Exception):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with suppress(Exception):
                self.connection.close()
        if self._disk is not None:
            self._disk.reserve.free()

    def _stuck(self) -> bool:
        """Whether the transaction could not even be rolled back."""
        return self.connection is not None and bool(self.connection.in_transaction)

    def _fall_ill(self, trouble: str, line: str) -> None:
        if self.trouble is None:
            self._since = self._steady()
        if self.trouble != trouble:
            self.voice.say(logging.ERROR, line)
        self.trouble = trouble

    def _run_short(self, error: BaseException) -> None:
        assert self._disk is not None
        if not self._short or self._disk.reserve.held:
            self._short = True
            self._disk.reserve.free()
            if self.connection is not None:
                self._shrink_log()
        line = f"The disk is full ({error}): jobs that run can end, but nothing new is stored until there is room"
        self._fall_ill("the disk is full", line)

    def _shrink_log(self) -> None:
        """Copy the log into the database, which gives its space back; readers may be in the way."""
        assert self.connection is not None
        with suppress(Exception):  # it is an attempt: what comes next meets the same fault, if it lasts
            self.connection.execute(f"PRAGMA busy_timeout = {PATIENCE}")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        with suppress(Exception):
            self.connection.execute("PRAGMA busy_timeout = 5000")

    def _distrust(self, error: BaseException) -> None:
        assert self._disk is not None
        if self.connection is not None:
            with suppress(Exception):
                self.connection.close()
            self.connection = None
        if getattr(error, "sqlite_errorcode", None) in _MAY_BE_SPACE:
            self._short = True
            self._disk.reserve.free()
        line = f"The database failed ({error}): its connection is closed, and another one is tried every second"
        self._fall_ill(f"the database failed ({error})", line)

    def _not_yet(self, error: Exception) -> None:
        if ailment(error) is Ailment.FULL and not self._stuck():
            self._run_short(error)
        elif ailment(error) is not Ailment.BUSY or self.connection is None:
            self._distrust(error)


def _probe(connection: Any) -> None:
    """Write and sync something. Raises what SQLite raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("UPDATE meta SET value = value WHERE name = 'number'")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(Exception):
            connection.execute("ROLLBACK")
        raise


def _spare(connection: Any) -> int:
    """Return the bytes of the database's free pages."""
    pages = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return int(pages) * int(connection.execute("PRAGMA page_size").fetchone()[0])
