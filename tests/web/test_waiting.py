"""ETag, 304 and `Prefer: wait`: asking once in place of again and again."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jalebi.jobs import Progress
from jalebi.web import waiting
from tests.support import Live, eventually, serving
from tests.targets.quick import quick_shop


async def readers(live: Live, number: int) -> None:
    """Wait until so many requests wait."""
    rooms = await live.shop.open()

    async def there() -> bool | None:
        return True if rooms.hub.readers == number else None

    await eventually(there)


async def test_a_job_that_has_not_changed_is_not_sent_again(idle: Live) -> None:
    job = await idle.submit("echo")
    first = await idle.client.get(job["links"]["self"])
    assert first.headers["cache-control"] == "private, no-cache"
    for condition in (first.headers["etag"], f'"other", {first.headers["etag"]}', first.headers["etag"][2:], "*"):
        again = await idle.client.get(job["links"]["self"], headers={"If-None-Match": condition})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other = await idle.client.get(job["links"]["self"], headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


async def test_every_visible_change_has_a_tag_of_its_own(quick: Live, tmp_path: Path) -> None:
    job = await quick.submit("talk", args={"lines": 3, "after": str(tmp_path / "go")})
    tags = []

    async def look() -> str:
        tags.append((await quick.client.get(job["links"]["self"])).headers["etag"])
        return str(tags[-1])

    await quick.until(job["id"], "running")
    assert await look() == await look()
    rooms = await quick.shop.open()
    running = await rooms.queue.get(job["id"])

    for done in (1, 2):
        rooms.hub.report(running, partial(Progress, done, 4, updated_at=rooms.store.clock()))
        await look()
    (tmp_path / "go").touch()
    await quick.until(job["id"], "completed")
    await look()
    assert len(set(tags)) == 4


async def test_what_is_left_of_a_run_is_no_change_however_it_is_reckoned(quick: Live) -> None:
    for _ in range(12):  # so that there is a history to reckon by
        await quick.until((await quick.submit("steps", args={"count": 2, "pause": 0.01}))["id"], "completed")
    job = await quick.submit("steps", args={"count": 2, "pause": 60})
    rooms = await quick.shop.open()

    async def shown() -> bool | None:
        return (await rooms.queue.get(job["id"])).progress is not None or None

    await quick.until(job["id"], "running")
    rooms.hub.report(await rooms.queue.get(job["id"]), partial(Progress, 1, 2, updated_at=rooms.store.clock()))
    await eventually(shown)
    tags = {(await quick.client.get(job["links"]["self"])).headers["etag"] for _ in range(10)}
    assert len(tags) == 1


async def test_the_place_in_line_is_a_visible_change(idle: Live) -> None:
    first, second = await idle.submit("echo"), await idle.submit("echo")
    before = (await idle.client.get(second["links"]["self"])).headers["etag"]
    await idle.client.post(f"{first['links']['self']}/cancel")
    assert (await idle.client.get(second["links"]["self"])).headers["etag"] != before


@pytest.mark.parametrize(("conditional", "verb", "state"), [(False, "cancel", "cancelled"), (True, "retry", "queued")])
async def test_a_request_that_waits_is_answered_with_the_change(
    idle: Live, conditional: bool, verb: str, state: str
) -> None:
    job = await idle.submit("echo")
    if conditional:  # even what is over may change
        await idle.client.post(f"{job['links']['self']}/cancel")
    tag = (await idle.client.get(job["links"]["self"])).headers["etag"]
    condition = {"If-None-Match": tag} if conditional else {}
    wait = asyncio.create_task(idle.client.get(job["links"]["self"], headers={"Prefer": "wait=20", **condition}))
    await readers(idle, 1)
    assert not wait.done()
    await idle.client.post(f"{job['links']['self']}/{verb}")
    answer = await wait
    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert answer.headers["preference-applied"] == "wait=20"
    await readers(idle, 0)


async def test_a_request_that_knows_less_or_nothing_that_can_change_does_not_wait(idle: Live) -> None:
    job = await idle.submit("echo")
    old = await idle.client.get(job["links"]["self"])
    await idle.client.post(f"{job['links']['self']}/cancel")
    async with asyncio.timeout(10):
        news = await idle.client.get(
            job["links"]["self"], headers={"Prefer": "wait=30", "If-None-Match": old.headers["etag"]}
        )
        over = await idle.client.get(job["links"]["self"], headers={"Prefer": "wait=30"})
    assert news.status_code == over.status_code == 200
    assert news.json()["state"] == over.json()["state"] == "cancelled"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time be up at once for those who wait."""
    within = waiting._within

    async def at_once(request: Any, seconds: float, work: Any) -> None:
        await within(request, 0.01, work)

    monkeypatch.setattr(waiting, "_within", at_once)


