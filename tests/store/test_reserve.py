"""The space kept beside a database: how much it is, and when there is enough again."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from jalebi.store.reserve import Reserve

Usage = namedtuple("Usage", "total used free")
MIB = 1 << 20


def usage(monkeypatch: pytest.MonkeyPatch, total: int, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))


def test_a_reserve_takes_at_most_an_eighth_of_a_small_disk_and_leaves_the_log_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage(monkeypatch, 2 * MIB, MIB)
    reserve = Reserve(str(tmp_path / "a.db"), 16 * MIB)
    reserve.make()
    assert (reserve.held, reserve.log_bytes) == (MIB // 4, MIB // 8)
    usage(monkeypatch, 2 * MIB, 100)
    reserve.make()
    assert reserve.held == 0
    assert not list(tmp_path.iterdir())


def test_there_is_room_where_the_reserve_the_log_and_some_growth_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage(monkeypatch, 1000 * MIB, 10 * MIB)
    reserve = Reserve(str(tmp_path / "a.db"), 16 * MIB)
    assert not reserve.has_room(0)
    assert reserve.has_room(20 * MIB)  # inside the database
    usage(monkeypatch, 1000 * MIB, 2 * MIB)
    assert not reserve.has_room(1000 * MIB)
    usage(monkeypatch, 1000 * MIB, 30 * MIB)
    assert reserve.has_room(0)
    assert not Reserve(str(tmp_path / "a.db"), 0).held
