"""The sweep of old jobs: within the number and the bytes that are allowed, their files too."""

import pytest

from jalebi import Jalebi
from jalebi.jobs import Job
from jalebi.retention import Retention
from jalebi.store import reads
from tests.support import Live, finished, opened
from tests.targets.quick import quick_shop


async def kept(shop: Jalebi, content: str = "x") -> Job:
    job = await shop.submit("keep", name="a.txt", content=content)
    return await finished(shop, job)


async def ids(shop: Jalebi) -> list[str]:
    page, _ = await (await shop.open()).queue.page(reads.Filter(), limit=100)
    return [job.id for job, _ in page]


async def test_the_oldest_beyond_the_number_go_with_their_files() -> None:
    shop = quick_shop(retention_count=2)
    async with opened(shop):
        rooms = await shop.open()
        done = [await kept(shop) for _ in range(5)]
        assert await Retention(rooms.queue).sweep() == 3
        assert await ids(shop) == [job.id for job in done[:2:-1]]
        assert [rooms.files.of_job(job.id).exists() for job in done] == [False, False, False, True, True]
        assert await Retention(rooms.queue).sweep() == 0


async def test_the_oldest_go_where_their_files_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jalebi.retention._STEP", 1)
    shop = quick_shop(retention_bytes=2 << 20)
    async with opened(shop):
        rooms = await shop.open()
        done = [await kept(shop, "x" * 900_000) for _ in range(4)]
        await Retention(rooms.queue).sweep()
        left = await ids(shop)
        assert 0 < len(left) < 4
        assert left == [job.id for job in done[::-1]][: len(left)]
        assert sum(await rooms.store.read(reads.usage)) <= 2 << 20


async def test_what_is_not_over_stays_however_much_it_is() -> None:
    shop = quick_shop(workers=False, retention_count=0)
    async with opened(shop):
        waiting = await shop.submit("echo")
        assert await Retention((await shop.open()).queue).sweep() == 0
        assert await ids(shop) == [waiting.id]


async def test_a_job_says_until_when_it_is_kept(quick: Live) -> None:
    job = await quick.submit("echo")
    over = await quick.until(job["id"])
    assert job["expires_at"] is None
    assert over["expires_at"] > over["finished_at"]
