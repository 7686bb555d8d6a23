"""Following events through cuts and refusals: every durable event exactly once and in order, whatever the channel."""

import asyncio
import itertools
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jalebi.client import AsyncClient, Event, NotFound, following
from jalebi.client.effects import Cut, Refused
from jalebi.client.retrying import Policy
from tests.client.playing import answer
from tests.client.proxy import CALL, SSE, WS, Proxy, proxied
from tests.client.styles import Async, Style, Sync, check_job
from tests.live.test_sse import started_over
from tests.support import Live, eventually

#: What the proxy lets through, by what is then used.
REFUSED = {WS: set[str](), SSE: {WS}, CALL: {WS, SSE}}
WAYS = [WS, SSE, CALL]


def cutting(chance: random.Random, way: str) -> Callable[[str], int | None]:
    """Cut the first connections somewhere in their first kilobytes; of calls every other, for they are many."""
    count = itertools.count()

    def budget(kind: str) -> int | None:
        if kind != way:
            return None
        number = next(count)
        doomed = number % 2 == 0 if way == CALL else number < 6
        return chance.randrange(0 if way == CALL else 700, 6_000) if doomed else None

    return budget


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_job_is_followed_through_cuts(
    beyond: Async | Sync, proxy: Proxy, quick: Live, way: str, seed: int, tmp_path: Path
) -> None:
    proxy.refused = REFUSED[way]
    gate = tmp_path / "gate"
    job = await quick.submit("talk", args={"lines": 150, "after": str(gate)})
    proxy.budget = cutting(random.Random(seed), way)
    reading = asyncio.ensure_future(beyond.all("events", job["id"]))
    gate.touch()
    heard = await reading
    check_job(heard)
    assert [event.log.message.split()[0] for event in heard if event.log] == [str(n) for n in range(150)]
    assert proxy.cuts >= (1 if way == CALL else 3)
    assert proxy.opened[way] > proxy.cuts
    again = await beyond.all("events", job["id"], heard[99].seq)
    assert [event.wire for event in again] == [event.wire for event in heard[100:] if event.durable]


@pytest.mark.parametrize("way", WAYS)
async def test_progress_comes_in_between_through_cuts(
    beyond: Async | Sync, proxy: Proxy, quick: Live, way: str
) -> None:
    proxy.refused = REFUSED[way]
    left = iter([400, None, 400, None, None] if way == CALL else [2500] * 4)
    proxy.budget = lambda kind: next(left, None) if kind == way else None
    job = await quick.submit("steps", args={"count": 60, "pause": 0.02})
    heard = await beyond.all("events", job["id"])
    check_job(heard)
    shown = [event.progress.done for event in heard if event.progress]
    assert len(shown) > 2
    assert shown == sorted(shown)
    assert proxy.cuts >= 2
    assert proxy.opened[way] >= 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_is_away_for_a_while_is_found_again(
    style: Style, proxy: Proxy, quick: Live, way: str, tmp_path: Path
) -> None:
    proxy.refused = REFUSED[way]
    gate = tmp_path / "gate"
    job = await quick.submit("talk", args={"lines": 20, "after": str(gate)})
    client = style(proxy.url, patience=15.0)
    reading = asyncio.ensure_future(client.all("events", job["id"]))

    async def open_() -> bool | None:
        return True if proxy.opened[way] else None

    await eventually(open_)
    await proxy.down()
    gate.touch()
    await quick.until(job["id"], "completed")
    await proxy.up()
    check_job(await reading)
    await client.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_job_that_was_started_over_is_followed_to_its_newest_end(
    beyond: Async | Sync, proxy: Proxy, quick: Live, way: str
) -> None:
    proxy.refused = REFUSED[way]
    job = await quick.submit("echo")
    await quick.until(job["id"], "completed")
    await beyond.do("retry", job["id"])
    await beyond.do("wait", job["id"], 20)
    heard = await beyond.all("events", job["id"])
    check_job(heard)
    durable = ["created", "started", "completed", "queued", "started", "completed"]
    assert [event.type for event in heard if event.durable] == durable
    assert await beyond.all("events", job["id"], heard[-1].seq) == []
    assert [event.seq for event in await beyond.all("events", job["id"], 4) if event.durable] == [5, 6]


@pytest.mark.parametrize("way", WAYS)
async def test_a_job_that_is_not_there_is_said(beyond: Async | Sync, proxy: Proxy, way: str) -> None:
    proxy.refused = REFUSED[way]
    with pytest.raises(NotFound):
        await beyond.all("events", "nothing")


@pytest.mark.parametrize("way", WAYS)
async def test_a_job_that_is_deleted_before_its_end_is_said(
    beyond: Async | Sync, proxy: Proxy, idle: Live, style: Style, way: str
) -> None:
    async with proxied(idle.url) as before:
        before.refused = REFUSED[way]
        client = style(before.url)
        job = await idle.submit("echo")
        reading = asyncio.ensure_future(client.all("events", job["id"]))

        async def open_() -> bool | None:
            return True if before.opened[way] else None

        await eventually(open_)
        assert (await idle.client.delete(job["links"]["self"])).status_code == 204
        with pytest.raises(NotFound):
            await reading
        await client.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [3, 4])
async def test_all_jobs_are_followed_through_cuts(
    beyond: Async | Sync, proxy: Proxy, quick: Live, way: str, seed: int
) -> None:
    proxy.refused = REFUSED[way]
    start = (await quick.until((await quick.submit("echo"))["id"], "completed"))["cursor"]
    proxy.budget = cutting(random.Random(seed), way)
    jobs = [await quick.submit("talk", args={"lines": 20}, tags=["mine"]) for _ in range(8)]
    await quick.submit("talk", args={"lines": 20}, tags=["other"])
    found = await beyond.all("all_events", tag="mine", after=start, until=lambda found: told(found) == 8 * 23)
    heard = [event for event in found if event.durable or event.type == "progress"]
    for job in jobs:
        mine = [event for event in heard if event.job_id == job["id"]]
        check_job(mine)
    assert proxy.cuts >= (1 if way == CALL else 3)


