"""What the writer and the folder for files do with a disk that is full or fails; the errors are made up here."""

import asyncio
import importlib
import logging
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jalebi.errors import StorageUnavailable
from jalebi.events import Event
from jalebi.ids import new_id
from jalebi.jobs import Completed, State
from jalebi.store import Store, reads
from jalebi.store import writer as writer_module
from jalebi.store.attempts import SettleFenced
from jalebi.store.submissions import Submit
from jalebi.store.tx import Op, Tx
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, get, put, put_together
from tests.support import eventually, serving
from tests.targets.quick import quick_shop

sqlite: Any = importlib.import_module("jalebi.store.sqlite").sqlite
Usage = namedtuple("Usage", "total used free")
MIB = 1 << 20


def fault(code: int, says: str = "the disk says so") -> Exception:
    error: Exception = sqlite.OperationalError(says)
    error.sqlite_errorcode = code  # type: ignore[attr-defined]
    return error


FULL = fault(sqlite3.SQLITE_FULL, "database or disk is full")
EIO = fault(sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error")


class Disk:
    """Decides which statements of the writer's connections fail, and how much room there is."""

    def __init__(self) -> None:
        self.before: Callable[[str], Exception | None] = lambda _: None
        self.after: Callable[[str], Exception | None] = lambda _: None
        self.statements: list[str] = []
        self.wrote = False
        self.opened = 0
        self.closed = 0
        self.free = 1000 * MIB
        self.refuses: Exception | None = None  # to be opened

    def fail(self, statement: str, error: Exception, times: int = 1) -> None:
        """Let a statement fail before it is carried out; a COMMIT of a transaction that has written something."""
        left = [error] * times

        def fails(met: str) -> Exception | None:
            return left.pop() if left and met.startswith(statement) and (met != "COMMIT" or self.wrote) else None

        self.before = fails


class Connection:
    """A connection that meets the faults of its disk."""

    def __init__(self, real: Any, disk: Disk) -> None:
        self._real = real
        self._disk = disk
        disk.opened += 1

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        self._disk.statements.append(statement)
        if statement.startswith("BEGIN"):
            self._disk.wrote = False
        self._disk.wrote |= statement.startswith(("INSERT", "UPDATE", "DELETE"))
        if (error := self._disk.before(statement)) is not None:
            raise error
        cursor = self._real.execute(statement, parameters)
        if (error := self._disk.after(statement)) is not None:
            raise error
        return cursor

    def close(self) -> None:
        self._disk.closed += 1
        self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    real = Store._connect

    def connect(self: Store, *, writes: bool) -> Any:
        if writes and found.refuses is not None:
            raise found.refuses
        connection = real(self, writes=writes)
        return Connection(connection, found) if writes else connection

    monkeypatch.setattr(Store, "_connect", connect)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2000 * MIB, 0, found.free))
    return found


