"""Overview, queues, workers, errors, schedules and system: what they show, and what their forms do without a script."""

import re
from typing import Any

import pytest

from jalebi.settings import Settings
from jalebi.web import worker_pages
from jalebi.web.system_page import shown_settings
from tests.support import Live, eventually

PLACES = ["/", "/queues", "/queues/default", "/workers", "/errors", "/schedules", "/system"]


async def text(live: Live, path: str, status: int = 200) -> str:
    """Return a page."""
    answer = await live.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


async def post(live: Live, path: str, **form: Any) -> str:
    """Send a form; return where it leads to."""
    answer = await live.client.post(path, data=form)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


@pytest.mark.parametrize("path", PLACES)
async def test_every_place_renders_with_nothing_to_show_and_with_something(quick: Live, path: str) -> None:
    assert "<h1>" in await text(quick, path)
    await quick.until((await quick.submit("fail", max_attempts=1))["id"], "failed")
    await quick.until((await quick.submit("echo"))["id"], "completed")
    await quick.submit("echo", delay=3600)
    assert "<h1>" in await text(quick, path)


async def test_the_overview_counts_and_groups_what_failed(quick: Live) -> None:
    for number in range(3):
        await quick.until(
            (await quick.submit("fail", args={"message": f"no {number}"}, max_attempts=1))["id"], "failed"
        )
    page = await text(quick, "/")
    assert '<b data-count="failed">3</b>' in page
    assert page.count('class="fault"') == 1
    assert "×<span>3</span>" in page
    for name in ("15m", "1h", "24h"):
        page = await text(quick, f"/?range={name}")
        assert f'range={name}" aria-current="true"' in page
        assert page.count("<polyline") >= 8
    assert "range" in await text(quick, "/?range=1y", 400)


async def test_a_chart_is_a_picture_a_table_and_data(quick: Live) -> None:
    await quick.until((await quick.submit("echo"))["id"], "completed")
    shop = await quick.shop.open()
    await shop.store.record_trends(everything=True)
    answer = await quick.client.get("/charts", params={"range": "15m"})
    charts = answer.json()["charts"]
    assert [chart["name"] for chart in charts] == [
        "Throughput", "Waiting and running", "Wait before the start", "Time of a run",
    ]  # fmt: skip
    assert all(len(one["values"]) == len(chart["times"]) == 90 for chart in charts for one in chart["series"])
    assert "As a table" in await text(quick, "/")
    assert (await quick.client.get("/charts", params={"range": "x"})).status_code == 400
    assert (await quick.client.get("/charts", params={"queue": "nowhere"})).status_code == 200


async def test_a_queue_is_paused_and_resumed_and_limited_by_forms(quick: Live) -> None:
    assert await post(quick, "/queues/default/pause") == "/queues/default"
    held = await quick.submit("echo")
    page = await text(quick, "/queues/default")
    assert "paused" in page
    assert "Resume" in page
    assert (await quick.job(held["id"]))["state"] == "queued"
    assert await post(quick, "/queues/default/resume", back="all") == "/queues"
    await quick.until(held["id"], "completed")
    await post(quick, "/queues/default/limit", max_running="3")
    assert 'value="3"' in await text(quick, "/queues/default")
    assert "at most 3 at once" in await text(quick, "/queues")
    wrong = await quick.client.post("/queues/default/limit", data={"max_running": "-1"})
    assert wrong.status_code == 422
    assert 'value="-1"' in wrong.text
    assert "whole number" in wrong.text
    await post(quick, "/queues/default/limit", max_running="")
    assert "at once</p>" not in await text(quick, "/queues")
    await text(quick, "/queues/nowhere", 404)
    assert (await quick.client.post("/queues/nowhere/pause")).status_code == 404


async def test_a_queue_may_have_any_name(quick: Live) -> None:
    await quick.submit("echo", queue="a/b c?", delay=3600)
    page = await text(quick, "/queues")
    [address] = re.findall(r'<h2><a href="(/queues/a[^"]*)"', page)
    assert "a/b c?" in await text(quick, address)
    assert "paused" in await text(quick, await post(quick, f"{address}/pause"))


async def test_a_worker_is_drained_after_a_question_and_goes_on(quick: Live) -> None:
    page = await text(quick, "/workers")
    [drain] = re.findall(r'action="(/workers/[^"]+/drain)"', page)
    asked = await text(quick, drain)
    assert "Drain this worker?" in asked
    await post(quick, drain)
    held = await quick.submit("echo")
    page = await text(quick, "/workers")
    assert "starts nothing" in page
    assert (await quick.job(held["id"]))["state"] == "queued"
    [resume] = re.findall(r'action="(/workers/[^"]+/resume)"', page)
    await post(quick, resume)
    await quick.until(held["id"], "completed")
    await text(quick, "/workers/nobody/drain", 404)


async def test_an_error_shows_its_newest_and_the_jobs_that_stand_failed(quick: Live) -> None:
    first = await quick.until((await quick.submit("fail", args={"message": "it <b>broke</b>"}, max_attempts=1))["id"])
    page = await text(quick, "/errors")
    [address] = re.findall(r'href="(/errors/[0-9a-f]+)"', page)
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page
    page = await text(quick, address)
    assert first["id"] in page
    assert "Retry all 1" in page
    assert f"state=failed&amp;error={address.rpartition('/')[2]}" in page
    listed = await text(quick, f"/jobs?state=failed&error={address.rpartition('/')[2]}")
    assert first["id"] in listed
    await text(quick, "/errors/0123456789abcdef", 404)
    await text(quick, "/errors?before=x", 400)


async def test_the_system_page_tells_no_secret(quick: Live) -> None:
    page = await text(quick, "/system")
    for name in ("Pages open", "Lag, median", "Database", "SQLite", "starlette", "concurrency"):
        assert name in page
    shown = shown_settings(Settings(token="sesame", database_url="postgresql://cook:sesame@db/jobs"))
    assert "sesame" not in " ".join(shown.values())
    assert shown["token"] == "set"


async def test_what_waits_for_a_time_comes_soonest_first(quick: Live) -> None:
    later = await quick.submit("echo", delay=7200)
    sooner = await quick.submit("echo", delay=60)
    page = await text(quick, "/schedules")
    assert page.index(sooner["id"]) < page.index(later["id"])


async def test_figures_of_the_sockets_come_back_to_nothing(quick: Live) -> None:
    rooms = await quick.shop.open()

    async def none() -> bool | None:
        return True if rooms.traffic.pages == 0 else None

    await eventually(none)


async def test_the_page_of_workers_shows_those_that_run_longest_and_says_how_many_more_there_are(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pages, "SHOWN", 1)
    made = [await quick.submit("hold") for _ in range(3)]
    for job in made:
        await quick.until(job["id"], "running")
    page = await text(quick, "/workers")
    assert re.findall(r'data-job="([^"]+)"', page) == [made[0]["id"]]
    assert "2 more running" in page
