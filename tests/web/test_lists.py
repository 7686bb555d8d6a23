"""Lists of jobs: filters, search, limits, and keyset pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jalebi import queue
from jalebi.store import search as searching
from tests.support import Live
from tests.web.raw import problem


async def ids(live: Live, **query: Any) -> list[str]:
    """Return the ids of one page; keyword arguments are its filters."""
    answer = await live.client.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


async def paged(live: Live, limit: int, **query: Any) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {**query, "limit": limit, **({"cursor": cursor} if cursor else {})}
        page = (await live.client.get("/v1/jobs", params=params)).json()
        found.extend(job["id"] for job in page["jobs"])
        cursor = page["next"]
        if cursor is None:
            return found
        assert len(page["jobs"]) == limit


async def test_an_empty_list_is_a_page_without_a_next(idle: Live) -> None:
    assert (await idle.client.get("/v1/jobs")).json() == {"jobs": [], "next": None}


async def test_jobs_come_newest_first_in_pages_of_any_size(idle: Live) -> None:
    made = [(await idle.submit("echo", args={"value": number}))["id"] for number in range(13)][::-1]
    for limit in (1, 4, 12, 13, 14, 200):
        assert await paged(idle, limit) == made
    assert await ids(idle) == made


async def test_pages_stay_put_while_jobs_come_and_go(idle: Live) -> None:
    made = [(await idle.submit("echo"))["id"] for _ in range(9)][::-1]
    page = (await idle.client.get("/v1/jobs", params={"limit": 3})).json()
    seen = [job["id"] for job in page["jobs"]]
    while page["next"]:
        await idle.submit("echo")
        page = (await idle.client.get("/v1/jobs", params={"limit": 3, "cursor": page["next"]})).json()
        seen.extend(job["id"] for job in page["jobs"])
    assert seen == made
    # The job that a cursor names may be gone by now.
    page = (await idle.client.get("/v1/jobs", params={"limit": 3})).json()
    await idle.client.delete(f"/v1/jobs/{page['jobs'][-1]['id']}")
    following = await ids(idle, limit=1, cursor=page["next"])
    assert following == (await ids(idle, limit=200))[2:3]


async def test_jobs_are_found_by_state_kind_queue_and_tag(quick: Live) -> None:
    done = await quick.until((await quick.submit("echo", tags=["a", "b"]))["id"], "completed")
    failed = await quick.until((await quick.submit("fail", tags=["a"], queue="slow"))["id"], "failed")
    later = await quick.submit("echo", delay=3600, tags=["B", "ü%"])
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"state": "completed"}, [done]),
        ({"state": ["completed", "failed"]}, [failed, done]),
        ({"state": ["completed", "completed"]}, [done]),
        ({"state": "running"}, []),
        ({"kind": "echo"}, [later, done]),
        ({"kind": ["echo", "fail"]}, [later, failed, done]),
        ({"kind": "Echo"}, []),
        ({"queue": "slow"}, [failed]),
        ({"queue": ["slow", "default"]}, [later, failed, done]),
        ({"tag": "a"}, [failed, done]),
        ({"tag": ["a", "b"]}, [done]),
        ({"tag": "ü%"}, [later]),
        ({"tag": "%"}, []),
        ({"tag": ""}, []),
        ({"state": "completed", "kind": "echo", "queue": "default", "tag": "b"}, [done]),
        ({"state": "completed", "kind": "fail"}, []),
    ]
    for query, wanted in cases:
        assert await ids(quick, **query) == [job["id"] for job in wanted], query


async def test_a_search_takes_every_character_for_itself(idle: Live) -> None:
    texts = ["100% sure", "100 per cent", "under_score", "underXscore", "back\\slash", "Größe ☃", "it's", "😀"]
    made = {text: (await idle.submit("echo", args={"value": text}))["id"] for text in texts}
    for search, wanted in [
        ("100%", ["100% sure"]),
        ("100", ["100% sure", "100 per cent"]),
        ("R_S", ["under_score"]),
        ("UNDER", ["under_score", "underXscore"]),
        ("\\", ["back\\slash"]),
        ("Größe", ["Größe ☃"]),
        ("☃", ["Größe ☃"]),
        ("😀", ["😀"]),
        ("it's", ["it's"]),
        ("%%", []),
        ("__", []),
        ("' OR 1=1 --", []),
    ]:
        assert await ids(idle, q=search) == [made[text] for text in reversed(wanted)], search
    assert len(await ids(idle, q="")) == len(texts)


async def test_a_search_looks_in_id_kind_args_and_tags(idle: Live) -> None:
    typed = (await idle.submit("typed", args={"title": "Annual report"}))["id"]
    tagged = (await idle.submit("echo", tags=["tenant:7"]))["id"]
    assert await ids(idle, q=tagged[-12:]) == [tagged]
    assert await ids(idle, q="typ") == [typed]
    assert await ids(idle, q="annual") == [typed]
    assert await ids(idle, q="tenant:7") == [tagged]


async def test_jobs_are_found_by_the_time_of_their_creation(idle: Live) -> None:
    job = await idle.submit("echo")
    made = datetime.fromisoformat(job["created_at"])
    before, after = made - timedelta(seconds=5), made + timedelta(seconds=5)
    for query, found in [
        ({"created_after": before.isoformat()}, True),
        ({"created_after": after.isoformat()}, False),
        ({"created_before": before.isoformat()}, False),
        ({"created_before": after.isoformat().replace("+00:00", "Z")}, True),
        ({"created_after": before.isoformat(), "created_before": after.isoformat()}, True),
        ({"created_after": before.astimezone(UTC).replace(tzinfo=None).isoformat()}, True),
        ({"created_after": "2001-01-31"}, True),
        ({"created_after": "0001-01-01T00:00:00+14:00"}, True),
        ({"created_before": "9999-12-31T23:59:59-14:00"}, True),
    ]:
        assert bool(await ids(idle, **query)) is found, query
    unescaped = await idle.client.get(f"/v1/jobs?created_after={before.isoformat()}")  # the plus becomes a space
    assert len(unescaped.json()["jobs"]) == 1


async def test_a_limit_out_of_bounds_is_refused(idle: Live) -> None:
    for limit in ["0", "-1", "201", "1000000", "9" * 50, "1.5", "ten", "", "٣", " 5", "0x5", "1e2"]:
        found = problem(await idle.client.get("/v1/jobs", params={"limit": limit}), 422, "validation-failed")
        assert found["errors"][0]["parameter"] == "limit"
    for limit in ["1", "200"]:
        assert (await idle.client.get("/v1/jobs", params={"limit": limit})).status_code == 200


async def test_bad_parameters_are_named(idle: Live) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"state": "done"}, "state"),
        ({"state": ["queued", "Queued"]}, "state"),
        ({"state": ""}, "state"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "é" * 36}, "cursor"),
        ({"cursor": "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeee'"}, "cursor"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "2026-13-01T00:00:00Z"}, "created_before"),
        ({"created_before": "1700000000000000"}, "created_before"),
        ({"q": "a\0b"}, "q"),
        ({"q": "x" * 1001}, "q"),
        ({"tag": ["t"] * 51}, "tag"),
        ({"kind": ["k"] * 51}, "kind"),
    ]
    for query, name in cases:
        answer = await idle.client.get("/v1/jobs", params=query)
        assert problem(answer, 400, "malformed-request")["parameter"] == name, query


async def test_a_misspelt_filter_is_refused_and_does_not_match_all(idle: Live) -> None:
    found = problem(await idle.client.get("/v1/jobs?sate=queued&state=queued"), 422, "validation-failed")
    assert found["errors"] == [{"pointer": "", "parameter": "sate", "detail": "There is no such parameter."}]


async def test_queries_of_strange_bytes_are_answered(idle: Live) -> None:
    await idle.submit("echo")
    for query in [
        "q=%ff",
        "q=%ed%a0%80",
        "tag=%c3",
        "q=%",
        "q=%zz",
        "&&==&",
        "q",
        "state",
        "limit=%ff",
        "%00=1",
        "q=%00",
    ]:
        answer = await idle.client.get(f"/v1/jobs?{query}")
        assert answer.status_code in {200, 400, 422}, (query, answer.text)
        assert answer.json()


async def test_a_search_that_takes_long_gives_pages_that_end_early_and_a_client_finds_all(
    idle: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "SEARCHED", 0.0)
    monkeypatch.setattr(searching, "FIRST", 2)
    wanted = await idle.submit("echo", tags=["needle"], delay=3600)
    for _ in range(5):
        await idle.submit("echo", delay=3600)
    page = (await idle.client.get("/v1/jobs?q=needle")).json()
    assert page["jobs"] == []
    found: list[str] = []
    pages = 0
    while page["next"] is not None:
        page, pages = (await idle.client.get(f"/v1/jobs?q=needle&cursor={page['next']}")).json(), pages + 1
        found += [job["id"] for job in page["jobs"]]
    assert found == [wanted["id"]]
    assert pages > 1
