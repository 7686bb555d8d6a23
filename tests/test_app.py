"""Opening and closing a shop: from its own lifespan, in one loop after the other, in two at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jalebi import Jalebi
from jalebi.errors import Draining, StorageError, UsageError
from jalebi.jobs import State
from jalebi.store import reads
from tests.support import finished, opened
from tests.targets.quick import quick_shop


async def test_the_lifespan_of_a_shop_may_submit_jobs_until_the_shop_drains() -> None:
    refused: list[str] = []

    @asynccontextmanager
    async def services(shop: Jalebi) -> AsyncIterator[None]:
        job = await shop.submit("echo", value=1)
        assert job.state is State.QUEUED  # nothing runs before the lifespan is entered
        yield
        assert (await finished(shop, job)).state is State.COMPLETED
        with pytest.raises(Draining) as caught:
            await shop.submit("echo", value=2)
        refused.append(caught.value.detail)

    shop = quick_shop(lifespan=services)
    async with opened(shop):
        job = await shop.submit("echo", value=3)
        assert (await finished(shop, job)).state is State.COMPLETED
    assert refused == ["The server is shutting down; submit again in a moment."]


async def test_a_shop_whose_lifespan_fails_is_closed_and_can_be_opened_again(tmp_path: Path) -> None:
    fails = True

    @asynccontextmanager
    async def services(_: Jalebi) -> AsyncIterator[None]:
        if fails:
            raise ValueError("no oil")
        yield

    shop = quick_shop(lifespan=services, database_url=f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(ValueError, match="no oil"):
        await shop.open()
    fails = False
    async with opened(shop):
        assert (await shop.submit("echo")).state is State.QUEUED


def test_a_shop_that_one_loop_left_open_is_opened_anew_in_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = quick_shop(database_url=f"sqlite:///{tmp_path / 'a.db'}")

    async def submit() -> None:
        await shop.submit("echo", value=1)

    async def count() -> int:
        async with opened(shop):
            counts = await (await shop.open()).store.read(reads.counts)
            return sum(counts.values())

    asyncio.run(submit())
    asyncio.run(submit())
    assert asyncio.run(count()) == 2
    assert asyncio.run(count()) == 2
    assert "before the shop was closed" in caplog.text


async def test_a_shop_that_is_open_in_one_loop_is_refused_to_another() -> None:
    async with opened(quick_shop()) as shop:

        def elsewhere() -> None:
            with pytest.raises(UsageError, match="open in another event loop"):
                asyncio.run(asyncio.wait_for(shop.submit("echo"), 10))

        await asyncio.to_thread(elsewhere)
        counts = await (await shop.open()).store.read(reads.counts)
        assert sum(counts.values()) == 0


async def test_two_openings_at_once_open_one_shop(tmp_path: Path) -> None:
    shop = quick_shop(database_url=f"sqlite:///{tmp_path / 'a.db'}")
    one, other = await asyncio.gather(shop.open(), shop.open())
    assert one is other
    with pytest.raises(StorageError):
        await quick_shop(database_url=f"sqlite:///{tmp_path / 'a.db'}").open()
    await asyncio.gather(shop.close(), shop.close())


def test_a_database_meant_for_another_program_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://other/program")
    monkeypatch.setenv("DATABASE", "other")
    assert Jalebi().settings.database_url == "sqlite:///jalebi.db"
    monkeypatch.setenv("JALEBI_DATABASE_URL", "sqlite://")
    assert Jalebi().settings.database_url == "sqlite://"
    assert Jalebi(database="sqlite:///a.db").settings.database_url == "sqlite:///a.db"


def test_a_list_in_a_variable_has_commas_between_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JALEBI_ORIGINS", "https://a.example, https://b.example")
    assert Jalebi().settings.origins == ("https://a.example", "https://b.example")
