"""Jobs kept in SQLite: one writer that commits in groups, readers beside it, one server a file."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool, StaticPool

from jalebi.errors import StorageError, StorageUnavailable
from jalebi.events import Event
from jalebi.store import attempts, reads, ties
from jalebi.store.lock import FileLock
from jalebi.store.migrations import STEPS, check, migrate
from jalebi.store.reserve import PAGE, Reserve
from jalebi.store.trends import Gathered
from jalebi.store.trouble import Disk
from jalebi.store.tx import Op, Tx
from jalebi.store.writer import Writer
from jalebi.store.writes import Writes

try:
    import pysqlite3.dbapi2 as sqlite  # its SQLite is current; the system's may have the WAL-reset bug
except ImportError:  # no wheel for this platform
    import sqlite3 as sqlite

log = logging.getLogger("jalebi.store")
T = TypeVar("T")
READERS: Final = 4
#: Seconds by which the clocks part before it is taken for a clock that was set.
CLOCK_SET: Final = 1.0


def path_of(url: str) -> str | None:
    """Return the file that a `sqlite://` URL names, or None for a database in memory. Raises StorageError."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"sqlite", "postgresql", "postgres"}:
        raise StorageError(f"The database URL {url!r} is not understood; write sqlite:///path/to/file.db or sqlite://.")
    if scheme != "sqlite":
        raise StorageError("This version keeps jobs in SQLite only; write sqlite:///path/to/file.db or sqlite://.")
    if rest in {"", "/", "/:memory:"}:
        return None
    if not rest.startswith("/"):
        raise StorageError(f"The database URL {url!r} needs three slashes for a relative path, four for an absolute.")
    return rest[1:]


def steady_clock() -> Callable[[], float]:
    """Return a clock that shows Unix seconds now and runs on evenly, whatever is done to the machine's clock."""
    anchor = time.time() - time.monotonic()
    return lambda: anchor + time.monotonic()


def _epoch(connection: Any) -> str:
    return str(connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()[0])


