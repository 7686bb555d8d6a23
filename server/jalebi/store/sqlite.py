"""Jobs kept in SQLite: one writer that commits in groups, readers beside it, one server a file."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool, StaticPool

from jalebi.errors import StorageError, StorageUnavailable
from jalebi.events import Event
from jalebi.jobs import Job, Outcome, Progress
from jalebi.store import attempts, deliveries, keys, lines, reads, ties, verbs
from jalebi.store.lock import FileLock
from jalebi.store.migrations import STEPS, check, migrate
from jalebi.store.reserve import PAGE, Reserve
from jalebi.store.trends import Gathered, RecordTrends
from jalebi.store.trouble import Disk
from jalebi.store.writer import Op, Tx, Writer

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


class Store:
    """The database of one installation. Every write is one verb, committed together with its events."""

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
        self.keep: float | None = None  # seconds for which a job that is over is kept; None: for ever
        self.posted: Callable[[], None] = lambda: None  # told from the writer's thread that messages are due
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
        pool: dict[str, Any] = (
            {"poolclass": StaticPool, "pool_reset_on_return": None, "creator": lambda: connection}
            if self.path is None
            else {"poolclass": QueuePool, "pool_size": READERS, "creator": lambda: self._connect(writes=False)}
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

    # The verbs. Each returns once its transaction is on disk.

    async def submit(
        self,
        jobs: Sequence[Job],
        *,
        max_waiting: int,
        keyed: verbs.Keyed | None = None,
        batch: ties.NewBatch | None = None,
        pointers: Sequence[str] = (),
    ) -> verbs.Submitted:
        """Store new jobs, all or none, and those of one key once.

        `pointers` name the place of each in the request. Raises QueueFull, KeyReused, NotFound, ValidationFailed.
        """
        submitted: verbs.Submitted = await self._put(verbs.Submit(jobs, max_waiting, keyed, batch, pointers))
        return submitted

    async def prune(self, *, surplus: int, keys_before: float) -> list[str]:
        """Purge some of the jobs whose time is up, and of `surplus` more; return their ids, none at the end."""
        purged: list[str] = await self._put(verbs.Prune(surplus, keys_before))
        return purged

    async def claim(self, claim: attempts.Claim) -> list[Job]:
        """Wait until there is work, and start its next attempts."""
        started: list[Job] = await self._put(claim)
        return started

    async def record_log(
        self, job_id: str, attempt: int, level: str, message: str, *, at: float, keep_lines: int
    ) -> Job | None:
        """Store a log line of an attempt; None where the attempt no longer holds the job."""
        line = {"level": level, "message": message}
        job: Job | None = await self._put(attempts.RecordFenced(job_id, attempt, at, log=line, keep_lines=keep_lines))
        return job

    async def record_file(self, job_id: str, attempt: int, file: Mapping[str, Any], *, at: float) -> Job | None:
        """Store that a file (name, size, media_type, path) was attached; None for an attempt that lost its job."""
        job: Job | None = await self._put(attempts.RecordFenced(job_id, attempt, at, file=file))
        return job

    async def save_progress(self, job_id: str, attempt: int, progress: Progress) -> None:
        """Store an attempt's newest position."""
        await self._put(attempts.ProgressFenced(job_id, attempt, progress))

    async def record_receipt(
        self, job_id: str, attempt: int, step: Literal["delivered", "acknowledged"], *, at: float
    ) -> None:
        """Store when the cancellation of an attempt was delivered to it, or acknowledged by its code."""
        await self._put(attempts.ReceiptFenced(job_id, attempt, step, at))

    async def renew(self, running: Sequence[tuple[str, int]], lease: float) -> list[Job]:
        """Renew the leases; return the jobs whose attempt still holds."""
        held: list[Job] = await self._put(attempts.RenewFenced(running, lease))
        return held

    async def settle(self, job_id: str, attempt: int, outcome: Outcome, progress: Progress | None) -> Job | None:
        """End an attempt; None where it had lost its job, and nothing was changed."""
        job: Job | None = await self._put(attempts.SettleFenced(job_id, attempt, outcome, progress, self.keep))
        return job

    async def cancel(self, job_id: str, reason: str | None) -> tuple[Job, Job]:
        """Cancel a job; return it before and after. Raises NotFound, JobFinished."""
        moved: tuple[Job, Job] = await self._put(verbs.Cancel(job_id, reason, self.keep))
        return moved

    async def retry(self, job_id: str) -> Job:
        """Start a finished job over. Raises NotFound, JobActive."""
        moved: tuple[Job, Job] = await self._put(verbs.Retry(job_id))
        return moved[1]

    async def delete(self, job_id: str) -> Job:
        """Purge a job. Raises NotFound, JobActive."""
        job: Job = await self._put(verbs.Delete(job_id))
        return job

    async def rescue(
        self, error: Mapping[str, Any], delay: Callable[[Job], float], *, everyone: bool = False
    ) -> list[Job]:
        """Settle the attempts whose lease is over as crashed; `everyone` says that all workers are known dead."""
        rescued: list[Job] = []
        while True:
            page: list[Job] = await self._put(attempts.Rescue(error, delay, everyone, self.keep))
            rescued.extend(page)
            if len(page) < attempts.PAGE:
                return rescued

    async def rule(
        self, queue: str, *, paused: bool | None = None, max_running: int | Literal["same"] | None = "same"
    ) -> None:
        """Pause a queue or let it go on, and limit how many of its jobs run at once (None: no limit)."""
        unchanged = lines.Rule.UNCHANGED
        limit = unchanged if max_running == "same" else max_running
        await self._put(lines.Rule(queue, unchanged if paused is None else paused, limit))

    async def record_trends(self, *, everything: bool = False) -> None:
        """Write what the charts show of the steps that are over; while the storage takes nothing, they wait."""
        now = self.clock()
        steps = self._gathered.take(now + 3600.0 if everything else now)
        try:
            await self._put(RecordTrends(steps))
        except StorageUnavailable:  # which the store has told of itself
            self._gathered.give_back(steps, now)

    async def record_try(
        self,
        delivery_id: str,
        *,
        seconds: float,
        status: int | None,
        error: str | None,
        answer: str | None,
        state: str,
        next_at: float,
    ) -> None:
        """Write down a try to deliver a message, and what becomes of it."""
        await self._put(deliveries.RecordTry(delivery_id, seconds, status, error, answer, state, next_at))

    async def redeliver(self, about: str, delivery_id: str) -> None:
        """Hand a message about a job or a batch in again. Raises NotFound."""
        await self._put(deliveries.Redeliver(about, delivery_id))
        self.posted()

    async def keep_endpoint(self, endpoint: deliveries.Endpoint) -> None:
        """Store an endpoint, or its new secrets."""
        await self._put(deliveries.KeepEndpoint(endpoint))

    async def remove_endpoint(self, endpoint_id: str) -> None:
        """Forget an endpoint. Raises NotFound."""
        await self._put(deliveries.RemoveEndpoint(endpoint_id))

    async def own_key(self, name: str) -> bytes:
        """Return a key that this installation keeps for itself, made at its first use."""
        key: bytes = await self._put(keys.OwnKey(name))
        return key

    async def nudge(self) -> None:
        """Let a waiting claim look again."""
        await self._put(attempts.Nudge())

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
