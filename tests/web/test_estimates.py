"""What callers and readers are told of when a job starts and finishes: on the wire, in Retry-After, on its page."""

from datetime import datetime
from typing import Any

import pytest

from jalebi.estimates import Span
from jalebi.events import Outlook
from jalebi.jobs import State
from jalebi.web import words
from tests.support import Live, serving
from tests.targets.quick import quick_shop
from tests.test_jobs import a_job

EMPTY = {"position": None, "estimated_start_at": None, "estimated_finish_at": None, "estimate": None}


async def remember(live: Live, **kinds: float) -> None:
    histories = (await live.shop.open()).queue.forecast.histories
    for kind, seconds in kinds.items():
        histories.of(kind).fill((f"earlier-{n}", seconds) for n in range(20))


def told(job: dict[str, Any]) -> dict[str, Any]:
    return {name: job[name] for name in EMPTY}


def later(job: dict[str, Any], text: str) -> float:
    """Return how many seconds after the job's creation a time is."""
    return (datetime.fromisoformat(text) - datetime.fromisoformat(job["created_at"])).total_seconds()


async def test_a_waiting_job_has_its_place_its_times_and_their_ranges() -> None:
    shop = quick_shop(concurrency=1)
    async with serving(shop, shop) as live:
        await remember(live, hold=100.0, echo=10.0)
        held = await live.until((await live.submit("hold"))["id"], "running")
        job = await live.job((await live.submit("echo"))["id"])
        assert (job["position"], job["estimate"]["samples"], job["estimate"]["basis"]) == (1, 20, "history")
        for name, seconds in (("start", 100), ("finish", 110)):
            ends = [job["estimate"][name]["earliest"], job[f"estimated_{name}_at"], job["estimate"][name]["latest"]]
            assert [later(job, end) for end in ends] == sorted(later(job, end) for end in ends)
            assert later(job, ends[1]) == pytest.approx(seconds, abs=10)
        status = await live.client.get(job["links"]["status"])
        assert status.json()["estimate"]["samples"] == 20
        listed = (await live.client.get("/v1/jobs", params={"state": "queued"})).json()["jobs"]
        assert listed[0]["estimate"]["basis"] == "history"
        running = await live.job(held["id"])
        assert (running["estimated_start_at"], running["estimate"]["start"]) == (None, None)
        assert running["estimate"]["basis"] == "history"  # its bar is too young to tell
        assert later(running, running["estimate"]["finish"]["earliest"]) > 0


async def test_what_is_not_known_is_null(idle: Live, quick: Live) -> None:
    assert told(await idle.job((await idle.submit("echo"))["id"])) == EMPTY | {"position": 1}
    assert told(await idle.job((await idle.submit("echo", delay=3600))["id"])) == EMPTY
    over = await quick.until((await quick.submit("echo"))["id"], "completed")
    assert told(over) == EMPTY


async def test_a_submission_and_the_events_of_a_job_have_the_same_members(quick: Live) -> None:
    job = await quick.submit("echo")
    assert told(job) == EMPTY
    await quick.until(job["id"], "completed")
    events = (await quick.client.get(job["links"]["events"], headers={"Accept": "application/json"})).json()["events"]
    assert all(told(event["job"]) == EMPTY for event in events)


async def retry_after(live: Live, job: dict[str, Any]) -> int:
    text = (await live.client.get(job["links"]["status"])).headers["retry-after"]
    assert text.isdigit()
    return int(text)


async def test_a_caller_is_told_to_come_back_after_half_of_what_is_left() -> None:
    shop = quick_shop(concurrency=1)
    async with serving(shop, shop) as live:
        await remember(live, hold=40.0, echo=0.4)
        held = await live.submit("hold")
        await live.until(held["id"], "running")
        assert 10 <= await retry_after(live, held) <= 20
        waiting = await live.submit("echo")
        assert 10 <= await retry_after(live, waiting) <= 21
        early = await live.client.get(held["links"]["result"])
        assert 10 <= int(early.headers["retry-after"]) <= 20


async def test_retry_after_is_never_less_than_1_nor_more_than_30(quick: Live) -> None:
    await remember(quick, hold=7200.0, echo=0.001)
    answer = await quick.client.post("/v1/jobs", json={"kind": "echo"})
    assert answer.headers["retry-after"] == "1"
    held = await quick.client.post("/v1/jobs", json={"kind": "hold"})
    assert held.headers["retry-after"] == "30"
    await quick.until(held.json()["id"], "running")
    assert await retry_after(quick, held.json()) == 30


