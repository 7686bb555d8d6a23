"""The same jobs followed in every way at once, each cut at random: all see the same facts, each once and in order."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.live.cutting import cutting
from tests.support import Live

JOBS = 500
TERMINAL = {"completed", "failed", "cancelled"}
Message = dict[str, Any]
Source = Callable[[str, str | None], AsyncIterator[Message]]


async def polled(url: str, cursor: str | None) -> AsyncIterator[Message]:
    """Ask for pages, again and again."""
    async for event in _pages(url, cursor, {}):
        yield event


async def long_polled(url: str, cursor: str | None) -> AsyncIterator[Message]:
    """Ask for pages, and wait for those that are empty."""
    async for event in _pages(url, cursor, {"Prefer": "wait=5"}):
        yield event


async def _pages(url: str, cursor: str | None, headers: dict[str, str]) -> AsyncIterator[Message]:
    async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
        while True:
            after = {"after": cursor} if cursor else {}
            answer = await client.get("/v1/events", params={"limit": 20, **after}, headers=headers)
            page = answer.raise_for_status().json()
            for event in page["events"]:
                yield event
                cursor = event["cursor"]
            if not page["events"]:
                await asyncio.sleep(0)


async def streamed(url: str, cursor: str | None) -> AsyncIterator[Message]:
    """Listen to server-sent events."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": cursor} if cursor else {"Accept": "text/event-stream"}
    async with (
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
        client.stream("GET", "/v1/events", headers=headers) as answer,
    ):
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line[6:])


async def socketed(url: str, cursor: str | None) -> AsyncIterator[Message]:
    """Listen to a WebSocket."""
    query = f"?after={cursor}" if cursor else ""
    async with connect(f"{url.replace('http', 'ws')}/ws/events{query}") as socket:
        async for text in socket:
            yield json.loads(text)


async def follow(source: Source, url: str, begin: str, enough: Callable[[list[Message]], bool]) -> list[Message]:
    """Return the durable events that one way tells, going on from the last cursor after every cut."""
    heard: list[Message] = []
    cursor = begin
    while not enough(heard):
        events = source(url, cursor)
        try:
            async for event in events:
                if "cursor" in event and "seq" in event:
                    heard.append(event)
                    cursor = event["cursor"]
                    if enough(heard):
                        break
        except (httpx2.HTTPError, OSError, WebSocketException, json.JSONDecodeError):
            pass  # cut
        finally:
            await events.aclose()  # type: ignore[attr-defined]
    return heard


def all_over(heard: list[Message]) -> bool:
    """Whether all jobs have ended, as far as was heard."""
    return sum(event["type"] in TERMINAL for event in heard[-JOBS * 8 :]) >= JOBS


async def hand_in(live: Live) -> None:
    """Submit jobs of several kinds, some of them together, and cancel a few."""
    dice = random.Random(7)
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: live.submit("echo", args={"value": "x" * dice.randint(0, 2000)}),
        lambda: live.submit("chatty", args={"lines": 2}),
        lambda: live.submit("flaky"),
        lambda: live.submit("fail"),
    ]
    for index in range(JOBS // 2):
        await ways[index % len(ways)]()
    first = await live.submit("hold")
    await live.until(first["id"], "running")
    await live.client.post(f"{first['links']['self']}/cancel")
    rest = [{"kind": "echo"}] * (JOBS // 2 - 2) + [{"kind": "echo", "after": ["/jobs/0", "/jobs/7"]}]
    answer = await live.client.post("/v1/jobs/batch", json={"jobs": rest})
    assert answer.status_code == 202


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_way_tells_the_same_events_each_once_and_in_order_through_all_cuts(quick: Live, seed: int) -> None:
    begin = (await quick.submit("echo"))["cursor"]
    ways: list[Source] = [polled, long_polled, streamed, socketed]
    async with asyncio.timeout(90), asyncio.TaskGroup() as group, cutting(quick.url, seed, 500, 120_000) as cutter:
        following = [group.create_task(follow(way, cutter.url, begin, all_over)) for way in ways]
        group.create_task(hand_in(quick))
        heard = await asyncio.gather(*following)
    pages = [event async for event in _stored(quick, begin)]
    facts = [(event["job_id"], event["seq"], event["type"], event["cursor"], event["at"]) for event in pages]
    assert len({event["job_id"] for event in pages}) == JOBS + 1  # the first was created before, and ended after
    for way, told in zip(ways, heard, strict=True):
        mine = [(event["job_id"], event["seq"], event["type"], event["cursor"], event["at"]) for event in told]
        assert mine == facts[: len(mine)], way.__name__
        assert len(facts) - len(mine) <= 8, way.__name__  # what came after its last look
        assert [event.get("job") for event in told] == [event.get("job") for event in pages[: len(told)]]
    assert cutter.cuts > 20


async def _stored(live: Live, cursor: str) -> AsyncIterator[Message]:
    after: str | None = cursor
    while after is not None:
        page = (await live.client.get("/v1/events", params={"limit": 200, "after": after})).json()
        for event in page["events"]:
            yield event
        after = page["next"]
