"""Fixtures for every test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jalebi import ids
from tests.support import Live, serving
from tests.targets import kinds
from tests.targets.quick import quick_shop


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No JALEBI_* variable and no .env of the person who runs the tests may reach them."""
    for name in list(os.environ):
        if name.startswith("JALEBI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ids, "_last", 0)  # ids never go back in time, but tests move their clocks about


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """The kinds of tests/targets/kinds.py, served from memory on a real socket."""
    shop = kinds.make_shop(database_url="sqlite://", cancel_grace=0.6, block_warning=60)
    async with serving(shop, shop) as found:
        yield found


@pytest.fixture
async def quick() -> AsyncIterator[Live]:
    """The kinds of tests/targets/quick.py, which need no child process, served from memory on a real socket."""
    shop = quick_shop()
    async with serving(shop, shop) as found:
        yield found


@pytest.fixture
async def idle() -> AsyncIterator[Live]:
    """The same without a worker: what is submitted stays in line."""
    shop = quick_shop(workers=False)
    async with serving(shop, shop) as found:
        yield found