async def test_a_job_that_starts_in_an_hour_is_not_asked_for_before_half_a_minute(idle: Live) -> None:
    answer = await idle.client.post("/v1/jobs", json={"kind": "echo", "delay": 3600})
    assert answer.headers["retry-after"] == "30"
    assert await retry_after(idle, answer.json()) == 30
    soon = await idle.submit("echo", delay=8)
    assert 2 <= await retry_after(idle, soon) <= 8


async def test_of_what_is_not_known_is_asked_often_first_and_then_less(
    idle: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await idle.submit("echo")
    assert await retry_after(idle, job) == 1
    store = (await idle.shop.open()).store
    real = store.clock
    for age, wanted in [(15, 2), (100, 11), (86400, 30)]:
        monkeypatch.setattr(store, "clock", lambda age=age: real() + age)
        assert await retry_after(idle, job) == pytest.approx(wanted, abs=1)


async def test_a_kind_has_the_durations_of_its_newest_jobs(quick: Live) -> None:
    await remember(quick, echo=12.3456)
    for path in ("/v1/kinds/echo", "/v1/kinds"):
        answer = (await quick.client.get(path)).json()
        kind = answer if path.endswith("echo") else next(one for one in answer["kinds"] if one["name"] == "echo")
        assert kind["duration"] == {"p50": 12.346, "p95": 12.346}
    page = await quick.client.get("/kinds/echo", headers={"Accept": "text/html"})
    assert "about 12 s" in page.text


async def test_the_page_of_a_job_says_when_it_starts_and_is_done() -> None:
    shop = quick_shop(concurrency=1)
    async with serving(shop, shop) as live:
        await remember(live, hold=45 * 60, echo=20.0)
        held = await live.until((await live.submit("hold"))["id"], "running")
        waiting, unknown = await live.submit("echo"), await live.submit("talk", args={"lines": 1})
        pages = [
            " ".join((await live.client.get(job["links"]["html"], headers={"Accept": "text/html"})).text.split())
            for job in (held, waiting, unknown)
        ]
        assert "· done in about " in pages[0]
        assert "<b>1st in line</b> in queue default" in pages[1]
        assert ", starts in about " in pages[1]
        assert ", done in about " in pages[1]
        assert ", starts in about " in pages[2]
        assert "done in about" not in pages[2]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 0.0, "a moment"),
        (0.3, 2.0, "a moment"),
        (0.3, 6.4, "under 7 s"),
        (4.2, 6.4, "about 4 to 7 s"),
        (21.0, 39.0, "about 20 to 40 s"),
        (61.0, 95.0, "about 60 to 100 s"),
        (65.0, 110.0, "about 1 to 2 min"),
        (119.9, 120.0, "about 1 to 2 min"),
        (120.0, 120.0, "about 2 min"),
        (1300.0, 2300.0, "about 20 to 40 min"),
        (5000.0, 9000.0, "about 1 to 3 h"),
        (90_000.0, 100_000.0, "about 25 to 30 h"),
        (260_000.0, 400_000.0, "about 3 to 5 d"),
    ],
)
def test_a_range_is_said_in_round_numbers(low: float, high: float, text: str) -> None:
    assert words.between(low, high) == text


def test_nothing_is_said_of_what_is_unknown_or_has_no_line() -> None:
    start, finish = Span(110.0, 120.0, 130.0), Span(150.0, 160.0, 170.0)
    queued, running = a_job(), a_job(State.RUNNING)
    assert words.expected(queued, Outlook(3, start, finish), 100.0) == (
        ", starts in about 10 to 30 s, done in about 50 to 70 s"
    )
    assert words.expected(queued, Outlook(3, start, None), 100.0) == ", starts in about 10 to 30 s"
    assert words.expected(queued, Outlook(3), 100.0) == ""
    assert words.expected(running, Outlook(None, None, finish), 100.0) == "· done in about 50 to 70 s"
    assert words.expected(running, Outlook(None, None, finish), 500.0) == "· done in a moment"
    assert words.expected(running, Outlook(), 100.0) == ""
    assert words.expected(a_job(State.SCHEDULED), Outlook(None, start, finish), 100.0) == ""