@pytest.mark.usefixtures("hasty")
async def test_when_the_time_is_up_a_condition_is_answered_304_and_the_rest_with_what_is(idle: Live) -> None:
    job = await idle.submit("echo")
    tag = (await idle.client.get(job["links"]["self"])).headers["etag"]
    for path in ("self", "status"):
        waited = await idle.client.get(job["links"][path], headers={"Prefer": "wait=5", "If-None-Match": tag})
        assert (waited.status_code, waited.headers["preference-applied"]) == (304, "wait=5")
        plain = await idle.client.get(job["links"][path], headers={"Prefer": "wait=5"})
        assert (plain.status_code, plain.json()["state"]) == (200, "queued")


@pytest.mark.usefixtures("hasty")
async def test_a_preference_is_read_as_its_standard_has_it(idle: Live) -> None:
    job = await idle.submit("echo")
    for given, taken in (
        ("wait=5", "wait=5"),
        ("wait=31", "wait=30"),
        ("wait=999999999", "wait=30"),
        ('respond-async, WAIT = "7"; x=1', "wait=7"),
        ("wait=3, wait=4", "wait=3"),
        ("wait=0", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("wait", None),
        ("awaits=5", None),
    ):
        answer = await idle.client.get(job["links"]["self"], headers={"Prefer": given})
        assert answer.status_code == 200
        assert answer.headers.get("preference-applied") == taken, given


async def test_a_submission_that_waits_is_answered_with_the_finished_job(quick: Live) -> None:
    for kind, state in (("echo", "completed"), ("fail", "failed")):
        answer = await quick.client.post("/v1/jobs", json={"kind": kind}, headers={"Prefer": "wait=20"})
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.headers["location"] == answer.json()["links"]["status"]
        assert "retry-after" not in answer.headers
        assert answer.json()["state"] == state
        assert answer.json()["finished_at"] is not None


@pytest.mark.usefixtures("hasty")
async def test_a_submission_that_takes_longer_is_accepted_all_the_same(idle: Live) -> None:
    answer = await idle.client.post("/v1/jobs", json={"kind": "echo"}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    assert 1 <= int(answer.headers["retry-after"]) <= 30


async def test_a_replayed_submission_waits_too(quick: Live) -> None:
    headers = {"Prefer": "wait=20", "Idempotency-Key": "k"}
    answers = [await quick.client.post("/v1/jobs", json={"kind": "echo"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotent-replayed"] == "true"


async def test_the_status_monitor_waits_for_the_end(quick: Live, tmp_path: Path) -> None:
    job = await quick.submit("wait_for", args={"path": str(tmp_path / "go")})
    wait = asyncio.create_task(quick.client.get(job["links"]["status"], headers={"Prefer": "wait=20"}))
    await readers(quick, 1)
    (tmp_path / "go").touch()
    answer = await wait
    assert (answer.status_code, answer.headers["location"]) == (303, job["links"]["result"])
    assert answer.headers["preference-applied"] == "wait=20"


async def test_the_status_monitor_of_what_is_over_leads_on_at_once(quick: Live) -> None:
    job = await quick.submit("echo")
    await quick.until(job["id"], "completed")
    tag = (await quick.client.get(job["links"]["self"])).headers["etag"]
    async with asyncio.timeout(10):
        answer = await quick.client.get(job["links"]["status"], headers={"Prefer": "wait=30", "If-None-Match": tag})
    assert (answer.status_code, answer.headers["location"]) == (303, job["links"]["result"])


async def test_whoever_waits_for_a_job_that_is_deleted_is_told_so(idle: Live) -> None:
    job = await idle.submit("echo")
    waits = [
        asyncio.create_task(idle.client.get(job["links"][path], headers={"Prefer": "wait=20"}))
        for path in ("self", "status")
    ]
    await readers(idle, 2)
    await idle.client.delete(job["links"]["self"])
    assert [(await wait).status_code for wait in waits] == [404, 404]


async def test_whoever_goes_away_waits_no_more(idle: Live) -> None:
    job = await idle.submit("echo")
    wait = asyncio.create_task(idle.client.get(job["links"]["self"], headers={"Prefer": "wait=30"}))
    await readers(idle, 1)
    wait.cancel()
    await readers(idle, 0)


async def test_a_server_that_stops_lets_nobody_wait() -> None:
    shop = quick_shop(workers=False)
    async with serving(shop, shop) as live:
        job = await live.submit("echo")
        wait = asyncio.create_task(live.client.get(job["links"]["self"], headers={"Prefer": "wait=30"}))
        await readers(live, 1)
        await shop.drain()
        answer = await wait
        assert (answer.status_code, answer.json()["state"]) == (200, "queued")


async def test_more_news_than_fit_are_news_too(idle: Live) -> None:
    job = await idle.submit("echo")
    rooms = await idle.shop.open()
    wait = asyncio.create_task(idle.client.get(job["links"]["self"], headers={"Prefer": "wait=20"}))
    await readers(idle, 1)
    [box] = rooms.hub._by_job[job["id"]]
    box._lagged = True
    box._wake()
    await eventually(lambda: _same(not box._lagged))
    await idle.client.post(f"{job['links']['self']}/cancel")
    assert (await wait).json()["state"] == "cancelled"


async def _same(there: bool) -> bool | None:
    return there or None
