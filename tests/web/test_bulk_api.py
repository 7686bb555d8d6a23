"""Bulk actions over HTTP: dry runs, what is expected, and the job that acts."""

from typing import Any

import pytest

from tests.support import Live
from tests.web.raw import problem


async def bulk(live: Live, **body: Any) -> Any:
    """Send a bulk action."""
    return await live.client.post("/v1/jobs/bulk", json=body)


async def result(live: Live, answer: Any) -> dict[str, Any]:
    """Return what the job of a bulk action has returned."""
    assert answer.status_code == 202, answer.text
    await live.until(answer.json()["id"], "completed")
    return dict((await live.client.get(f"/v1/jobs/{answer.json()['id']}/result")).json())


async def state(live: Live, job_id: str) -> str:
    """Return a job's state."""
    return str((await live.client.get(f"/v1/jobs/{job_id}")).json()["state"])


async def test_a_dry_run_counts_and_shows_some_and_changes_nothing(idle: Live) -> None:
    made = [(await idle.submit("echo", tags=["a"]))["id"] for _ in range(8)]
    await idle.submit("echo", tags=["b"])
    answer = await bulk(idle, action="delete", filter={"tag": "a"}, dry_run=True)
    assert answer.status_code == 200
    assert answer.json()["matching"] == 8
    assert answer.json()["exact"] is True
    assert [job["id"] for job in answer.json()["sample"]] == made[:-6:-1]
    assert [await state(idle, job_id) for job_id in made] == ["queued"] * 8


async def test_everything_that_matches_is_cancelled_and_nothing_else(quick: Live) -> None:
    waiting = [(await quick.submit("echo", delay=3600, queue="mail"))["id"] for _ in range(230)]
    other = (await quick.submit("echo", delay=3600))["id"]
    assert await result(quick, await bulk(quick, action="cancel", filter={"queue": ["mail"]}, expect=230)) == {
        "action": "cancel", "matched": 230, "changed": 230, "skipped": 0,
    }  # fmt: skip
    assert {await state(quick, job_id) for job_id in waiting} == {"cancelled"}
    assert await state(quick, other) == "scheduled"


async def test_what_an_action_does_not_fit_is_skipped_and_told(quick: Live) -> None:
    done = await quick.until((await quick.submit("echo"))["id"], "completed")
    waits = (await quick.submit("echo", delay=3600))["id"]
    answer = await bulk(quick, action="retry", filter={"id": [done["id"], waits]})
    assert await result(quick, answer) == {"action": "retry", "matched": 2, "changed": 1, "skipped": 1}
    lines = (await quick.client.get(f"/v1/jobs/{answer.json()['id']}/logs")).text
    assert waits in lines
    await quick.until(done["id"], "completed")


async def test_more_than_expected_is_refused_and_nothing_is_touched(idle: Live) -> None:
    made = [(await idle.submit("echo"))["id"] for _ in range(3)]
    refused = problem(await bulk(idle, action="delete", filter={}, expect=2), 409, "bulk-grew")
    assert refused["matching"] == 3
    assert [await state(idle, job_id) for job_id in made] == ["queued"] * 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "explode", "filter": {}}, "/action"),
        ({"action": "cancel"}, "/filter"),
        ({"action": "cancel", "filter": {"state": "asleep"}}, "/filter/state"),
        ({"action": "cancel", "filter": {"stat": "queued"}}, "/filter/stat"),
        ({"action": "cancel", "filter": {"created_after": "yesterday"}}, "/filter/created_after"),
        ({"action": "cancel", "filter": {}, "expect": -1}, "/expect"),
        ({"action": "cancel", "filter": {}, "dry_run": "yes"}, "/dry_run"),
        ({"action": "cancel", "filter": {"kind": ["x"] * 51}}, "/filter/kind"),
    ],
)
async def test_what_is_wrong_is_pointed_at(idle: Live, body: dict[str, Any], pointer: str) -> None:
    refused = problem(await bulk(idle, **body), 422, "validation-failed")
    assert pointer in {error["pointer"] for error in refused["errors"]}


async def test_nobody_submits_a_bulk_action_by_its_kind(idle: Live) -> None:
    problem(await idle.client.post("/v1/jobs", json={"kind": "jalebi.bulk", "args": {}}), 422, "unknown-kind")
    assert all(not kind["name"].startswith("jalebi.") for kind in (await idle.client.get("/v1/kinds")).json()["kinds"])


async def test_a_full_worker_still_cancels_in_bulk(quick: Live) -> None:
    concurrency = quick.shop.settings.concurrency
    held = [(await quick.submit("hold", queue="held"))["id"] for _ in range(concurrency)]
    for job_id in held:
        await quick.until(job_id, "running")
    await result(quick, await bulk(quick, action="cancel", filter={"queue": "held"}))
    for job_id in held:
        await quick.until(job_id, "cancelled")