class Store(Writes):
    """The database of one installation."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        reserve: int = 0,
    ) -> None:
        self.path = path_of(url)
        self.clock = clock
        self.steady = steady or steady_clock()
        self.epoch = ""
        self.keep = None
        self.posted = lambda: None
        self.root = ""  # what the links in webhooks begin with
        self.published: Callable[[list[Event]], None] = lambda _: None
        self._reserve_size = reserve  # bytes
        self._reserve: Reserve | None = None
        self._gathered = Gathered()  # for the charts
        self._lock = threading.Lock()
        self._parked: list[attempts.Claim] = []
        self._file_lock: FileLock | None = None
        self._writer: Writer | None = None
        self._opened = False
        self._ahead = clock() - self.steady()  # by how much the machine's clock is before the steady one

    async def __aenter__(self) -> "Store":
        """Open the database and bring it up to date. Raises StorageError with one sentence."""
        if self.path is not None:
            # By its real name: a link to the file must not let a second server in.
            self._file_lock = FileLock(Path(f"{os.path.realpath(self.path)}-lock"))
            self._file_lock.acquire(self.path)
        try:
            self._open()
        except BaseException:
            if self._file_lock is not None:
                self._file_lock.release()
            raise
        return self

    def _open(self) -> None:
        disk = None
        if self.path is not None:
            self._reserve = Reserve(self.path, self._reserve_size)
            disk = Disk(self._reserve, self._reconnect)
        connection = self._connect(writes=True)
        try:
            version = check(connection, self.path or "in memory")  # before anything changes the file
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection, version)
            self.epoch = _epoch(connection)
            self._writer = Writer(
                connection, self._lock, self.clock, self.steady, self._mind_the_clock, self._follow_up, self._upkeep,
                self._publish, disk,
            )  # fmt: skip
        except (sqlite.Error, OSError) as error:
            connection.close()
            raise StorageError(f"The database {self.path} can't be used: {error}.") from None
        except BaseException:
            connection.close()
            raise
        if self._reserve is not None:
            self._reserve.make()
        # The connection that was used last has in memory what is read most.
        pool: dict[str, Any] = (
            {"poolclass": StaticPool, "pool_reset_on_return": None, "creator": lambda: connection}
            if self.path is None
            else {
                "poolclass": QueuePool,
                "pool_size": READERS,
                "pool_use_lifo": True,
                "creator": lambda: self._connect(writes=False),
            }
        )
        self._engine = create_engine("sqlite://", module=sqlite, **pool)
        self._threads = ThreadPoolExecutor(1 if self.path is None else READERS, thread_name_prefix="jalebi-reader")
        self._writer.due_at = 0.0  # what came due while nobody looked
        self._writer.start()
        self._opened = True
        log.info("SQLite %s keeps %s", sqlite.sqlite_version, self.path or "everything in memory")

    def _connect(self, *, writes: bool) -> Any:
        """Open a connection; only the writer's may write or checkpoint."""
        try:
            connection = sqlite.connect(self.path or ":memory:", isolation_level=None, check_same_thread=False)
            # The pragmas below are the first to read the file.
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("PRAGMA user_version")
            if not writes:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("PRAGMA wal_autocheckpoint = 0")
            elif self._reserve is not None:
                connection.execute(f"PRAGMA wal_autocheckpoint = {self._reserve.log_bytes // PAGE}")
                # What a burst or a slow reader has made of the log is given back when it begins anew.
                connection.execute(f"PRAGMA journal_size_limit = {4 * self._reserve.log_bytes}")
            connection.execute("PRAGMA cache_size = -16000")
        except (sqlite.Error, OSError) as error:
            raise StorageError(f"The database {self.path} can't be opened: {error}.") from None
        return connection

    def _reconnect(self) -> Any:
        """Open another connection for the writer, with the checks of the first one."""
        path = str(self.path)
        if not os.path.exists(path):
            raise StorageError(f"The database {path} is gone.")
        connection = self._connect(writes=True)
        try:
            if check(connection, path) != len(STEPS) or _epoch(connection) != self.epoch:
                raise StorageError(f"The database {path} is another one than before.")
            connection.execute("PRAGMA synchronous = FULL")
            # Nothing is to follow what a failed fsync has left in the log: the kernel may count pages as written that
            # are not on disk, and after a power loss everything behind such a hole would be gone.
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StorageError(f"The log of {path} is still being read.")
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def trouble(self) -> str | None:
        """Why the storage takes no new jobs now, as a clause; None while it does."""
        return self._writer.care.trouble if self._writer else None

    async def __aexit__(self, *_: object) -> None:
        """Write what was handed in and close. Closing twice is safe."""
        if not self._opened or self._writer is None:
            return
        self._opened = False
        await self._writer.close()
        for claim in self._parked:
            if claim.future is not None and not claim.future.done():
                claim.future.cancel()
        self._release()

    def abandon(self) -> None:
        """Do the same where the event loop in which the store was opened is no more."""
        if self._opened and self._writer is not None:
            self._opened = False
            self._writer.abandon()
            self._release()

    def _release(self) -> None:
        self._threads.shutdown(wait=True)
        self._engine.dispose()
        if self._writer is not None:
            self._writer.care.close()
        if self._file_lock is not None:
            self._file_lock.release()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Run a query of `reads` beside the writer and the event loop. Raises StorageUnavailable."""
        if not self._opened:
            raise StorageUnavailable("The server is shutting down.", headers={"Retry-After": "1"})

        def work() -> T:
            # A database in memory has one connection only: it is lent out between transactions.
            try:
                with self._lock if self.path is None else nullcontext(), self._engine.connect() as connection:
                    return query(connection)
            except (DatabaseError, StorageError) as error:
                detail = f"The database did not answer: {getattr(error, 'orig', error)}"
                raise StorageUnavailable(detail.rstrip(".") + ".", headers={"Retry-After": "5"}) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that jobs have."""
        return await self.read(lambda connection: reads.existing(connection, ids))

    @property
    def _connection(self) -> Any:
        assert self._writer is not None, "the store is not open"
        return self._writer.care.connection

    @property
    def transactions(self) -> int:
        """How many transactions were committed since the start."""
        return self._writer.transactions if self._writer else 0

    def _put(self, op: Op) -> "asyncio.Future[Any]":
        assert self._writer is not None, "the store is not open"
        return self._writer.put(op)

    def _publish(self, events: list[Event]) -> None:
        self._gathered.add(events)
        self.published(events)

    def _follow_up(self, tx: Tx) -> None:
        """Do what follows where something has ended, or was submitted to wait for what had."""
        ties.Follow(self.epoch, self.root, self.keep, self._post).up(tx)

    def _post(self) -> None:
        self.posted()

    def _mind_the_clock(self, tx: Tx) -> None:
        """Where somebody has set the clock, move the retries along: their waits are seconds that pass, no time of day.

        First of all in a transaction, for what it makes wait itself is reckoned by the clock as it is.
        """
        ahead = tx.now - tx.steady
        if abs(ahead - self._ahead) > CLOCK_SET and self._writer is not None:
            attempts.shift_retries(tx, ahead - self._ahead)
            self._writer.due_at = tx.now
            tx.committed.append(lambda: setattr(self, "_ahead", ahead))

    def _upkeep(self, tx: Tx, ops: Sequence[Op]) -> list[tuple[Op, Any]]:
        """Bring what is due into line, then meet the claims that wait, all in the transaction at hand."""
        writer = self._writer
        assert writer is not None
        if writer.due_at is not None and writer.due_at <= tx.now:
            writer.due_at = attempts.promote(tx)
        arrived = [op for op in ops if isinstance(op, attempts.Claim)]
        claims = [*self._parked, *arrived]
        looking = tx.queued or tx.freed or arrived or any(isinstance(op, attempts.Nudge) for op in ops)
        if not looking or not claims:
            return []
        for claim in claims:
            claim.begun = []
        tx.insert_fresh(claims)
        answers: list[tuple[Op, Any]] = []
        waiting: list[attempts.Claim] = []
        for claim in claims:
            started = claim.take(tx)
            if started or claim.withdrawn:
                answers.append((claim, started))
            else:
                waiting.append(claim)
        # Only now is it known who waits: a transaction that is undone has met no claim and taken in none.
        tx.committed.append(lambda: setattr(self, "_parked", waiting))
        return answers
