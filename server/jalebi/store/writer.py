"""The one writer of a SQLite file: a thread that commits together what arrives together, then answers everybody."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from jalebi.errors import JalebiError, StorageUnavailable
from jalebi.events import Event
from jalebi.store.recent import Recent
from jalebi.store.rows import JOB_COLUMNS, event_from, from_row
from jalebi.store.tally import Tally
from jalebi.store.trouble import Ailment, Care, Disk, ailment
from jalebi.store.tx import PARKED, Op, Tx

MOST_AT_ONCE: Final = 2000
#: Seconds after which a writer that waits for a time of day looks at the clock again: somebody may have set it.
LOOK_AGAIN: Final = 1.0


_MISSED: Final = (
    f"SELECT e.number, e.seq, e.type, e.at, e.line, e.body, {', '.join('job.' + name for name in JOB_COLUMNS)} "
    "FROM event AS e JOIN job ON job.id = e.job_id WHERE e.number > ? ORDER BY e.number"
)


class Writer:
    """Owns the only connection that writes and checkpoints (in `care`); everything else reaches it through `put`.

    `lock` is held during a transaction, for readers that must share the connection (a database in memory).
    `prepare` runs in every transaction before the operations, `follow_up` after them, for what they entail, and last
    `upkeep`, where the storage is well: what comes due, and claims that wait for work.
    """

    def __init__(
        self,
        connection: Any,
        lock: threading.Lock,
        clock: Callable[[], float],
        steady: Callable[[], float],
        prepare: Callable[[Tx], None],
        follow_up: Callable[[Tx], None],
        upkeep: Callable[[Tx, Sequence[Op]], list[tuple[Op, Any]]],
        published: Callable[[list[Event]], None],
        disk: Disk | None,
    ) -> None:
        self.care = Care(connection, steady, disk)
        self.care.reconnected = self._catch_up
        self._lock = lock
        self._clock = clock
        self._steady = steady
        self._prepare = prepare
        self._follow_up = follow_up
        self._upkeep = upkeep
        self._published = published
        self._inbox: queue.SimpleQueue[list[Op] | None] = queue.SimpleQueue()
        self._outbox: list[Op] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="jalebi-writer", daemon=True)
        self._number = _last_number(connection)
        self.tally = Tally(connection)
        self._recent = Recent()
        self._closed = False
        self._looking = False  # whether claims that wait are to be met next, whatever has moved
        self._in_doubt = False  # whether the transaction at hand may be on disk, although it failed
        self.due_at: float | None = None
        self.transactions = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, op: Op) -> "asyncio.Future[Any]":
        """Hand in an operation; the future is answered after its commit."""
        future = self._loop.create_future()
        if self._closed:
            future.set_exception(StorageUnavailable("The server is shutting down.", headers={"Retry-After": "1"}))
            return future
        op.future = future
        self._outbox.append(op)
        if len(self._outbox) == 1:
            self._loop.call_soon(self._hand_in)
        return future

    def _hand_in(self) -> None:
        # Once a turn of the loop: to wake the thread for each operation would cost more than to write it.
        ops, self._outbox = self._outbox, []
        if ops:
            self._inbox.put(ops)

    async def close(self) -> None:
        """Write what was handed in, then stop. Closing twice is safe."""
        if not self._closed:
            self._end()
            await self._loop.run_in_executor(None, self._join)

    def abandon(self) -> None:
        """Do the same where the event loop is no more; nobody is answered."""
        if not self._closed:
            self._end()
            self._join()

    def _end(self) -> None:
        self._closed = True
        self._hand_in()
        self._inbox.put(None)

    def _join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            ops, last = self._gather()
            if self.care.heal():
                self._looking, self.due_at = True, 0.0
            self.care.voice.catch_up()
            self._serve(ops)

    def _serve(self, ops: Sequence[Op]) -> None:
        """Commit operations together; each is answered once, with a problem where it was not stored."""
        ills = self.care.trouble
        if ills is not None:
            ops = self._admitted(ops, ills)
            if not ops:
                return
        try:
            self._commit(ops)
        except Exception as error:
            ill = self.care.take(error)
            if self.care.connection is None or ailment(error) is Ailment.BUSY:
                self._refuse(ops, error)
            elif ill and ills is None:
                self._serve(ops)  # what is essential fits into the room that the reserve has left
            elif len(ops) > 1:  # one of them may be to blame: each on its own
                for op in ops:
                    self._serve([op])
            else:
                self._refuse(ops, error)

    def _admitted(self, ops: Sequence[Op], trouble: str) -> Sequence[Op]:
        """Return the operations that may be tried although the storage is in trouble; the others get their answer."""
        admitted = [op for op in ops if self.care.admits(essential=op.essential)]
        refused = [op for op in ops if not self.care.admits(essential=op.essential)]
        if refused:
            self._answer([(op, _unavailable(f"The write was not stored: {trouble}.")) for op in refused], [])
        return admitted

    def _gather(self) -> tuple[list[Op], bool]:
        """Wait for operations, or for the time at which a job comes due."""
        wait = None if self.due_at is None else min(max(0.0, self.due_at - self._clock()), LOOK_AGAIN)
        if self.care.trouble is not None or self.care.voice.waiting:
            wait = LOOK_AGAIN
        ops: list[Op] = []
        with suppress(queue.Empty):
            arrived = self._inbox.get(timeout=wait)
            while arrived is not None:
                ops.extend(arrived)
                if len(ops) >= MOST_AT_ONCE:
                    break
                arrived = self._inbox.get_nowait()
            else:
                return ops, True
        return ops, False

    def _commit(self, ops: Sequence[Op]) -> None:
        by_kind: dict[type[Op], list[Op]] = {}
        for op in ops:
            by_kind.setdefault(type(op), []).append(op)
        answers: list[tuple[Op, Any]] = []
        with self._lock:
            connection = self.care.connection
            assert connection is not None, "nothing is admitted without a connection"
            self._in_doubt = False
            connection.execute("BEGIN IMMEDIATE")
            try:
                tx = Tx(connection, self._clock(), self._steady(), self._number, self.tally, self._recent)
                self._prepare(tx)
                for kind, same in sorted(by_kind.items(), key=lambda item: item[0].rank):
                    answers.extend(zip(same, kind.run(tx, same), strict=True))
                self._follow_up(tx)
                if self.care.trouble is None:  # else nothing new begins
                    tx.freed |= self._looking
                    answers.extend(self._upkeep(tx, ops))
                tx.finish()
                self._in_doubt = True
                connection.execute("COMMIT")
            except BaseException:
                with suppress(Exception):  # a connection that can't even do this is not used again
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                self.due_at = self._clock() + 0.2  # what came due in this transaction did not
                self._recent.clear()
                with suppress(Exception):  # else it is loaded with the next connection
                    self.tally.load(connection)
                raise
            self._looking &= self.care.trouble is not None
        for act in tx.committed:
            act()
        self._number = tx.number
        self.transactions += 1
        if tx.due_at is not None and (self.due_at is None or tx.due_at < self.due_at):
            self.due_at = tx.due_at
        self._answer(answers, tx.events)

    def _answer(self, answers: list[tuple[Op, Any]], events: list[Event]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._deliver, answers, events)

    def _deliver(self, answers: list[tuple[Op, Any]], events: list[Event]) -> None:
        for op, answer in answers:
            future = op.future
            if answer is PARKED or future is None or future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if events:
            self._published(events)

    def _refuse(self, ops: Sequence[Op], error: Exception) -> None:
        """Answer operations that were undone, each with an error of its own."""
        self._complain(error)
        self._answer([(op, self._problem(error)) for op in ops], [])

    def _complain(self, error: Exception) -> None:
        storage = _is_storage(error)
        if isinstance(error, JalebiError) or (storage and self.care.trouble is not None):
            return  # an answer like others; the trouble has been told
        self.care.voice.say(logging.ERROR, f"The database did not take a write: {error}", None if storage else error)

    def _problem(self, error: Exception) -> Exception:
        if not _is_storage(error):
            return error
        if self._in_doubt and ailment(error) is Ailment.BROKEN:
            return _unavailable(f"It is not certain whether the write was stored: {error}.")
        return _unavailable(f"The write was not stored: {error}.")

    def _catch_up(self, connection: Any) -> None:
        """Publish what was committed although its commit seemed to fail: nobody else would tell of it."""
        self.tally.load(connection)
        rows = connection.execute(_MISSED, (self._number,)).fetchall()
        self._number = max(self._number, _last_number(connection))
        if rows:
            self._answer([], [event_from(from_row(row[6:]), *row[:6]) for row in rows])


def _last_number(connection: Any) -> int:
    kept = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'number'"
    return int(connection.execute(f"SELECT max(({kept}), coalesce((SELECT max(number) FROM event), 0))").fetchone()[0])


def _unavailable(detail: str) -> StorageUnavailable:
    return StorageUnavailable(detail, headers={"Retry-After": "5"})


def _is_storage(error: BaseException) -> bool:
    return type(error).__name__ in {"OperationalError", "DatabaseError", "InternalError"}
