"""Many rows by one statement: every value arrives as it was, whatever the rows share."""

import itertools
import sqlite3
from typing import Any

import pytest

from jalebi.store import packed

NAMES = ("id", "a", "b", "c")
ROWS: list[list[tuple[Any, ...]]] = [
    [("x", 1, None, "same")],
    [("x", 1, None, "same"), ("y", 1, None, "same")],
    [("x", 1, 2.5, 'a "quoted" \\ text'), ("y", -7, None, "snow \u2603"), ("z", 2**62, 0.1, "")],
    [(str(number), number, number / 3, None) for number in range(300)],
]


@pytest.fixture
def connection() -> Any:
    found = sqlite3.connect(":memory:", isolation_level=None)
    found.execute("CREATE TABLE t (id TEXT PRIMARY KEY, a INTEGER, b FLOAT, c TEXT)")
    return found


def _kept(connection: Any) -> set[tuple[Any, ...]]:
    return set(connection.execute("SELECT id, a, b, c FROM t").fetchall())


@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_inserted_as_they_are(connection: Any, rows: list[tuple[Any, ...]]) -> None:
    packed.insert(connection, "INTO t", packed.columns_of(NAMES, rows))
    assert _kept(connection) == set(rows)


@pytest.mark.parametrize(("before", "after"), [pair for pair in itertools.product(ROWS, ROWS) if len(pair[0]) >= 3])
def test_an_update_writes_the_rows_that_are_named_and_no_other(
    connection: Any, before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    packed.insert(connection, "INTO t", packed.columns_of(NAMES, before))
    packed.update(connection, "t", packed.columns_of(NAMES, after))
    new = {row[0]: row for row in after}
    assert _kept(connection) == {new.get(row[0], row) for row in before}


def test_nothing_and_nothing_but_the_key_write_nothing(connection: Any) -> None:
    packed.insert(connection, "INTO t", packed.columns_of(NAMES, []))
    packed.update(connection, "t", [("id", ["x", "y"])])
    assert _kept(connection) == set()


def test_a_row_that_is_named_twice_is_written_once(connection: Any) -> None:
    packed.insert(connection, "INTO t", packed.columns_of(NAMES, [("x", 1, None, "c")]))
    packed.update(connection, "t", packed.columns_of(NAMES, [("x", 2, None, "d"), ("x", 2, None, "d")]))
    assert _kept(connection) == {("x", 2, None, "d")}


def test_a_conflict_clause_adds_up(connection: Any) -> None:
    columns = packed.columns_of(("id", "a"), [("x", 2), ("y", 3)])
    for _ in range(2):
        packed.insert(connection, "INTO t", columns, "ON CONFLICT DO UPDATE SET a = a + excluded.a")
    assert {row[:2] for row in _kept(connection)} == {("x", 4), ("y", 6)}
