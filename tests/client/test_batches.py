"""Batches by the client, blocking and asynchronous, against a real server."""

import pytest

from jalebi.client import NotFound
from tests.client.styles import Async, Sync
from tests.support import Live


async def test_a_batch_is_handed_in_watched_and_fetched(client: Async | Sync, quick: Live) -> None:
    jobs = [{"kind": "echo", "args": {"value": 1}}, {"kind": "fail"}, {"kind": "echo", "after": ["/jobs/0"]}]
    batch = await client.do("submit_batch", jobs, last={"kind": "echo"})
    assert len(batch.jobs) == 3
    for job in batch.jobs:
        await client.do("wait", job.id)
    await client.do("wait", batch.wire["finally"])
    found = await client.do("batch", batch.id)
    assert (found.state, found.counts["completed"], found.counts["failed"]) == ("failed", 2, 1)
    outcomes = await client.all("results", batch.id)
    assert [(one.job_id, one.state, one.result) for one in outcomes] == [
        (batch.jobs[0].id, "completed", 1), (batch.jobs[1].id, "failed", None), (batch.jobs[2].id, "completed", None),
    ]  # fmt: skip
    assert outcomes[1].error["message"] == "it broke"
    listed = await client.all("list", batch=batch.id)
    assert {job.id for job in listed} == {job.id for job in batch.jobs}


async def test_a_batch_is_cancelled_and_what_is_none_is_said(client: Async | Sync) -> None:
    batch = await client.do("submit_batch", [{"kind": "echo", "delay": 900}] * 3)
    assert (await client.do("cancel_batch", batch.id, "enough")).state == "cancelled"
    for verb in ("batch", "cancel_batch"):
        with pytest.raises(NotFound):
            await client.do(verb, "none")
