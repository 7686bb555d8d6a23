"""The kind `survey`: pages of every sort, a few at a time."""

import asyncio
from pathlib import Path

import demo_survey
import pytest
from demo_pace import Pace
from demo_services import Services
from demo_survey import Visit, survey

from jalebi import JobContext, JobFailed
from jalebi.errors import JobStopped
from tests.examples.fake_link import FakeLink


async def test_each_page_is_reported_as_it_was(ctx: JobContext, link: FakeLink, demo: Services) -> None:
    urls = [f"{demo.web}/{path}" for path in ("sweets/gulab%20jamun", "nowhere", "broken", "moved")]
    result = await survey(ctx, urls, per_second=100)
    assert [page["url"] for page in result["pages"]] == urls
    assert [page["status"] for page in result["pages"]] == [200, 404, 500, 200]
    assert [page["title"] for page in result["pages"]] == [
        "Gulab jamun", "There is no such page", "The oven is broken", "Jalebi",
    ]  # fmt: skip
    assert (result["urls"], result["ok"], result["failed"]) == (4, 2, 2)
    assert (link.positions[0][0], link.positions[-1][:2], link.positions[-1][3]) == (0, (4, 4), "pages")
    assert link.files["survey.csv"].decode().startswith(f"url,status,milliseconds,bytes,title,error\n{urls[0]},200,")


async def test_a_page_that_takes_too_long_is_a_finding(ctx: JobContext, demo: Services) -> None:
    result = await survey(ctx, [f"{demo.web}/sweets/x?delay=20"], page_timeout=0.1)
    assert (result["pages"][0]["status"], result["pages"][0]["error"]) == (None, "no answer within 0.1 s")


async def test_a_server_that_is_not_there_is_a_finding(ctx: JobContext, unused_port: int) -> None:
    result = await survey(ctx, [f"http://127.0.0.1:{unused_port}/"])
    assert result["failed"] == 1
    assert result["pages"][0]["error"]


async def test_of_a_large_page_only_the_beginning_is_read(
    ctx: JobContext, demo: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (await survey(ctx, [f"{demo.web}/sweets/barfi"]))["bytes"]
    monkeypatch.setattr(demo_survey, "MAX_PAGE_BYTES", 1)
    page = (await survey(ctx, [f"{demo.web}/sweets/barfi"]))["pages"][0]
    assert 1 <= page["bytes"] <= whole
    assert (page["status"], page["error"]) == (200, "")


async def test_no_more_pages_are_under_way_than_was_asked_for(ctx: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = 0, 0
    full = asyncio.Event()

    async def visit(_client: object, url: str, _timeout: float) -> Visit:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            full.set()
        await full.wait()
        under_way -= 1
        return Visit(url, 200, 1, 1, "", "")

    monkeypatch.setattr(demo_survey, "visit_one", visit)
    result = await survey(ctx, [f"http://127.0.0.1/{n}" for n in range(12)], concurrency=3, per_second=100)
    assert (result["ok"], most) == (12, 3)


async def test_requests_begin_no_faster_than_the_pace(ctx: JobContext) -> None:
    clock = asyncio.get_running_loop().time
    pace, began = Pace(ctx, per_second=100), clock()
    assert all(await asyncio.gather(*(pace.wait() for _ in range(6))))
    assert clock() - began >= 0.05


async def test_a_wait_ends_where_the_job_is_told_to_stop(ctx: JobContext, link: FakeLink) -> None:
    pace = Pace(ctx, per_second=0.001)
    assert await pace.wait()
    waiting = asyncio.create_task(pace.wait())
    link.stop_at = 0
    assert not await waiting


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "ftp://example.com/", "javascript:alert(1)", "http://", "jalebi", "", "http://[::1"],
)
async def test_only_addresses_of_the_web_are_taken(ctx: JobContext, link: FakeLink, address: str) -> None:
    with pytest.raises(JobFailed, match="is not a web address") as caught:
        await survey(ctx, [address])
    assert not caught.value.retry
    assert not link.positions


async def test_the_addresses_may_be_in_a_file(ctx: JobContext, demo: Services, tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text(f"# our shop\n{demo.web}/sweets/peda\n\n{demo.web}/sweets/peda\n{demo.web}/nowhere\n")
    assert (await survey(ctx, file=str(path), per_second=100))["urls"] == 2


async def test_a_file_that_does_not_exist_fails_for_good(ctx: JobContext) -> None:
    with pytest.raises(JobFailed, match="There is no file '/no/such/list'") as caught:
        await survey(ctx, file="/no/such/list")
    assert not caught.value.retry


async def test_without_pages_of_its_own_the_demo_asks_for_some(ctx: JobContext) -> None:
    with pytest.raises(JobFailed, match="name some `urls`"):
        await survey(ctx)


async def test_a_cancelled_survey_stops(ctx: JobContext, link: FakeLink, demo: Services) -> None:
    link.stop_at = 3
    with pytest.raises(JobStopped):
        await survey(ctx, [f"{demo.web}/nowhere?{n}" for n in range(50)], concurrency=1, per_second=100)
    assert len(link.positions) == 3
    assert not link.files


async def test_the_demo_has_slow_pages_of_its_own(demo: Services) -> None:
    pages = demo.pages()
    assert len(pages) == len(set(pages)) == 40
    assert all(page.startswith(demo.web) for page in pages)
