"""Stores to write to: a file and one in memory, with a clock that a test can move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jalebi.events import Event
from jalebi.store import Store


class Clock:
    """A clock that stands still until it is moved; Unix seconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    url = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}"
    async with Store(url, clock=clock, steady=clock) as opened:
        yield opened


@pytest.fixture
def heard(store: Store) -> list[Event]:
    """Every event that the store has published."""
    events: list[Event] = []
    store.published = events.extend
    return events
