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

from jalebi.webhooks import hosts
from tests.live.cutting import cutting
from tests.support import Live, eventually, serving
from tests.targets.quick import quick_shop
from tests.webhooks.receiver import SECRET, Receiver, Sent, receiving, status

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


async def hand_in(live: Live, hook: str) -> None:
    """Submit jobs of several kinds, some of them together, and cancel a few; all of them are told of at `hook`."""
    dice = random.Random(7)
    webhook = {"url": hook}
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: live.submit("echo", args={"value": "x" * dice.randint(0, 2000)}, webhook=webhook),
        lambda: live.submit("chatty", args={"lines": 2}, webhook=webhook),
        lambda: live.submit("flaky", webhook=webhook),
        lambda: live.submit("fail", webhook=webhook),
    ]
    for index in range(JOBS // 2):
        await ways[index % len(ways)]()
    first = await live.submit("hold", webhook=webhook)
    await live.until(first["id"], "running")
    await live.client.post(f"{first['links']['self']}/cancel")
    rest: list[Any] = [{"kind": "echo", "webhook": webhook}] * (JOBS // 2 - 2)
    rest.append({"kind": "echo", "webhook": webhook, "after": ["/jobs/0", "/jobs/7"]})
    answer = await live.client.post("/v1/jobs/batch", json={"jobs": rest})
    assert answer.status_code == 202


def unreliable(seed: int) -> Callable[[Sent], Awaitable[bytes]]:
    """Return answers to webhooks that are a failure, or none at all, every now and then."""
    dice = random.Random(seed)

    async def answer(_: Sent) -> bytes:
        return dice.choice([b"", status(500), status(503), *[status(200)] * 6])

    return answer


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_way_tells_the_same_events_each_once_and_in_order_through_all_cuts(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "WAITS", (0.05,) * 100)
    monkeypatch.setattr(hosts, "REST", 0.05)
    monkeypatch.setattr(hosts, "MOST_REST", 0.1)
    shop = quick_shop(webhook_secret=(SECRET,), webhook_allow=("127.0.0.0/8",))
    ways: list[Source] = [polled, long_polled, streamed, socketed]
    async with asyncio.timeout(90), serving(shop, shop) as live, receiving() as receiver:
        receiver.answers.extend([unreliable(seed)] * JOBS * 20)
        begin = (await live.submit("echo"))["cursor"]
        async with asyncio.TaskGroup() as group, cutting(live.url, seed, 500, 120_000) as cutter:
            following = [group.create_task(follow(way, cutter.url, begin, all_over)) for way in ways]
            group.create_task(hand_in(live, receiver.url))
            heard = await asyncio.gather(*following)
        pages = [event async for event in _stored(live, begin)]
        await eventually(lambda: _delivered(live))
    assert cutter.cuts > 20
    facts = [fact(event) for event in pages]
    assert len({event["job_id"] for event in pages}) == JOBS + 1  # the first was created before, and ended after
    for way, told in zip(ways, heard, strict=True):
        assert [fact(event) for event in told] == facts[: len(told)], way.__name__
        assert len(facts) - len(told) <= 8, way.__name__  # what came after its last look
        assert [event.get("job") for event in told] == [event.get("job") for event in pages[: len(told)]]
    check_webhooks(receiver, {event["job_id"]: event for event in pages if event["type"] in TERMINAL})


def fact(event: Message) -> tuple[Any, ...]:
    return event["job_id"], event["seq"], event["type"], event["cursor"], event["at"]


def check_webhooks(receiver: Receiver, ends: dict[str, Message]) -> None:
    """Fail where the webhooks did not tell the same ends: each once, but for what was sent again with the same id."""
    by_id: dict[str, Message] = {}
    for sent in receiver.sent:
        message = sent.verified()
        assert by_id.setdefault(sent.headers["webhook-id"], message) == message
    assert len(receiver.sent) > len(by_id) == JOBS
    assert len({message["data"]["id"] for message in by_id.values()}) == JOBS
    for message in by_id.values():
        end = ends[message["data"]["id"]]
        assert (message["type"], message["timestamp"]) == (f"job.{end['type']}", end["at"])
        assert message["data"] == end["job"]


async def _delivered(live: Live) -> bool | None:
    rooms = await live.shop.open()
    query = "SELECT count(*) FROM delivery WHERE state <> 'delivered'"
    return await rooms.store.read(lambda connection: connection.exec_driver_sql(query).scalar_one()) == 0 or None


async def _stored(live: Live, cursor: str) -> AsyncIterator[Message]:
    after: str | None = cursor
    while after is not None:
        page = (await live.client.get("/v1/events", params={"limit": 200, "after": after})).json()
        for event in page["events"]:
            yield event
        after = page["next"]