def told(heard: list[Event]) -> int:
    """Return how many durable events there are."""
    return sum(event.durable for event in heard)


@pytest.mark.parametrize("way", WAYS)
async def test_all_jobs_are_followed_from_now_on_and_it_is_said_from_where(proxy: Proxy, quick: Live, way: str) -> None:
    proxy.refused = REFUSED[way]
    before = await quick.until((await quick.submit("echo"))["id"], "completed")
    async with AsyncClient(proxy.url) as client:
        events = client.all_events(kind="echo")
        hello = await anext(events)
        assert (hello.type, hello.cursor) == ("hello", before["cursor"])
        await proxy.down()
        await proxy.up()
        job = await quick.submit("echo")
        heard = [event for event in [await anext(events) for _ in range(3)] if event.durable]
        assert [(event.job_id, event.seq) for event in heard] == [(job["id"], n) for n in (1, 2, 3)][: len(heard)]
        await events.aclose()


@pytest.mark.parametrize("way", WAYS)
async def test_who_was_away_for_too_long_starts_over(proxy: Proxy, quick: Live, way: str) -> None:
    proxy.refused = REFUSED[way]
    made = await started_over(quick)
    async with AsyncClient(proxy.url) as client:
        events = client.all_events(after=made["start"])
        said: list[Event] = []
        while not (said and said[-1].type == "hello" and any(event.type == "reset" for event in said)):
            said.append(await anext(events))
        told = [event for event in said if event.type == "snapshot"]
        held = {event.job.id for event in told if event.job and not event.job.terminal}
        assert held == {made["held"]["id"]}
        job = await quick.submit("echo")
        heard = [await anext(events) for _ in range(3)]
        assert next((event.job_id, event.seq) for event in heard if event.durable) == (job["id"], 1)
        await events.aclose()


async def test_a_start_over_that_is_cut_begins_again(proxy: Proxy, quick: Live) -> None:
    made = await started_over(quick)
    left = iter([1200])  # through the reset, and into the snapshots
    proxy.budget = lambda kind: next(left, None)
    async with AsyncClient(proxy.url) as client:
        events = client.all_events(after=made["start"])
        said = [await anext(events) for _ in range(2)]
        while said[-1].type != "hello":
            said.append(await anext(events))
        types = [event.type for event in said]
        assert proxy.cuts == 1
        assert types.count("reset") == 2
        assert types[-3:] == ["snapshot", "snapshot", "hello"]
        await events.aclose()


async def test_a_reader_that_stops_leaves_nothing_open(client: Async | Sync, quick: Live) -> None:
    job = await quick.submit("hold")
    [first] = await client.all("events", job["id"], until=bool)
    assert first.type == "created"
    hub = (await quick.shop.open()).hub

    async def nobody() -> bool | None:
        return True if hub.readers == 0 else None

    await eventually(nobody)


async def test_a_draining_server_ends_nothing_for_its_readers(quick: Live, proxy: Proxy, style: Style) -> None:
    job = await quick.submit("hold")
    client = style(proxy.url, patience=0.3)
    reading = asyncio.ensure_future(client.all("events", job["id"]))

    async def open_() -> bool | None:
        return True if proxy.opened[WS] else None

    await eventually(open_)
    await quick.shop.drain()
    with pytest.raises(Exception, match=r"stopping|hung up|503|draining|reached"):
        await reading
    await client.close()


class Script:
    """A place whose channels are made up, to see which of them is taken."""

    def __init__(self, *turns: Any) -> None:
        self.turns = list(turns)
        self.heard = 0
        self.ended = False
        self.took: list[int] = []

    def again(self) -> None:
        pass

    def channel(self, rung: int, *_: Any) -> Any:
        self.took.append(rung)
        turn = self.turns.pop(0)
        if turn == "tells":
            self.heard += 1
            raise Cut("broke")
        if isinstance(turn, Exception):
            raise turn
        return turn
        yield


def climbed(monkeypatch: pytest.MonkeyPatch, *turns: Any) -> list[int]:
    script = Script(*turns)
    channels = tuple(partial(script.channel, rung) for rung in range(3))
    monkeypatch.setattr(following, "CHANNELS", channels)
    monkeypatch.setattr(following, "by_pages", channels[2])
    going = following.follow(Policy(clock=lambda: 0.0), script, 30.0)  # type: ignore[arg-type]
    for _ in going:
        pass
    return script.took


def test_a_channel_is_left_only_where_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    cut, nobody = Cut("broke"), Cut("refused", sent=False)
    html = Refused(answer(403, "no"))
    busy = Refused(answer(503, "later"))
    assert climbed(monkeypatch, True) == [0]
    assert climbed(monkeypatch, *["tells"] * 9, True) == [0] * 10
    assert climbed(monkeypatch, *[nobody] * 9, True) == [0] * 10
    assert climbed(monkeypatch, cut, "tells", cut, True) == [0] * 4
    assert climbed(monkeypatch, cut, cut, True) == [0, 0, 1]
    assert climbed(monkeypatch, html, True) == [0, 1]
    assert climbed(monkeypatch, busy, busy, True) == [0, 0, 1]
    assert climbed(monkeypatch, following.Unsuitable(), html, True) == [0, 1, 2]
    assert climbed(monkeypatch, html, html, "tells", True) == [0, 1, 2, 0]  # pages work, so a better way is tried again
    assert climbed(monkeypatch, Refused(answer(204))) == [0]
