"""A job over HTTP: submit, look, fetch, cancel, retry, delete; every status code, header and problem."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support import Live, eventually, serving
from tests.targets.quick import quick_shop
from tests.web.raw import problem

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NOBODY = "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"


async def test_a_submission_is_accepted_with_where_to_watch_it(idle: Live) -> None:
    given = {"queue": "reports", "priority": 5, "tags": ["tenant:7", "tenant:7"], "timeout": 60, "max_attempts": 9}
    answer = await idle.client.post("/v1/jobs", json={"kind": "typed", "args": {"title": "Q3"}, **given})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}/status"
    assert int(answer.headers["retry-after"]) >= 1
    assert UUID(job["id"]).version == 7
    assert job["args"]["pages"] == 20  # defaults are filled in
    shown = {name: job[name] for name in ("queue", "priority", "tags", "timeout", "max_attempts", "state", "attempt")}
    assert shown == {"queue": "reports", "priority": 5, "tags": ["tenant:7"], "timeout": 60, "max_attempts": 9,
                     "state": "queued", "attempt": 0}  # fmt: skip
    assert TIME.fullmatch(job["created_at"])
    assert job["seq"] == 1
    assert job["links"]["status"] == answer.headers["location"]
    assert job["links"]["ws"] == f"/ws/jobs/{job['id']}"
    assert await idle.job(job["id"]) | {"position": None} == job


async def test_a_submission_needs_only_the_kind_and_takes_the_rest_from_it(idle: Live) -> None:
    job = await idle.submit("odd:name.of-a_kind")
    assert (job["queue"], job["priority"], job["timeout"], job["max_attempts"]) == ("odd", 0, 900, 3)
    assert (job["args"], job["tags"]) == ({"value": None}, [])


async def test_null_stands_for_leaving_out(idle: Live) -> None:
    optional = dict.fromkeys(["queue", "priority", "run_at", "delay", "timeout", "max_attempts"])
    assert (await idle.submit("echo", **optional))["queue"] == "default"


async def test_the_job_shows_its_place_in_line(idle: Live) -> None:
    first, second = await idle.submit("echo"), await idle.submit("echo")
    urgent, elsewhere = await idle.submit("echo", priority=1), await idle.submit("echo", queue="other")
    places = [(await idle.job(job["id"]))["position"] for job in (urgent, first, second, elsewhere)]
    assert places == [1, 2, 3, 1]


async def test_the_status_monitor_answers_200_until_the_job_is_over_then_303(quick: Live) -> None:
    job = await quick.submit("hold")
    await quick.until(job["id"], "running")
    path = f"/v1/jobs/{job['id']}/status"
    answer = await quick.client.get(path)
    assert answer.status_code == 200
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["state"] == "running"
    await quick.client.post(f"/v1/jobs/{job['id']}/cancel")
    await quick.until(job["id"], "cancelled")
    answer = await quick.client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}/result"
    assert "retry-after" not in answer.headers
    assert answer.json()["state"] == "cancelled"
    stays = await quick.client.get(path, params={"redirect": "false"})
    assert stays.status_code == 200
    assert stays.json() == answer.json()
    assert (await quick.client.get(path, params={"redirect": "true"})).status_code == 303
    assert problem(await quick.client.get(path, params={"redirect": "maybe"}), 400, "malformed-request")


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "text ☃", [], {}, {"a": [1, {"b": None}]}, "x" * 100_000])
async def test_the_result_is_the_value_that_was_returned(quick: Live, value: Any) -> None:
    job = await quick.submit("echo", args={"value": value})
    done = await quick.until(job["id"], "completed")
    answer = await quick.client.get(f"/v1/jobs/{job['id']}/result")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == value
    assert done["attempt"] == 1
    assert done["error"] is None
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]


async def test_a_result_that_is_not_there_says_why(quick: Live) -> None:
    running = await quick.submit("hold")
    early = await quick.client.get(f"/v1/jobs/{running['id']}/result")
    problem(early, 409, "job-not-finished")
    assert int(early.headers["retry-after"]) >= 1

    failed = await quick.until((await quick.submit("fail", args={"message": "no sugar"}))["id"], "failed")
    found = problem(await quick.client.get(f"/v1/jobs/{failed['id']}/result"), 409, "job-failed")
    assert found["error"] == failed["error"]
    assert found["error"]["message"] == "no sugar"
    assert found["error"]["type"] == "JobFailed"
    assert found["error"]["attempt"] == 1

    await quick.client.post(f"/v1/jobs/{running['id']}/cancel")
    await quick.until(running["id"], "cancelled")
    problem(await quick.client.get(f"/v1/jobs/{running['id']}/result"), 409, "job-cancelled")


async def test_a_waiting_job_is_cancelled_at_once(idle: Live) -> None:
    for options in ({}, {"delay": 3600}):
        job = await idle.submit("echo", **options)
        answer = await idle.client.post(f"/v1/jobs/{job['id']}/cancel", json={"reason": "not hungry"})
        assert answer.status_code == 200
        assert answer.json()["state"] == "cancelled"
        assert answer.json()["error"]["message"] == "not hungry"
        assert TIME.fullmatch(answer.json()["finished_at"])
        again = await idle.client.post(f"/v1/jobs/{job['id']}/cancel")
        assert again.status_code == 200
        assert again.json() == answer.json()


async def test_a_running_job_is_asked_to_stop(quick: Live) -> None:
    for method, path in [("POST", "cancel"), ("DELETE", "status")]:
        job = await quick.submit("hold")
        await quick.until(job["id"], "running")
        answer = await quick.client.request(method, f"/v1/jobs/{job['id']}/{path}")
        assert answer.status_code == 202
        assert answer.json()["state"] == "cancelling"
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}/status"
        assert (await quick.until(job["id"], "cancelled"))["attempt"] == 1


async def test_a_finished_job_can_not_be_cancelled(quick: Live) -> None:
    for kind, state in [("echo", "completed"), ("fail", "failed")]:
        job = await quick.until((await quick.submit(kind))["id"], state)
        problem(await quick.client.post(f"/v1/jobs/{job['id']}/cancel"), 409, "job-finished")
        problem(await quick.client.delete(f"/v1/jobs/{job['id']}/status"), 409, "job-finished")


async def test_a_cancellation_with_a_bad_body_is_refused(idle: Live) -> None:
    job = await idle.submit("echo")
    path = f"/v1/jobs/{job['id']}/cancel"
    for body, status, kind in [
        (b"{", 400, "malformed-request"),
        (b"[]", 422, "validation-failed"),
        (b"null", 422, "validation-failed"),
        (b'{"reason":5}', 422, "validation-failed"),
        (b'{"reasons":""}', 422, "validation-failed"),
        (b'{"reason":"' + b"x" * 1001 + b'"}', 422, "validation-failed"),
    ]:
        answer = await idle.client.post(path, content=body, headers={"Content-Type": "application/json"})
        problem(answer, status, kind)
    assert (await idle.job(job["id"]))["state"] == "queued"


async def test_a_job_starts_over_with_a_fresh_budget_and_new_attempt_numbers(quick: Live) -> None:
    job = await quick.submit("flaky", args={"succeed_on": 5}, max_attempts=2)
    failed = await quick.until(job["id"], "failed")
    assert failed["attempt"] == 2
    answer = await quick.client.post(f"/v1/jobs/{job['id']}/retry")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}/status"
    assert int(answer.headers["retry-after"]) >= 1
    retried = answer.json()
    assert (retried["state"], retried["error"], retried["finished_at"], retried["progress"]) == (
        "queued",
        None,
        None,
        None,
    )
    assert retried["seq"] == failed["seq"] + 1
    assert (await quick.until(job["id"], "failed"))["attempt"] == 4
    await quick.client.post(f"/v1/jobs/{job['id']}/retry")
    done = await quick.until(job["id"], "completed")
    assert done["attempt"] == 5
    assert (await quick.client.get(f"/v1/jobs/{job['id']}/result")).json() == 5


async def test_a_completed_job_that_runs_again_has_no_result_meanwhile(quick: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    job = await quick.submit("wait_for", args={"path": str(gate)})
    await quick.until(job["id"], "completed")
    gate.unlink()
    assert (await quick.client.post(f"/v1/jobs/{job['id']}/retry")).status_code == 202
    problem(await quick.client.get(f"/v1/jobs/{job['id']}/result"), 409, "job-not-finished")
    await quick.until(job["id"], "running")
    problem(await quick.client.post(f"/v1/jobs/{job['id']}/retry"), 409, "job-active")
    gate.touch()
    assert (await quick.until(job["id"], "completed"))["attempt"] == 2
    assert (await quick.client.get(f"/v1/jobs/{job['id']}/result")).json() == "found"


async def test_only_a_finished_job_can_be_retried(idle: Live) -> None:
    for options in ({}, {"delay": 3600}):
        job = await idle.submit("echo", **options)
        problem(await idle.client.post(f"/v1/jobs/{job['id']}/retry"), 409, "job-active")


async def test_a_deleted_job_is_gone_with_all_that_it_had(quick: Live) -> None:
    job = await quick.until((await quick.submit("chatty", tags=["purge me"]))["id"], "completed")
    files = (await quick.shop.open()).files
    assert list(files.of_job(job["id"]).iterdir())
    answer = await quick.client.delete(f"/v1/jobs/{job['id']}")
    assert answer.status_code == 204
    assert answer.content == b""
    assert not files.of_job(job["id"]).exists()
    for method, path in [
        ("GET", ""), ("DELETE", ""), ("GET", "/status"), ("DELETE", "/status"), ("GET", "/result"), ("GET", "/logs"),
        ("GET", "/files"), ("GET", "/files/notes.txt"), ("POST", "/cancel"), ("POST", "/retry"),
    ]:  # fmt: skip
        problem(await quick.client.request(method, f"/v1/jobs/{job['id']}{path}"), 404, "not-found")
    assert (await quick.client.get("/v1/jobs", params={"tag": "purge me"})).json()["jobs"] == []


async def test_a_running_job_can_not_be_deleted_and_a_waiting_one_can(quick: Live) -> None:
    job = await quick.submit("hold")
    await quick.until(job["id"], "running")
    problem(await quick.client.delete(f"/v1/jobs/{job['id']}"), 409, "job-active")
    later = await quick.submit("echo", delay=3600)
    assert (await quick.client.delete(f"/v1/jobs/{later['id']}")).status_code == 204


async def test_a_job_that_does_not_exist_is_404_everywhere(idle: Live) -> None:
    for name in [NOBODY, NOBODY.upper(), "1", "%00", "%ff", "..%2f..", "☃", "x" * 2000, "'; DROP TABLE job; --"]:
        for method, path in [("GET", ""), ("GET", "/status"), ("GET", "/result"), ("GET", "/logs"), ("GET", "/files"),
                             ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")]:  # fmt: skip
            problem(await idle.client.request(method, f"/v1/jobs/{name}{path}"), 404, "not-found")


async def test_a_delayed_job_waits_and_then_runs(quick: Live) -> None:
    job = await quick.submit("echo", delay=0.05)
    assert job["state"] == "scheduled"
    assert TIME.fullmatch(job["run_at"])
    done = await quick.until(job["id"], "completed")
    assert done["started_at"] >= job["run_at"]
    assert done["run_at"] is None


async def test_a_job_runs_at_its_time_and_at_once_when_that_is_past(idle: Live) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job = await idle.submit("echo", run_at=soon)
    assert (job["state"], job["run_at"][:19]) == ("scheduled", soon[:19])
    elsewhere = await idle.submit("echo", run_at="2999-01-31T09:30:00+05:30")
    assert elsewhere["run_at"] == "2999-01-31T04:00:00.000Z"
    for past in ["2001-01-31T09:30:00Z", "2001-01-31t09:30:00.123456z", "0002-01-01T00:00:00+14:00"]:
        job = await idle.submit("echo", run_at=past)
        assert (job["state"], job["run_at"]) == ("queued", None)
    assert (await idle.submit("echo", delay=0))["state"] == "queued"


async def test_the_highest_priority_runs_first_then_the_oldest() -> None:
    shop = quick_shop(concurrency=1)
    async with serving(shop, shop) as one:
        blocker = await one.submit("hold")
        await one.until(blocker["id"], "running")
        wanted = [(await one.submit("echo", priority=priority))["id"] for priority in (0, 5, -1, 5, 9)]
        await one.client.post(f"/v1/jobs/{blocker['id']}/cancel")
        done = [await one.until(job_id, "completed") for job_id in wanted]
        order = sorted(
            range(5), key=lambda index: (done[index]["started_at"], int(done[index]["cursor"].split("-")[1]))
        )
        assert order == [4, 1, 3, 0, 2]


async def test_a_full_queue_takes_no_more_and_stores_nothing_of_it() -> None:
    shop = quick_shop(workers=False, max_waiting=2)
    async with serving(shop, shop) as idle:
        await idle.submit("echo")
        await idle.submit("echo", delay=3600)
        full = await idle.client.post("/v1/jobs", json={"kind": "echo"})
        problem(full, 503, "queue-full")
        assert int(full.headers["retry-after"]) >= 1
        await idle.submit("echo", queue="another")
        assert (await idle.client.get("/v1/stats")).json()["states"]["queued"] == 2


async def test_a_draining_server_takes_no_jobs_but_shows_them(idle: Live) -> None:
    job = await idle.submit("echo")
    over = await idle.submit("echo")
    await idle.client.post(f"/v1/jobs/{over['id']}/cancel")
    await idle.shop.drain()
    for answer in [
        await idle.client.post("/v1/jobs", json={"kind": "echo"}),
        await idle.client.post(f"/v1/jobs/{over['id']}/retry"),
        await idle.client.get("/readyz"),
    ]:
        problem(answer, 503, "draining")
        assert int(answer.headers["retry-after"]) >= 1
    assert (await idle.job(job["id"]))["state"] == "queued"
    assert (await idle.client.get("/livez")).status_code == 200


async def test_jobs_submitted_at_once_all_complete(quick: Live) -> None:
    jobs = await asyncio.gather(*(quick.submit("echo", args={"value": number}) for number in range(60)))
    assert len({job["id"] for job in jobs}) == 60

    async def all_done() -> bool | None:
        states = (await quick.client.get("/v1/stats")).json()["states"]
        return True if states["completed"] == 60 else None

    await eventually(all_done)
