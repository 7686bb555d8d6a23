import hashlib
import importlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect
from sqlmodel import SQLModel

from jalebi.errors import StorageError, StorageUnavailable
from jalebi.store import Store, reads
from jalebi.store.migrations import STEPS
from tests.store.conftest import Clock
from tests.store.test_verbs import claim, fresh, put

sqlite: Any = importlib.import_module("jalebi.store.sqlite").sqlite


def shape(connection: Connection) -> dict[str, Any]:
    """Return tables with their columns and indexes, as far as a query can tell them apart."""
    found = inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            sorted(
                (str(index["name"]), bool(index["unique"]), str(index["dialect_options"].get("sqlite_where", "")))
                for index in found.get_indexes(table)
            ),
            found.get_pk_constraint(table)["constrained_columns"],
        )
        for table in sorted(found.get_table_names())
    }


async def test_the_migrations_arrive_at_the_tables() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        SQLModel.metadata.create_all(connection)
        expected = shape(connection)
    engine.dispose()
    async with Store("sqlite://") as store:
        assert await store.read(shape) == expected


async def test_a_database_survives_being_closed_and_opened(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with Store(url, clock=clock, steady=clock) as store:
        [stored] = await put(store, fresh(clock))
        epoch = store.epoch
    assert not Path(f"{tmp_path / 'a.db'}-wal").exists()
    async with Store(url, clock=clock, steady=clock) as store:
        assert store.epoch == epoch
        assert await store.read(lambda connection: reads.job(connection, stored.id)) == stored
        [following] = await put(store, fresh(clock))
        assert following.cursor == 2


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    path = tmp_path / "newer.db"
    with closing(sqlite.connect(path, isolation_level=None)) as connection:
        for step in STEPS:
            connection.executescript(step)
        connection.execute("PRAGMA application_id = 0x4A616C62")
        connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    return path


async def test_a_database_from_a_newer_version_is_refused_and_left_untouched(newer: Path) -> None:
    before = hashlib.sha256(newer.read_bytes()).hexdigest()
    with pytest.raises(StorageError, match="newer version of Jalebi"):
        async with Store(f"sqlite:///{newer}"):
            pass
    assert hashlib.sha256(newer.read_bytes()).hexdigest() == before


async def test_a_database_of_another_program_is_refused_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="another program"):
        async with Store(f"sqlite:///{path}"):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///no/such/folder/a.db", "can't be opened"),
        ("sqlite:///junk.db", "can't be"),
        ("sqlite:///folder", "can't be opened"),
        ("sqlite:a.db", "not understood"),
        ("sqlite://a.db", "three slashes"),
        ("mysql://x", "not understood"),
        ("postgresql://x/y", "SQLite only"),
        ("", "not understood"),
    ],
)
async def test_a_database_that_can_not_be_used_is_one_sentence(tmp_path: Path, url: str, sentence: str) -> None:
    (tmp_path / "junk.db").write_bytes(b"this is no database, whatever its name says" * 100)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=sentence) as caught:
        async with Store(url):
            pass
    assert "\n" not in str(caught.value)


async def test_a_second_server_on_the_same_file_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with Store(url):
        with pytest.raises(StorageError, match="in use by another server"):
            async with Store(url):
                pass
    async with Store(url):
        pass


async def test_a_write_that_the_disk_refuses_is_a_503_and_the_next_one_is_taken(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Store(f"sqlite:///{tmp_path / 'a.db'}", clock=clock, steady=clock) as store:
        [kept] = await put(store, fresh(clock))
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageUnavailable) as caught:
            await put(store, *(fresh(clock, args='"' + "x" * 5000 + '"') for _ in range(20)))
        assert caught.value.headers["Retry-After"]
        assert "full" in caplog.text
        store._connection.execute("PRAGMA max_page_count = 1073741823")
        await put(store, fresh(clock))
        assert (await store.read(reads.counts))["queued"] == 2
        assert kept.id in {job.id for job in await store.claim(claim())}


async def test_a_read_that_the_database_does_not_answer_is_a_503(tmp_path: Path) -> None:
    async with Store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        with pytest.raises(StorageUnavailable, match="no such table"):
            await store.read(lambda connection: connection.exec_driver_sql("SELECT * FROM absent").all())
        assert await store.read(reads.last_number) == 0


async def test_every_commit_is_synced_and_only_the_writer_checkpoints(tmp_path: Path) -> None:
    async with Store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        pragma = store._connection.execute
        assert pragma("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert pragma("PRAGMA synchronous").fetchone()[0] == 2

        def reader(connection: Connection) -> tuple[int, int]:
            return (
                connection.exec_driver_sql("PRAGMA query_only").scalar_one(),
                connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one(),
            )

        assert await store.read(reader) == (1, 0)


async def test_closing_twice_or_before_opening_is_safe(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'a.db'}")
    await store.__aexit__(None, None, None)
    async with store:
        pass
    await store.__aexit__(None, None, None)


async def test_a_second_server_does_not_get_in_by_a_link(tmp_path: Path) -> None:
    async with Store(f"sqlite:///{tmp_path / 'a.db'}"):
        (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
        with pytest.raises(StorageError, match="in use by another server"):
            async with Store(f"sqlite:///{tmp_path / 'link.db'}"):
                pass


async def test_a_store_that_is_closed_says_so(tmp_path: Path, clock: Clock) -> None:
    async with Store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        pass
    with pytest.raises(StorageUnavailable, match="shutting down"):
        await store.read(reads.counts)
    with pytest.raises(StorageUnavailable, match="shutting down"):
        await put(store, fresh(clock))
