"""Idempotency-Key on submissions: one job for a key, whatever happens to the answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jalebi import Upload
from tests.support import Live, serving
from tests.targets.quick import quick_shop
from tests.web.raw import problem

BODY = {"kind": "echo", "args": {"value": 1}, "tags": ["a"]}


async def post(live: Live, key: str | bytes, body: Any = BODY) -> Any:
    value = key if isinstance(key, bytes) else key.encode()
    return await live.client.post("/v1/jobs", json=body, headers={b"Idempotency-Key": value})


async def test_the_same_request_again_gives_the_same_job(quick: Live) -> None:
    first = await post(quick, "k-1")
    await quick.until(first.json()["id"])
    again = await post(quick, "k-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await quick.client.get("/v1/jobs")).json()["jobs"]) == 1


async def test_only_the_meaning_of_the_body_counts(idle: Live) -> None:
    texts = [
        '{"kind": "echo", "args": {"value": {"a": 1, "b": [1.0, 2.5]}}}',
        '{ "args":{"value":{"b":[1,2.50],"a":1e0}}, "kind":"\\u0065cho" }',
    ]
    ids = set()
    for text in texts:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        answer = await idle.client.post("/v1/jobs", content=text, headers=headers)
        assert answer.status_code == 202, answer.text
        ids.add(answer.json()["id"])
    assert len(ids) == 1


@pytest.mark.parametrize(
    "other",
    [
        {**BODY, "args": {"value": 2}},
        {**BODY, "args": {"value": "1"}},
        {**BODY, "args": {"value": True}},
        {**BODY, "queue": "other"},
        {"kind": "echo", "args": {"value": 1}},
        {**BODY, "kind": "hold", "args": {}},
        {**BODY, "kind": "no such kind"},
        {**BODY, "args": {"no such": 1}},
    ],
)
async def test_another_request_with_a_used_key_is_refused(idle: Live, other: Any) -> None:
    assert (await post(idle, "k")).status_code == 202
    problem(await post(idle, "k", other), 422, "idempotency-key-reused")
    assert len((await idle.client.get("/v1/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9".encode(), b"tab\there"])
async def test_a_key_that_is_no_key_is_refused(idle: Live, key: str | bytes) -> None:
    problem(await post(idle, key), 400, "malformed-request")
    assert (await idle.client.get("/v1/jobs")).json()["jobs"] == []


async def test_two_keys_in_one_request_are_refused(idle: Live) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem(await idle.client.post("/v1/jobs", json=BODY, headers=headers), 400, "malformed-request")


async def test_many_at_once_make_one_job(idle: Live) -> None:
    answers = await asyncio.gather(*(post(idle, "k") for _ in range(64)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len((await idle.client.get("/v1/jobs")).json()["jobs"]) == 1


async def test_many_at_once_with_different_bodies_make_the_job_of_one(idle: Live) -> None:
    bodies = [{**BODY, "args": {"value": number}} for number in range(20)]
    answers = await asyncio.gather(*(post(idle, "k", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [202] + [422] * 19


async def test_a_refused_submission_leaves_its_key_free(idle: Live) -> None:
    wrong = {**BODY, "args": {"no such": 1}}
    problem(await post(idle, "k", wrong), 422, "validation-failed")
    assert (await post(idle, "k")).status_code == 202


async def test_a_key_refused_for_a_full_queue_works_later() -> None:
    shop = quick_shop(workers=False, max_waiting=1)
    async with serving(shop, shop) as live:
        blocker = await live.submit("echo")
        both = await asyncio.gather(post(live, "k"), post(live, "k"))
        assert [answer.status_code for answer in both] == [503, 503]
        await live.client.post(f"/v1/jobs/{blocker['id']}/cancel")
        first = await post(live, "k")
        assert first.status_code == 202
        again = await post(live, "k")  # the queue is full once more, and the job is there
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


async def test_a_key_is_known_after_a_restart(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        shop = quick_shop(database_url=f"sqlite:///{tmp_path / 'a.db'}")
        async with serving(shop, shop) as live:
            ids.append((await post(live, "k")).json()["id"])
    assert ids[0] == ids[1]


async def test_the_key_of_a_deleted_job_makes_no_second_one(quick: Live) -> None:
    made = (await post(quick, "k")).json()
    await quick.until(made["id"])
    assert (await quick.client.delete(f"/v1/jobs/{made['id']}")).status_code == 204
    found = problem(await post(quick, "k"), 404, "not-found")
    assert made["id"] in found["detail"]


async def read(file: Upload) -> str:
    """Return what was uploaded."""
    return file.path.read_text()


async def test_a_replay_does_not_look_for_the_upload_again() -> None:
    shop = quick_shop()
    shop.job(read)
    async with serving(shop, shop) as live:
        upload = (await live.client.post("/v1/uploads", content=b"content")).json()
        body = {"kind": "read", "args": {"file": upload["id"]}}
        first = (await post(live, "k", body)).json()
        assert (await live.until(first["id"]))["state"] == "completed"
        ((await shop.open()).files.uploads / upload["id"]).unlink()  # as the sweep does after a day
        assert (await post(live, "k", body)).json()["id"] == first["id"]


async def test_a_replay_does_not_look_at_the_webhooks_again(idle: Live) -> None:
    url = "https://93.184.215.14/hook"
    endpoint = (await idle.client.post("/v1/webhooks", json={"url": url})).json()
    hooked = {"kind": "echo", "webhook": {"url": url}}
    for key, path, body in (("one", "/v1/jobs", hooked), ("many", "/v1/jobs/batch", {"jobs": [hooked]})):
        answer = await idle.client.post(path, json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 202, path
    assert (await idle.client.delete(f"/v1/webhooks/{endpoint['id']}")).status_code == 204
    for key, path, body in (("one", "/v1/jobs", hooked), ("many", "/v1/jobs/batch", {"jobs": [hooked]})):
        again = await idle.client.post(path, json=body, headers={"Idempotency-Key": key})
        assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true"), path
        new = await idle.client.post(path, json=body, headers={"Idempotency-Key": f"{key} more"})
        problem(new, 422, "validation-failed")
