"""The client against a real server: each method, blocking and asynchronous."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from jalebi import client as names
from jalebi.client import AsyncClient, Client, Job
from tests.client.proxy import CALL, Proxy
from tests.client.styles import Async, Style, Sync, check_job
from tests.support import Live, serving
from tests.targets.quick import quick_shop

Any_ = Async | Sync


async def test_a_job_is_submitted_looked_at_awaited_and_fetched(client: Any_) -> None:
    job = await client.do("submit", "steps", {"count": 3}, tags=["a"], priority=4, timeout=60, max_attempts=2)
    assert isinstance(job, Job)
    assert (job.kind, job.args, job.tags, job.priority) == ("steps", {"count": 3, "pause": 0.02}, ("a",), 4)
    assert (job.timeout, job.max_attempts, job.wire["id"]) == (60, 2, job.id)
    assert (await client.do("get", job.id)).id == job.id
    over = await client.do("wait", job.id, 20)
    assert (over.state, over.terminal) == ("completed", True)
    assert over.created_at <= over.started_at <= over.finished_at
    assert over.progress.fraction == 1.0
    assert await client.do("result", job.id) == 3


async def test_a_submission_can_wait_for_its_end(client: Any_) -> None:
    assert (await client.do("submit", "steps", {"count": 2}, wait=20)).state == "completed"
    held = await client.do("submit", "hold", wait=0.05)
    assert not held.terminal
    with pytest.raises(names.WaitTimeout) as late:
        await client.do("wait", held.id, 0.05)
    assert isinstance(late.value, TimeoutError)
    assert late.value.job.id == held.id


async def test_times_may_be_datetimes(client: Any_) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    job = await client.do("submit", "echo", run_at=at.astimezone())
    assert (job.state, job.run_at) == ("scheduled", at)
    assert (await client.do("submit", "echo", delay=3600)).state == "scheduled"
    found = await client.all("list", created_before=at, created_after=at - timedelta(hours=2), state="scheduled")
    assert len(found) == 2


async def test_a_submission_whose_answer_is_lost_makes_one_job(beyond: Any_, proxy: Proxy) -> None:
    lost = iter([20, 300])
    proxy.budget = lambda kind: next(lost, None)
    job = await beyond.do("submit", "echo", {"value": 1})
    assert proxy.cuts == 2
    assert [one.id for one in await beyond.all("list")] == [job.id]
    again = await beyond.do("submit", "echo", {"value": 1}, idempotency_key="mine")
    assert (await beyond.do("submit", "echo", {"value": 1}, idempotency_key="mine")).id == again.id != job.id
    with pytest.raises(names.KeyReused):
        await beyond.do("submit", "echo", {"value": 2}, idempotency_key="mine")


async def test_nobody_there_is_said_in_time(style: Style, proxy: Proxy) -> None:
    await proxy.down()
    found = style(proxy.url, patience=0.2)
    with pytest.raises(names.Unreachable, match=r"Connection refused|All connection attempts failed"):
        await found.do("get", "x")
    with pytest.raises(names.Unreachable):
        await found.all("events", "x")
    await found.close()


async def test_a_server_that_comes_back_is_waited_for(beyond: Any_, proxy: Proxy, quick: Live) -> None:
    refused = iter([0, 0])
    proxy.budget = lambda kind: next(refused, None)
    assert (await beyond.do("kinds"))[0].name == "chatty"
    assert proxy.opened[CALL] == 3


async def test_results_that_are_not_there_are_errors_of_their_own(client: Any_) -> None:
    held = await client.do("submit", "hold")
    with pytest.raises(names.JobNotFinished):
        await client.do("result", held.id)
    with pytest.raises(names.JobActive):
        await client.do("retry", held.id)
    asked = await client.do("cancel", held.id, "no more sugar")
    assert asked.state in {"cancelling", "cancelled"}
    assert (await client.do("wait", held.id, 20)).state == "cancelled"
    with pytest.raises(names.JobCancelled):
        await client.do("result", held.id)
    failed = await client.do("submit", "fail", {"message": "burnt"}, wait=20)
    assert failed.error.message == "burnt"
    with pytest.raises(names.JobFailed, match="burnt") as why:
        await client.do("result", failed.id)
    assert why.value.error["type"] == "JobFailed"
    with pytest.raises(names.JobFinished):
        await client.do("cancel", failed.id)
    assert (await client.do("retry", failed.id)).id == failed.id


async def test_wrong_requests_are_errors_of_their_own(client: Any_) -> None:
    with pytest.raises(names.UnknownKind):
        await client.do("submit", "nothing")
    with pytest.raises(names.ValidationFailed) as wrong:
        await client.do("submit", "steps", {"count": "many"})
    assert wrong.value.errors[0]["pointer"] == "/args/count"
    for ask in ("get", "wait", "result", "cancel", "retry"):
        with pytest.raises(names.NotFound):
            await client.do(ask, "nothing/../x")
    with pytest.raises(names.MalformedRequest):
        await client.all("list", state="dreaming")


async def test_a_full_queue_is_an_error_once_the_patience_is_over(style: Style) -> None:
    shop = quick_shop(workers=False, max_waiting=1)
    async with serving(shop, shop) as live:
        found = style(live.url, patience=0.1)
        await found.do("submit", "echo")
        with pytest.raises(names.QueueFull):
            await found.do("submit", "echo")
        await found.close()


async def test_lists_have_filters_and_as_many_jobs_as_are_wanted(client: Any_) -> None:
    jobs = [await client.do("submit", "echo", {"value": n}, tags=["odd" if n % 2 else "even"]) for n in range(5)]
    other = await client.do("submit", "odd:name.of-a_kind")
    found = await client.all("list")
    assert [job.id for job in found] == [job.id for job in [other, *reversed(jobs)]]
    assert all(one.created_at >= two.created_at for one, two in pairwise(found))
    assert [job.args for job in await client.all("list", tag="odd", kind=["echo"])] == [{"value": 3}, {"value": 1}]
    assert [job.id for job in await client.all("list", queue="odd")] == [other.id]
    assert len(await client.all("list", limit=2)) == 2
    assert [job.id for job in await client.all("list", q=jobs[2].id)] == [jobs[2].id]


async def test_logs_are_read_and_followed(client: Any_, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    job = await client.do("submit", "talk", {"lines": 3, "after": str(gate)})
    assert await client.all("logs", job.id) == []
    gate.touch()
    lines = await client.all("logs", job.id, follow=True)
    assert [(line.line, line.message[:2], line.level) for line in lines] == [
        (1, "0 ", "info"), (2, "1 ", "info"), (3, "2 ", "info"),
    ]  # fmt: skip
    assert set(lines[0].wire) == {"line", "at", "level", "message"}
    assert await client.all("logs", job.id) == lines
    assert await client.all("logs", job.id, 1) == lines[1:]


async def test_kinds_have_their_schemas(client: Any_) -> None:
    kinds = {kind.name: kind for kind in await client.do("kinds")}
    assert kinds["typed"].args_schema["required"] == ["title"]
    assert kinds["echo"].duration.p50 is None


async def test_a_token_is_needed_and_opens_every_channel(style: Style) -> None:
    shop = quick_shop(token="sugar")
    async with serving(shop, shop) as live:
        stranger = style(live.url)
        for ask in ("get", "result"):
            with pytest.raises(names.Unauthorized):
                await stranger.do(ask, "x")
        with pytest.raises(names.Unauthorized):
            await stranger.all("events", "x")
        await stranger.close()
        friend = style(live.url, "sugar")
        job = await friend.do("submit", "steps", {"count": 2})
        check_job(await friend.all("events", job.id))
        await friend.close()


async def test_a_mounted_shop_is_reached_under_its_prefix(style: Style) -> None:
    shop = quick_shop()
    app = Starlette(routes=[Mount("/tools/jobs", shop)], lifespan=shop.lifespan)
    async with serving(app, shop, "/tools/jobs") as live:
        found = style(f"{live.url}/")
        job = await found.do("submit", "steps", {"count": 2})
        check_job(await found.all("events", job.id))
        assert await found.do("result", job.id) == 2
        await found.close()
        lost = style(live.url.removesuffix("/jobs"))
        for ask in (lost.do("get", job.id), lost.all("events", job.id)):
            with pytest.raises(names.NotFound):
                await ask
        await lost.close()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match="is not an address"):
            kind(url)


async def test_both_clients_close_with_a_block(quick: Live) -> None:
    async with AsyncClient(quick.url) as found:
        assert await found.kinds()
    with Client(quick.url) as other:
        other.close()


def test_both_clients_have_the_same_methods() -> None:
    one, two = ({name for name in vars(kind) if not name.startswith("_")} for kind in (Client, AsyncClient))
    assert one == two
    for name in one:
        assert getattr(Client, name).__annotations__.keys() == getattr(AsyncClient, name).__annotations__.keys()
