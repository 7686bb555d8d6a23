"""Batches over HTTP: all or none, watched as one, followed by a last job; and jobs that wait for others."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jalebi.events import Event
from jalebi.store.reads import Filter
from jalebi.web import following
from jalebi.web.frames import Message
from tests.support import Live, eventually
from tests.web.raw import problem


async def batch_of(live: Live, *jobs: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await live.client.post("/v1/jobs/batch", json={"jobs": list(jobs), **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def ended(live: Live, batch: dict[str, Any]) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        found = (await live.client.get(batch["links"]["self"])).json()
        return found if found["state"] in {"completed", "failed", "cancelled"} else None

    return await eventually(over)


def echo(value: Any = 1, **more: Any) -> dict[str, Any]:
    return {"kind": "echo", "args": {"value": value}, **more}


async def test_a_batch_is_accepted_with_its_jobs_and_where_to_watch_it(idle: Live) -> None:
    answer = await idle.client.post("/v1/jobs/batch", json={"jobs": [echo(1), echo(2, queue="other", tags=["t"])]})
    assert answer.status_code == 202
    body = answer.json()
    batch = body["batch"]
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}" == batch["links"]["self"]
    assert [job["args"]["value"] for job in body["jobs"]] == [1, 2]
    assert {job["batch"] for job in body["jobs"]} == {batch["id"]}
    assert [job["state"] for job in body["jobs"]] == ["queued", "queued"]
    assert (batch["state"], batch["counts"]["queued"]) == ("queued", 2)
    assert batch["progress"] == {"done": 0, "total": 2, "fraction": 0, "unit": "jobs"}
    assert (await idle.client.get(batch["links"]["self"])).json() == batch
    listed = (await idle.client.get(batch["links"]["jobs"])).json()["jobs"]
    assert {job["id"] for job in listed} == {job["id"] for job in body["jobs"]}


async def test_a_batch_stands_as_its_jobs_do(quick: Live, tmp_path: Path) -> None:
    gate = {"kind": "wait_for", "args": {"path": str(tmp_path / "go")}}
    body = await batch_of(quick, echo(), gate, {"kind": "hold"})
    await quick.until(body["jobs"][0]["id"], "completed")
    await quick.until(body["jobs"][2]["id"], "running")

    async def far() -> dict[str, Any] | None:
        found = (await quick.client.get(body["batch"]["links"]["self"])).json()
        return found if found["progress"]["done"] == 1.75 else None  # one is over, a half and a quarter of the others

    found = await eventually(far)
    assert found["state"] == "running"
    assert found["progress"]["fraction"] == pytest.approx(1.75 / 3, abs=1e-5)
    (tmp_path / "go").touch()
    await quick.client.post(f"/v1/jobs/{body['jobs'][2]['id']}/cancel")
    over = await ended(quick, body["batch"])
    assert (over["state"], over["progress"]["fraction"]) == ("cancelled", 1)
    assert (over["counts"]["completed"], over["counts"]["cancelled"]) == (2, 1)


async def test_a_batch_is_all_or_none_and_says_what_is_wrong_with_each(idle: Live) -> None:
    jobs = [echo(), {"kind": "steps", "args": {"count": "x"}}, {"kind": "echo", "priority": "high"}]
    refused = await idle.client.post("/v1/jobs/batch", json={"jobs": jobs})
    assert problem(refused, 422, "validation-failed")["errors"][0]["pointer"] == "/jobs/2/priority"
    refused = await idle.client.post("/v1/jobs/batch", json={"jobs": jobs[:2]})
    assert [error["pointer"] for error in problem(refused, 422, "validation-failed")["errors"]] == [
        "/jobs/1/args/count"
    ]
    refused = await idle.client.post("/v1/jobs/batch", json={"jobs": [echo(), {"kind": "none"}]})
    found = problem(refused, 422, "unknown-kind")
    assert found["pointer"] == found["errors"][0]["pointer"] == "/jobs/1/kind"
    refused = await idle.client.post("/v1/jobs/batch", json={"jobs": [echo()], "finally": {"kind": "none"}})
    found = problem(refused, 422, "unknown-kind")
    assert found["pointer"] == found["errors"][0]["pointer"] == "/finally/kind"
    for body, pointer in (
        ({"jobs": []}, "/jobs"),
        ({}, "/jobs"),
        ({"jobs": [echo()], "more": 1}, "/more"),
        ({"jobs": {"kind": "echo"}}, "/jobs"),
        ({"jobs": [1]}, "/jobs/0"),
        ({"jobs": [echo()], "finally": {"kind": "steps", "args": {"count": "x"}}}, "/finally/args/count"),
        ({"jobs": [echo()], "finally": {"kind": "echo", "delay": 1}}, "/finally"),
        ({"jobs": [echo(after=["/jobs/0"])]}, "/jobs/0/after/0"),
        ({"jobs": [echo(after=["/jobs/1"]), echo()]}, "/jobs/0/after/0"),
        ({"jobs": [echo(), echo(after=["/jobs/0", "nothing"])]}, "/jobs/1/after/1"),
        ({"jobs": [echo(), echo(after=["/jobs/0", "/jobs/0", "nothing"])]}, "/jobs/1/after/2"),
        ({"jobs": [echo()] * 10_001}, "/jobs"),
    ):
        found = problem(await idle.client.post("/v1/jobs/batch", json=body), 422, "validation-failed")
        assert found["errors"][0]["pointer"] == pointer, found
    assert (await idle.client.post("/v1/jobs/batch", json=[])).status_code == 422
    assert (await idle.client.get("/v1/jobs")).json()["jobs"] == []
    assert (await idle.client.get("/v1/batches/none")).status_code == 404
    for path in ("events", "results"):
        assert (await idle.client.get(f"/v1/batches/none/{path}")).status_code == 404
    assert (await idle.client.post("/v1/batches/none/cancel")).status_code == 404


async def test_ten_thousand_jobs_are_one_batch_and_one_transaction(idle: Live) -> None:
    rooms = await idle.shop.open()
    before = rooms.store.transactions
    body = await batch_of(idle, *[{"kind": "echo"}] * 10_000)
    assert rooms.store.transactions - before <= 2
    assert len(body["jobs"]) == 10_000
    assert body["batch"]["counts"]["queued"] == 10_000
    cancelled = await idle.client.post(body["batch"]["links"]["cancel"], json={"reason": "enough"})
    assert cancelled.status_code == 200
    assert cancelled.json()["counts"]["cancelled"] == 10_000
    page = (await idle.client.get(body["batch"]["links"]["results"], params={"limit": 200})).json()
    assert [one["job_id"] for one in page["results"]] == [job["id"] for job in body["jobs"][:200]]
    assert page["results"][0]["error"]["message"] == "enough"
    assert page["next"] == body["jobs"][199]["id"]


async def test_a_key_makes_one_batch(quick: Live) -> None:
    body = {"jobs": [echo(1), echo(2)], "finally": echo(3)}
    answers = [await quick.client.post("/v1/jobs/batch", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["batch"]["id"] == answers[1].json()["batch"]["id"]
    assert [job["id"] for job in answers[0].json()["jobs"]] == [job["id"] for job in answers[1].json()["jobs"]]
    assert answers[1].headers["idempotent-replayed"] == "true"
    other = await quick.client.post("/v1/jobs/batch", json={"jobs": [echo(1)]}, headers={"Idempotency-Key": "k"})
    problem(other, 422, "idempotency-key-reused")


async def test_the_results_come_in_the_order_of_submission(quick: Live) -> None:
    body = await batch_of(quick, echo({"a": 1}), {"kind": "fail"}, echo("b"))
    await ended(quick, body["batch"])
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await quick.client.get(body["batch"]["links"]["results"], params={"limit": 2, "after": after})).json()
        found += page["results"]
        if page["next"] is None:
            break
        after = page["next"]
    assert [one["job_id"] for one in found] == [job["id"] for job in body["jobs"]]
    assert [one["result"] for one in found] == [{"a": 1}, None, "b"]
    assert [one["state"] for one in found] == ["completed", "failed", "completed"]
    assert found[1]["error"]["message"] == "it broke"
    assert (await quick.client.get(body["batch"]["links"]["results"], params={"after": "é"})).status_code == 400


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/x-ndjson", "application/json"])
async def test_the_events_of_a_batch_are_those_of_its_jobs_to_the_end(quick: Live, media_type: str) -> None:
    await quick.submit("echo")
    body = await batch_of(quick, echo(1), {"kind": "chatty", "args": {"lines": 2}})
    other = await quick.submit("echo")
    await quick.until(other["id"], "completed")
    query = {"follow": "true"} if media_type.endswith("ndjson") else {}
    if media_type == "application/json":
        await ended(quick, body["batch"])
    answer = await quick.client.get(body["batch"]["links"]["events"], params=query, headers={"Accept": media_type})
    assert answer.headers["content-type"] == media_type
    if media_type == "application/json":
        found = answer.json()["events"]
    else:
        lines = answer.text.splitlines()
        texts = [line.removeprefix("data: ") for line in lines if line.removeprefix("data: ").startswith("{")]
        found = [event for event in map(json.loads, texts) if event["type"] not in {"hello", "progress", "snapshot"}]
    seqs = {job["id"]: [event["seq"] for event in found if event["job_id"] == job["id"]] for job in body["jobs"]}
    assert sum(len(seq) for seq in seqs.values()) == len(found)
    assert all(seq == list(range(1, len(seq) + 1)) for seq in seqs.values())
    assert [event["type"] for event in found].count("completed") == 2


async def test_a_stream_of_a_batch_goes_on_after_a_cursor_and_is_not_begun_when_all_is_told(quick: Live) -> None:
    body = await batch_of(quick, echo(1), echo(2))
    await ended(quick, body["batch"])
    events = (await quick.client.get(body["batch"]["links"]["events"])).json()["events"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": events[2]["cursor"]}
    rest = await quick.client.get(body["batch"]["links"]["events"], headers=headers)
    told = [line[4:] for line in rest.text.splitlines() if line.startswith("id: ")]
    assert told == [event["cursor"] for event in events[2:]]
    headers["Last-Event-ID"] = events[-1]["cursor"]
    assert (await quick.client.get(body["batch"]["links"]["events"], headers=headers)).status_code == 204


async def test_a_stream_of_a_batch_that_a_stop_cuts_short_does_not_say_that_all_was_told(quick: Live) -> None:
    body = await batch_of(quick, echo(1), echo(2))
    await ended(quick, body["batch"])
    rooms = await quick.shop.open()
    told: list[Event] = []

    async def tell(messages: Sequence[Message]) -> None:
        told.extend(message for message in messages if isinstance(message, Event))
        if told:
            rooms.hub.close()  # the server begins to stop in the middle of the replay

    batch_id = body["batch"]["id"]
    wanted, over = Filter(batches=(batch_id,)), following.batch_over(rooms, batch_id)
    assert await following.follow_all(rooms, wanted, 0, tell, over) is following.End.DRAINING
    assert told


async def test_a_batch_that_is_waited_for_is_answered_with_its_change(idle: Live) -> None:
    body = await batch_of(idle, echo())
    link = body["batch"]["links"]["self"]
    tag = (await idle.client.get(link)).headers["etag"]
    assert (await idle.client.get(link, headers={"If-None-Match": tag})).status_code == 304
    wait = asyncio.create_task(idle.client.get(link, headers={"If-None-Match": tag, "Prefer": "wait=20"}))
    rooms = await idle.shop.open()

    async def reads() -> bool | None:
        return rooms.hub.readers == 1 or None

    await eventually(reads)
    await idle.client.post(body["batch"]["links"]["cancel"])
    answer = await wait
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


async def test_a_last_job_runs_when_all_others_are_over_whatever_became_of_them(quick: Live) -> None:
    body = await batch_of(quick, echo(), {"kind": "fail"}, **{"finally": echo("last")})
    last = body["batch"]["finally"]
    assert last not in {job["id"] for job in body["jobs"]}
    over = await ended(quick, body["batch"])
    assert over["state"] == "failed"
    done = await quick.until(last, "completed")
    newest = max(job["finished_at"] for job in [await quick.job(one["id"]) for one in body["jobs"]])
    assert done["started_at"] >= newest
    assert done["after"] == [body["batch"]["id"]]
    page = await quick.client.get(f"/jobs/{done['after'][0]}", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, f"/jobs?batch={body['batch']['id']}")


async def test_a_batch_whose_last_open_job_is_deleted_is_over(quick: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_AGAIN", 0.05)
    body = await batch_of(quick, echo(), echo(2, delay=900), **{"finally": echo("last")})
    await quick.until(body["jobs"][0]["id"], "completed")
    stream = {"Accept": "text/event-stream"}
    told = asyncio.create_task(quick.client.get(body["batch"]["links"]["events"], headers=stream))
    rooms = await quick.shop.open()

    async def reads() -> bool | None:
        return rooms.hub.readers == 1 or None

    await eventually(reads)
    await quick.client.delete(f"/v1/jobs/{body['jobs'][1]['id']}")
    await quick.until(body["batch"]["finally"], "completed")
    assert (await told).status_code == 200
    assert (await ended(quick, body["batch"]))["state"] == "completed"


# Jobs that wait for others


async def test_a_job_waits_for_others_and_runs_when_they_have_completed(quick: Live, tmp_path: Path) -> None:
    first = await quick.submit("wait_for", args={"path": str(tmp_path / "go")})
    second = await quick.submit("echo", after=[first["id"]])
    assert (second["state"], second["after"]) == ("blocked", [first["id"]])
    third = await quick.submit("echo", after=[first["id"], second["id"]])
    await quick.until(first["id"], "running")
    assert (await quick.job(third["id"]))["state"] == "blocked"
    (tmp_path / "go").touch()
    done = await quick.until(third["id"], "completed")
    before = await quick.job(second["id"])
    assert (await quick.job(first["id"]))["finished_at"] <= before["started_at"] <= before["finished_at"]
    assert before["finished_at"] <= done["started_at"]
    events = (await quick.client.get(third["links"]["events"])).json()["events"]
    assert [event["type"] for event in events] == ["created", "queued", "started", "completed"]


@pytest.mark.parametrize("end", ["fail", "cancel", "delete"])
async def test_what_a_job_waits_for_in_vain_cancels_it_and_those_behind_it(
    quick: Live, tmp_path: Path, end: str
) -> None:
    gate = str(tmp_path / "go")
    waited = (
        await quick.submit("talk", args={"lines": 1, "after": gate})
        if end == "cancel"
        else await quick.submit("fail" if end == "fail" else "echo", delay=0.3 if end == "fail" else 900)
    )
    second = await quick.submit("echo", after=[waited["id"]])
    third = await quick.submit("echo", after=[second["id"]])
    anyway = await quick.submit("echo", after=[waited["id"]], after_failure="run")
    if end == "cancel":
        await quick.client.post(f"{waited['links']['self']}/cancel")
    elif end == "delete":
        await quick.client.delete(waited["links"]["self"])
    for job, before in ((second, waited), (third, second)):
        over = await quick.until(job["id"], "cancelled")
        assert before["id"] in over["error"]["message"]
    await quick.until(anyway["id"], "completed")


async def test_what_is_over_already_is_not_waited_for(quick: Live) -> None:
    good, bad = await quick.submit("echo"), await quick.submit("fail")
    for job in (good, bad):
        await quick.until(job["id"], "completed", "failed")
    at_once = await quick.submit("echo", after=[good["id"]])
    assert at_once["state"] == "queued"
    await quick.until(at_once["id"], "completed")
    in_vain = await quick.submit("echo", after=[good["id"], bad["id"]])
    assert "failed" in (await quick.until(in_vain["id"], "cancelled"))["error"]["message"]
    await quick.until((await quick.submit("echo", after=[bad["id"]], after_failure="run"))["id"], "completed")


async def test_a_job_may_wait_for_a_batch_and_for_an_earlier_one_of_its_own(quick: Live, tmp_path: Path) -> None:
    gate = {"kind": "wait_for", "args": {"path": str(tmp_path / "go")}}
    body = await batch_of(quick, gate, echo(1, after=["/jobs/0"]), echo(2, after=["/jobs/0", "/jobs/1"]))
    assert [job["state"] for job in body["jobs"]] == ["queued", "blocked", "blocked"]
    assert body["jobs"][2]["after"] == [body["jobs"][0]["id"], body["jobs"][1]["id"]]
    behind = await quick.submit("echo", after=[body["batch"]["id"]])
    assert behind["state"] == "blocked"
    (tmp_path / "go").touch()
    await quick.until(behind["id"], "completed")
    assert (await ended(quick, body["batch"]))["state"] == "completed"
    assert (await quick.submit("echo", after=[body["batch"]["id"]]))["state"] == "queued"


async def test_a_blocked_job_can_be_cancelled_retried_and_deleted(idle: Live) -> None:
    first = await idle.submit("echo")
    second, third = [await idle.submit("echo", after=[first["id"]]) for _ in range(2)]
    cancelled = await idle.client.post(f"{second['links']['self']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    again = await idle.client.post(f"{second['links']['self']}/retry")
    assert again.json()["state"] == "queued"
    assert (await idle.client.delete(third["links"]["self"])).status_code == 204
    await idle.client.post(f"{first['links']['self']}/cancel")
    assert (await idle.job(second["id"]))["state"] == "queued"


async def test_what_is_named_twice_is_waited_for_once_and_faults_keep_their_places(idle: Live) -> None:
    first, second = await idle.submit("echo"), await idle.submit("hold")
    after = [first["id"], first["id"], "none", second["id"], "none"]
    answer = await idle.client.post("/v1/jobs", json=echo(after=after))
    pointers = [error["pointer"] for error in problem(answer, 422, "validation-failed")["errors"]]
    assert pointers == ["/after/2", "/after/4"]
    job = await idle.submit("echo", after=[first["id"], second["id"], first["id"]])
    assert job["after"] == [first["id"], second["id"]]
    assert (await idle.job(job["id"]))["after"] == [first["id"], second["id"]]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"after": ["none"]}, "/after/0"),
        ({"after": "x"}, "/after"),
        ({"after": [1]}, "/after/0"),
        ({"after": ["/jobs/0"]}, "/after/0"),
        ({"after": [], "after_failure": "retry"}, "/after_failure"),
        ({"after": ["a"], "delay": 5}, ""),
        ({"webhook": {"url": ""}}, "/webhook/url"),
        ({"webhook": {"url": "http://a/", "events": []}}, "/webhook/events"),
        ({"webhook": {"url": "http://a/", "events": ["started"]}}, "/webhook/events/0"),
        ({"webhook": {"url": "http://a/", "more": 1}}, "/webhook/more"),
    ],
)
async def test_what_a_job_can_not_be_tied_to_is_refused(idle: Live, body: dict[str, Any], pointer: str) -> None:
    answer = await idle.client.post("/v1/jobs", json={"kind": "echo", **body})
    assert [error["pointer"] for error in problem(answer, 422, "validation-failed")["errors"]] == [pointer]
    assert (await idle.client.get("/v1/jobs")).json()["jobs"] == []
