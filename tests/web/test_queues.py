"""Queues over HTTP: what waits, pause, resume."""

from typing import Any

from tests.support import Live
from tests.web.raw import problem


async def queue(live: Live, name: str) -> dict[str, Any]:
    """Return one queue as the list has it."""
    answer = await live.client.get("/v1/queues")
    assert answer.status_code == 200
    return dict(next(one for one in answer.json()["queues"] if one["name"] == name))


async def test_every_queue_is_listed_also_one_without_jobs(idle: Live) -> None:
    await idle.submit("echo", queue="mail")
    await idle.submit("echo", queue="mail", delay=3600)
    mail = await queue(idle, "mail")
    assert mail["oldest_wait_seconds"] >= 0
    assert {**mail, "oldest_wait_seconds": 0} == {
        "name": "mail", "depth": 2, "running": 0, "oldest_wait_seconds": 0, "max_running": None, "paused": False,
    }  # fmt: skip
    assert (await queue(idle, "default"))["oldest_wait_seconds"] is None


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(quick: Live) -> None:
    paused = await quick.client.post("/v1/queues/default/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    held = await quick.submit("echo")
    other = await quick.submit("echo", queue="other")
    await quick.until(other["id"], "completed")
    assert (await quick.client.get(f"/v1/jobs/{held['id']}")).json()["state"] == "queued"
    assert (await queue(quick, "default"))["paused"] is True
    assert (await quick.client.post("/v1/queues/default/pause")).status_code == 200
    resumed = await quick.client.post("/v1/queues/default/resume")
    assert (resumed.status_code, resumed.json()["paused"]) == (200, False)
    await quick.until(held["id"], "completed")


async def test_a_queue_that_nobody_knows_is_not_found(idle: Live) -> None:
    for action in ("pause", "resume"):
        problem(await idle.client.post(f"/v1/queues/nowhere/{action}"), 404, "not-found")