@pytest.fixture
async def store(disk: Disk, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store(f"sqlite:///{tmp_path / 'jobs.db'}", clock=clock, steady=clock, reserve=MIB) as opened:
        await opened.nudge()  # the writer has looked for what came due before: from here on it waits
        yield opened


@pytest.fixture
def heard(store: Store) -> list[Event]:
    events: list[Event] = []
    store.published = events.extend
    return events


async def fill(store: Store, disk: Disk, clock: Clock) -> None:
    """Let a submission find the disk full."""
    disk.free = 0
    disk.fail("COMMIT", FULL)
    with pytest.raises(StorageUnavailable, match="disk is full") as caught:
        await put(store, fresh(clock))
    assert caught.value.headers["Retry-After"]
    clock.now += 1


async def test_a_full_disk_gives_the_reserve_back_and_takes_what_ends_jobs_only(
    store: Store, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    reserve = tmp_path / "jobs.db-reserve"
    assert reserve.stat().st_size == reserve.stat().st_blocks * 512 == MIB
    running, waiting = await put(store, fresh(clock), fresh(clock, kind="other"))
    await store.claim(claim())
    await fill(store, disk, clock)
    assert store.trouble == "the disk is full"
    assert not reserve.exists()
    begun = disk.statements.count("BEGIN IMMEDIATE")
    for refused in (
        put(store, fresh(clock)),
        store.claim(claim()),
        store.retry(running.id),
        store.record_log(running.id, 1, "info", "a line", at=clock.now, keep_lines=10),
    ):
        with pytest.raises(StorageUnavailable, match="the disk is full"):
            await refused
    assert disk.statements.count("BEGIN IMMEDIATE") == begun  # the disk is not asked
    assert [job.id for job in await store.renew([(running.id, 1)], 30.0)] == [running.id]
    settled = await store.settle(running.id, 1, Completed("1"), None)
    assert settled is not None
    assert (await get(store, running)).state is State.COMPLETED
    assert (await store.cancel(waiting.id, None))[1].state is State.CANCELLED
    await store.delete(waiting.id)
    assert (await store.read(reads.counts))["completed"] == 1


async def test_a_full_disk_heals_by_itself_and_meets_the_claims_that_waited(
    store: Store, disk: Disk, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LOOK_AGAIN", 0.005)
    await put(store, fresh(clock, kind="mail"))
    running = await store.claim(claim(kinds=["mail"]))
    waiting = asyncio.ensure_future(store.claim(claim(kinds=["mail"], max_running={"mail": 1})))
    await store.nudge()
    [next_] = await put(store, fresh(clock, kind="mail"))
    await fill(store, disk, clock)
    await store.settle(running[0].id, 1, Completed("1"), None)  # and the place that is free now stays so
    assert not waiting.done()
    clock.now += 1
    disk.free = 1000 * MIB
    assert [job.id for job in await waiting] == [next_.id]
    assert store.trouble is None
    assert (tmp_path / "jobs.db-reserve").stat().st_size == MIB
    await put(store, fresh(clock))


async def test_a_batch_that_finds_the_disk_full_is_answered_once_each_and_published_as_far_as_it_was_stored(
    store: Store, disk: Disk, clock: Clock, heard: list[Event]
) -> None:
    [running] = await put(store, fresh(clock))
    await store.claim(claim())
    heard.clear()
    disk.free = 0
    submission, end = Submit([fresh(clock)], 1000), SettleFenced(running.id, 1, Completed("1"), None)
    full = [FULL]
    disk.before = lambda met: full.pop() if met.startswith("INSERT INTO job") and full else None
    refused, settled = await asyncio.gather(*put_together(store, submission, end), return_exceptions=True)
    assert isinstance(refused, StorageUnavailable)
    assert not isinstance(settled, BaseException)
    assert settled.state is State.COMPLETED
    assert [event.type for event in heard] == ["completed"]
    assert (await store.read(reads.counts))["queued"] == 0


async def test_what_does_not_fit_even_into_the_reserve_is_refused_and_can_be_tried_again(
    store: Store, disk: Disk, clock: Clock
) -> None:
    [running] = await put(store, fresh(clock))
    await store.claim(claim())
    await fill(store, disk, clock)
    disk.fail("COMMIT", FULL)
    with pytest.raises(StorageUnavailable):
        await store.settle(running.id, 1, Completed("1"), None)
    settled = await store.settle(running.id, 1, Completed("1"), None)
    assert settled is not None


async def test_a_probe_that_fails_gives_the_new_reserve_back(
    store: Store, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    await fill(store, disk, clock)
    disk.free = 1000 * MIB
    disk.fail("UPDATE meta SET value = value", FULL)
    with pytest.raises(StorageUnavailable):
        await put(store, fresh(clock))
    assert not (tmp_path / "jobs.db-reserve").exists()
    clock.now += 1
    await put(store, fresh(clock))


async def test_a_commit_that_fails_after_it_reached_the_disk_is_told_to_subscribers_by_the_next_connection(
    store: Store, disk: Disk, clock: Clock, heard: list[Event]
) -> None:
    await put(store, fresh(clock))
    left = [EIO]
    disk.after = lambda met: left.pop() if met == "COMMIT" and disk.wrote and left else None
    doubtful = fresh(clock)
    with pytest.raises(StorageUnavailable, match="It is not certain whether the write was stored: disk I/O error"):
        await put(store, doubtful)
    assert (disk.opened, disk.closed) == (1, 1)
    assert store.trouble == "the database failed (disk I/O error)"
    [stored] = await put(store, fresh(clock))
    assert disk.opened == 2
    assert [(event.number, event.type) for event in heard] == [(1, "created"), (2, "created"), (3, "created")]
    assert (heard[1].job.id, stored.cursor) == (doubtful.id, 3)
    assert (await store.read(reads.counts))["queued"] == 3


async def test_a_commit_that_failed_leaves_nothing_and_its_number_is_used_again(
    store: Store, disk: Disk, clock: Clock, heard: list[Event]
) -> None:
    disk.fail("COMMIT", EIO)
    with pytest.raises(StorageUnavailable):
        await put(store, fresh(clock))
    [stored] = await put(store, fresh(clock))
    assert (stored.cursor, [event.job.id for event in heard]) == (1, [stored.id])
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2


async def test_a_database_that_can_not_be_opened_again_is_tried_once_a_second(
    store: Store, disk: Disk, clock: Clock
) -> None:
    [kept] = await put(store, fresh(clock))
    disk.fail("COMMIT", EIO)
    disk.refuses = EIO
    for _ in range(5):
        with pytest.raises(StorageUnavailable):
            await put(store, fresh(clock))
        with pytest.raises(StorageUnavailable):
            await store.cancel(kept.id, None)  # nothing is essential enough for a connection that is not trusted
    disk.refuses = None
    with pytest.raises(StorageUnavailable):
        await put(store, fresh(clock))  # the second is not over
    assert (await get(store, kept)).state is State.QUEUED
    clock.now += 1
    await put(store, fresh(clock))
    assert disk.opened == 2


async def test_another_database_in_the_place_of_ours_is_not_written_to(
    store: Store, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    async with Store(f"sqlite:///{tmp_path / 'other.db'}"):
        pass
    disk.fail("COMMIT", EIO)
    with pytest.raises(StorageUnavailable):
        await put(store, fresh(clock))
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(StorageUnavailable, match="is gone"):
        await put(store, fresh(clock))
    assert not (tmp_path / "jobs.db").exists()
    shutil.copy(tmp_path / "other.db", tmp_path / "jobs.db")
    clock.now += 1
    with pytest.raises(StorageUnavailable, match="another one than before"):
        await put(store, fresh(clock))


async def test_a_database_that_another_program_holds_is_waited_for_once_and_is_no_trouble(
    store: Store, disk: Disk, clock: Clock
) -> None:
    begun = disk.statements.count("BEGIN IMMEDIATE")
    disk.fail("BEGIN IMMEDIATE", fault(sqlite3.SQLITE_BUSY, "database is locked"))
    submissions = [store._put(Submit([fresh(clock)], 1000)) for _ in range(3)]  # in one turn of the loop, so together
    found = await asyncio.gather(*submissions, return_exceptions=True)
    assert [type(answer) for answer in found] == [StorageUnavailable] * 3
    assert disk.statements.count("BEGIN IMMEDIATE") == begun + 1
    assert store.trouble is None
    await put(store, fresh(clock))


async def test_an_operation_that_fails_by_a_fault_of_its_own_takes_no_other_with_it(store: Store, clock: Clock) -> None:
    class Faulty(Op):
        @classmethod
        def run(cls, tx: Tx, ops: Sequence[Any]) -> list[Any]:
            raise ValueError("a bug")

    bug, stored = await asyncio.gather(
        *put_together(store, Faulty(), Submit([fresh(clock)], 1000)), return_exceptions=True
    )
    assert isinstance(bug, ValueError)
    assert not isinstance(stored, BaseException)
    assert store.trouble is None


async def test_the_log_gets_a_line_a_second_at_most_and_the_last_one_says_how_it_is(
    store: Store, disk: Disk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [record.getMessage().split(" ")[1] for record in caplog.records if record.name == "jalebi.store"]

    caplog.set_level(logging.INFO, "jalebi.store")
    caplog.clear()
    for _ in range(10):
        disk.fail("COMMIT", FULL)
        with pytest.raises(StorageUnavailable):
            await put(store, fresh(clock))
        clock.now += 0.001
    assert said() == ["disk"]
    disk.before = lambda _: None
    clock.now += 1
    await put(store, fresh(clock))
    assert said() == ["disk", "database"]
    clock.now += 1
    await store.nudge()
    assert said() == ["disk", "database"]
    assert "takes every write again" in caplog.text


async def test_a_database_in_memory_has_no_reserve_and_no_trouble(clock: Clock, tmp_path: Path) -> None:
    async with Store("sqlite://", clock=clock, steady=clock, reserve=MIB) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageUnavailable, match="full"):
            await put(store, fresh(clock, args='"' + "x" * 50_000 + '"'))
        assert store.trouble is None
    assert not list(tmp_path.iterdir())


async def test_a_server_whose_storage_is_in_trouble_is_alive_but_not_ready(tmp_path: Path) -> None:
    shop = quick_shop(database_url=f"sqlite:///{tmp_path / 'a.db'}", workers=False, reserve=MIB)
    async with serving(shop, shop) as live:
        assert (await live.client.get("/readyz")).status_code == 200
        rooms = await shop.open()
        assert rooms.store._writer is not None
        rooms.store._writer.care.trouble = "the disk is full"
        rooms.store._writer.care._looked_at = float("inf")  # and stays so
        answer = await live.client.get("/readyz")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["detail"] == "The storage takes no new jobs: the disk is full."
        assert (await live.client.get("/livez")).status_code == 200
        upload = await live.client.post("/v1/uploads", content=b"x")
        assert (upload.status_code, upload.json()["type"]) == (503, "urn:jalebi:problem:storage-unavailable")


async def test_which_jobs_exist_is_asked_of_the_store(store: Store, clock: Clock) -> None:
    [stored] = await put(store, fresh(clock))
    assert await store.existing([stored.id, new_id()]) == {stored.id}


async def test_a_read_that_no_connection_can_be_opened_for_is_refused(store: Store) -> None:
    def refuse() -> Any:
        raise importlib.import_module("jalebi.errors").StorageError("The database can't be opened: no.")

    store._engine.dispose()
    store._engine.pool._creator = refuse
    with pytest.raises(StorageUnavailable, match="can't be opened"):
        await store.read(reads.counts)

    async def refused() -> bool | None:
        return True if store.trouble is None else None

    assert await eventually(refused)  # of no concern to the writer
