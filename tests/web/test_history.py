import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jalebi.store import missed
from jalebi.web import history
from tests.support import Live


async def test_the_events_of_a_job_come_in_pages_without_holes(live: Live) -> None:
    job = await live.submit("chatty", args={"lines": 7})
    await live.until(job["id"], "completed")
    heard, after = [], 0
    while after is not None:
        answer = await live.client.get(job["links"]["events"], params={"after": after, "limit": 4})
        page = answer.json()
        assert len(page["events"]) <= 4
        heard += page["events"]
        after = page["next"]
    assert [event["seq"] for event in heard] == list(range(1, 13))
    assert [event["type"] for event in heard] == ["created", "started", *["log"] * 7, "file", "file", "completed"]
    assert heard[-1]["job"]["state"] == "completed"
    assert heard[2]["log"] == {"line": 1, "level": "info", "message": "line 1"}


async def test_events_that_can_not_be_asked_for_are_problems(live: Live) -> None:
    assert (await live.client.get("/v1/jobs/nothing/events")).status_code == 404
    job = await live.submit("echo")
    for wrong, status in (("after=x", 400), ("limit=0", 422), ("limit=201", 422), ("since=1", 422)):
        assert (await live.client.get(f"{job['links']['events']}?{wrong}")).status_code == status


async def pages(live: Live, **query: Any) -> list[dict[str, Any]]:
    """Return the pages of /v1/events, each from where the one before it ended."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["next"] is not None:
        more = {"after": found[-1]["next"]} if found else {}
        answer = await live.client.get("/v1/events", params={**query, **more})
        assert answer.status_code == 200, answer.text
        assert answer.headers["vary"] == "Accept"
        found.append(answer.json())
    return found


async def test_the_events_of_all_jobs_come_in_pages_and_by_filter(quick: Live) -> None:
    jobs = [await quick.submit(kind, tags=[f"t{index}"]) for index, kind in enumerate(["echo", "fail", "echo"])]
    for job in jobs:
        await quick.until(job["id"], "completed", "failed")
    everything = [event for page in await pages(quick) for event in page["events"]]
    assert len(everything) == 9
    cursors = [int(event["cursor"].rpartition("-")[2]) for event in everything]
    assert cursors == list(range(1, 10))
    for limit in (1, 2, 4, 9):
        split = await pages(quick, limit=limit)
        assert all(page.keys() == {"events", "next"} for page in split)
        assert [event for page in split for event in page["events"]] == everything
        assert len(split) == -(-9 // limit)
    for query in ({"kind": "echo"}, {"state": "failed"}, {"tag": "t1"}, {"queue": "none"}):
        wanted = [event for event in everything if _wanted(event["job"], query)]
        for limit in (1, 50):
            split = await pages(quick, limit=limit, **query)
            assert [event for page in split for event in page["events"]] == wanted
    [last] = await pages(quick, after=everything[-1]["cursor"])
    assert last == {"events": [], "next": None}


def _wanted(job: dict[str, Any], query: dict[str, str]) -> bool:
    [(name, value)] = query.items()
    return value in job["tags"] if name == "tag" else bool(job[name] == value)


async def test_one_request_looks_through_so_much_and_the_next_goes_on(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "PAGE", 3)
    monkeypatch.setattr(history, "MOST_READS", 2)
    job = await quick.submit("chatty", args={"lines": 10})
    await quick.until(job["id"], "completed")
    split = await pages(quick, state="completed")
    assert [len(page["events"]) for page in split] == [0, 0, 1]
    split = await pages(quick)
    assert [len(page["events"]) for page in split] == [6, 6, 3]
    page = (await quick.client.get(job["links"]["events"])).json()
    assert (len(page["events"]), page["next"]) == (6, 6)


async def test_large_args_are_read_a_few_at_a_time(quick: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed, "PAGE_BYTES", 5000)
    job = await quick.submit("echo", args={"value": "x" * 3000})
    await quick.until(job["id"], "completed")
    store = (await quick.shop.open()).store
    page = await store.read(partial(missed.events_of, job_id=job["id"], after=0))
    assert [event.seq for event in page] == [1, 2]
    assert page[0].job.args is page[1].job.args
    page, _ = await store.read(partial(missed.events_of_all, after=0, upto=99))
    assert [event.seq for event in page] == [1, 2]
    answer = (await quick.client.get(job["links"]["events"])).json()
    assert [event["seq"] for event in answer["events"]] == [1, 2, 3]


async def test_all_events_that_can_not_be_asked_for_are_problems(quick: Live) -> None:
    for wrong, status in (("after=x", 400), ("after=1", 400), ("limit=0", 422), ("since=1", 422), ("state=done", 400)):
        assert (await quick.client.get(f"/v1/events?{wrong}")).status_code == status
    assert (await quick.client.post("/v1/events", json={})).status_code == 405
    assert (await quick.client.head("/v1/events")).status_code == 200


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


NDJSON = {"Accept": "application/x-ndjson"}


async def test_the_same_events_come_as_lines(quick: Live) -> None:
    job = await quick.submit("chatty", args={"lines": 3}, tags=["a"])
    await quick.until(job["id"], "completed")
    await quick.until((await quick.submit("echo"))["id"], "completed")
    answer = await quick.client.get(job["links"]["events"], headers=NDJSON)
    assert answer.headers["content-type"] == "application/x-ndjson"
    page = (await quick.client.get(job["links"]["events"])).json()["events"]
    assert lines(answer.text) == page
    rest = await quick.client.get(job["links"]["events"], params={"after": 2}, headers=NDJSON)
    assert lines(rest.text) == page[2:]
    everything = (await quick.client.get("/v1/events", params={"limit": 200})).json()["events"]
    listed = lines((await quick.client.get("/v1/events", headers=NDJSON)).text)
    assert [line for line in listed if line["type"] != "hello"] == everything
    tagged = lines((await quick.client.get("/v1/events", params={"tag": "a"}, headers=NDJSON)).text)
    assert [line["seq"] for line in tagged if line["type"] != "hello"] == [event["seq"] for event in page]
    later = {"after": everything[3]["cursor"]}
    assert lines((await quick.client.get("/v1/events", params=later, headers=NDJSON)).text) == everything[4:]


async def test_lines_that_follow_go_on_to_the_end_of_the_job(quick: Live, tmp_path: Path) -> None:
    job = await quick.submit("wait_for", args={"path": str(tmp_path / "go")})
    heard: list[dict[str, Any]] = []
    async with quick.client.stream("GET", job["links"]["events"], params={"follow": "true"}, headers=NDJSON) as answer:
        async for line in answer.aiter_lines():
            heard += lines(line)
            (tmp_path / "go").touch()
    durable = [event["type"] for event in heard if event["type"] != "progress"]
    assert durable == ["created", "started", "completed"]


async def test_lines_are_asked_for_in_words_that_are_known(quick: Live) -> None:
    job = await quick.submit("echo")
    for path in (job["links"]["events"], "/v1/events"):
        assert (await quick.client.get(path, params={"follow": "yes"}, headers=NDJSON)).status_code == 400
        assert (await quick.client.get(path, params={"limit": 3}, headers=NDJSON)).status_code == 422
        assert (await quick.client.get(path, params={"follow": "true"})).status_code == 422
    assert (await quick.client.get("/v1/jobs/none/events", headers=NDJSON)).status_code == 404
