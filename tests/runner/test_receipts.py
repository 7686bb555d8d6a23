"""The receipts of a cancellation: requested, delivered, acknowledged, stopped or killed, in every isolation."""

from typing import Any

import pytest

from jalebi.jobs import Cancellation, Job, State
from jalebi.store import reads
from tests.support import Live, eventually, finished, opened, reached
from tests.targets import kinds
from tests.targets.quick import quick_shop

ORDER = ("requested_at", "delivered_at", "acknowledged_at", "stopped_at", "killed_at")


def times(receipts: Cancellation | None) -> dict[str, float]:
    """Return the receipts that there are; they must be in order."""
    assert receipts is not None
    found = {name: at for name in ORDER if (at := getattr(receipts, name)) is not None}
    assert list(found.values()) == sorted(found.values())
    return found


async def cancelled_while_running(shop: Any, kind: str, **args: Any) -> Job:
    rooms = await shop.open()
    job = await shop.submit(kind, args)
    await reached(shop, job, State.RUNNING)

    async def stirring() -> bool | None:
        lines = await rooms.store.read(lambda connection: reads.log_lines(connection, job.id))
        found = await rooms.queue.get(job.id)
        return True if lines or found.progress else None

    await eventually(stirring)
    await rooms.queue.cancel(job.id)
    return await finished(shop, job)


@pytest.mark.parametrize(
    ("kind", "args", "names"),
    [
        ("hold", {}, ["requested_at", "delivered_at", "acknowledged_at", "stopped_at"]),
        ("misbehave", {"how": "polite"}, ["requested_at", "delivered_at", "acknowledged_at", "stopped_at"]),
        ("misbehave", {"how": "sleep"}, ["requested_at", "delivered_at", "acknowledged_at", "stopped_at"]),
        ("misbehave", {"how": "stubborn"}, ["requested_at", "delivered_at", "killed_at"]),
        ("thread_steps", {"count": 100_000}, ["requested_at", "delivered_at", "acknowledged_at", "stopped_at"]),
    ],
)
async def test_each_step_of_a_cancellation_has_its_time(kind: str, args: dict[str, Any], names: list[str]) -> None:
    shop = quick_shop() if kind == "hold" else kinds.make_shop(database_url="sqlite://", cancel_grace=0.4)
    async with opened(shop):
        job = await cancelled_while_running(shop, kind, **args)
        assert job.state is State.CANCELLED
        assert list(times(job.cancellation)) == names


async def test_a_waiting_job_is_stopped_as_it_is_asked() -> None:
    shop = quick_shop(workers=False)
    async with opened(shop):
        job = await shop.submit("echo")
        found = await (await shop.open()).queue.cancel(job.id)
        assert list(times(found.cancellation)) == ["requested_at", "stopped_at"]


async def test_the_events_carry_the_receipts_and_a_retry_starts_without_them(quick: Live) -> None:
    job = await quick.submit("hold")
    await quick.until(job["id"], "running")
    await quick.client.post(f"/v1/jobs/{job['id']}/cancel")
    await quick.until(job["id"], "cancelled")
    await quick.client.post(f"/v1/jobs/{job['id']}/retry")
    await quick.until(job["id"], "running")
    events = (await quick.client.get(f"/v1/jobs/{job['id']}/events")).json()["events"]
    receipts = [(event["type"], event["job"]["cancellation"]) for event in events]
    named = [(name, [key for key, at in (found or {}).items() if at]) for name, found in receipts]
    assert named == [
        ("created", []),
        ("started", []),
        ("cancelling", ["requested_at"]),
        ("cancelled", ["requested_at", "delivered_at", "acknowledged_at", "stopped_at"]),
        ("queued", []),
        ("started", []),
    ]


async def test_a_receipt_of_an_attempt_that_lost_its_job_changes_nothing() -> None:
    shop = quick_shop()
    async with opened(shop):
        rooms = await shop.open()
        job = await shop.submit("hold")
        running = await reached(shop, job, State.RUNNING)
        await rooms.store.record_receipt(job.id, running.attempt, "delivered", at=1.0)  # nobody has cancelled it
        assert (await rooms.queue.get(job.id)).cancellation is None
        await rooms.store.cancel(job.id, None)
        await rooms.store.record_receipt(job.id, running.attempt + 1, "delivered", at=1.0)
        receipts = (await rooms.queue.get(job.id)).cancellation
        assert receipts is not None
        assert receipts.delivered_at is None
