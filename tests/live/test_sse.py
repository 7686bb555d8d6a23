"""Server-sent events: what the WebSockets tell, over HTTP, resumed by the id that came last."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from jalebi.store import missed, reads
from jalebi.web import streams
from tests.live.hearing import Message, check_stream, events, listen, receive
from tests.support import PATIENCE, Live, eventually
from tests.web.raw import problem

STREAM = {"Accept": "text/event-stream"}
TERMINAL = {"completed", "failed", "cancelled"}


@dataclass
class Source:
    """What an EventSource does with a stream (WHATWG HTML, 9.2.6): `last_id` moves at blank lines only."""

    answer: httpx2.Response
    last_id: str = ""
    retry: int | None = None
    comments: list[float] = field(default_factory=list)
    ended: bool = False

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what is dispatched."""
        data: list[str] = []
        pending = self.last_id
        async for line in self.answer.aiter_lines():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                self.last_id = pending
                if data:
                    yield json.loads("\n".join(data))
                data = []
            elif not name:
                self.comments.append(time.monotonic())
            elif name == "id":
                pending = value
            elif name == "retry":
                self.retry = int(value)
            else:
                assert name == "data", line
                data.append(value)
        self.ended = True


@asynccontextmanager
async def source(live: Live, path: str, last_id: str = "") -> AsyncIterator[Source]:
    headers = STREAM | ({"Last-Event-ID": last_id} if last_id else {})
    async with asyncio.timeout(PATIENCE), live.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["vary"] == "Accept"
        yield Source(answer, last_id)


async def everything(live: Live, path: str, last_id: str = "") -> tuple[list[Message], Source]:
    """Return all messages of a stream that must end."""
    async with source(live, path, last_id) as opened:
        return [message async for message in opened.messages()], opened


async def some(opened: Source, count: int, messages: AsyncIterator[Message] | None = None) -> list[Message]:
    """Return the next durable events."""
    found: list[Message] = []
    async for message in messages or opened.messages():
        found.extend(events([message]))
        if len(found) == count:
            break
    return found


async def test_a_job_is_told_from_its_first_event_to_its_last_as_the_socket_tells_it(quick: Live) -> None:
    job = await quick.submit("chatty", args={"lines": 4})
    heard, opened = await everything(quick, job["links"]["events"])
    check_stream(heard)
    assert heard[-1]["type"] == "completed"
    assert opened.last_id == str(heard[-1]["seq"])
    assert opened.retry is not None
    assert 1000 <= opened.retry <= 3000
    async with listen(quick, f"/ws/jobs/{job['id']}?after=0") as socket:
        assert [await receive(socket) for _ in heard] == heard
    page = (await quick.client.get(job["links"]["events"])).json()
    assert page == {"events": heard, "next": None}


async def test_progress_comes_without_an_id_and_leaves_the_last_one_alone(quick: Live) -> None:
    job = await quick.submit("steps", args={"count": 20, "pause": 0.02})
    seen = []
    async with source(quick, job["links"]["events"]) as opened:
        async for message in opened.messages():
            seen.append(message)
            if message["type"] == "progress":
                assert opened.last_id == str(message["seq"])
    check_stream(seen)
    assert any(message["type"] == "progress" for message in seen)


async def test_a_stream_of_a_job_resumes_by_the_header_which_wins_over_the_address(quick: Live) -> None:
    job = await quick.submit("chatty", args={"lines": 4})
    whole, _ = await everything(quick, job["links"]["events"])
    for after in range(len(whole)):
        rest, _ = await everything(quick, f"{job['links']['events']}?after={after}")
        assert rest == whole[after:]
        rest, _ = await everything(quick, f"{job['links']['events']}?after=0", str(after))
        assert rest == whole[after:]


async def test_a_job_that_is_over_and_told_whole_answers_204_so_that_readers_stay_away(quick: Live) -> None:
    job = await quick.until((await quick.submit("echo"))["id"], "completed")
    for query, headers in [("", {"Last-Event-ID": "3"}), ("?after=3", {}), ("?after=1", {"Last-Event-ID": "9"})]:
        answer = await quick.client.get(job["links"]["events"] + query, headers=STREAM | headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["cache-control"] == "no-store"
    assert (await quick.client.get(job["links"]["events"] + "?after=3")).json() == {"events": [], "next": None}


async def test_a_stream_of_a_retried_job_ends_at_its_newest_terminal_event(quick: Live) -> None:
    job = await quick.until((await quick.submit("fail"))["id"], "failed")
    assert (await quick.client.post(f"/v1/jobs/{job['id']}/retry")).status_code == 202
    await quick.until(job["id"], "failed")

    async def twice() -> bool | None:
        return True if (await quick.job(job["id"]))["seq"] == 6 else None

    await eventually(twice)
    types = ["created", "started", "failed", "queued", "started", "failed"]
    for after in range(6):
        heard, _ = await everything(quick, f"{job['links']['events']}?after={after}")
        assert [message["type"] for message in heard] == types[after:]
    async with listen(quick, f"/ws/jobs/{job['id']}?after=1") as socket:
        assert [(await receive(socket))["type"] for _ in range(5)] == types[1:]


async def test_a_reader_cut_before_the_first_event_resumes_where_it_was(quick: Live) -> None:
    async with source(quick, "/v1/events?kind=echo") as opened:
        messages = opened.messages()
        reading = asyncio.ensure_future(anext(messages))
        job = await quick.submit("steps", args={"count": 1})

        async def primed() -> str | None:
            return opened.last_id or None

        start = await eventually(primed)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    await quick.until(job["id"], "completed")
    job = await quick.submit("echo")
    async with source(quick, "/v1/events?kind=echo", start) as opened:
        heard = await some(opened, 3)
        assert [message["job_id"] for message in heard] == [job["id"]] * 3
        cursor = opened.last_id
    async with source(quick, "/v1/events?kind=echo", cursor) as opened:  # no new event: nothing comes again
        messages = opened.messages()
        again = asyncio.ensure_future(anext(messages))
        other = await quick.submit("echo")
        assert (await again)["job_id"] == other["id"]
        assert (await again)["seq"] == 1


async def test_all_jobs_are_told_from_now_on_and_resume_by_cursor(quick: Live) -> None:
    await quick.until((await quick.submit("echo"))["id"], "completed")
    async with source(quick, "/v1/events") as opened:
        messages = opened.messages()
        reading = asyncio.ensure_future(some(opened, 3, messages))

        async def primed() -> str | None:
            return opened.last_id or None

        start = await eventually(primed)
        await quick.submit("echo")
        heard = await reading
        assert [message["type"] for message in heard] == ["created", "started", "completed"]
        assert opened.last_id == heard[-1]["cursor"] == heard[-1]["job"]["cursor"]
    for query, header in [(f"?after={start}", ""), (f"?after={heard[1]['cursor']}", start)]:
        async with source(quick, f"/v1/events{query}", header) as opened:
            assert await some(opened, 3) == heard
    async with source(quick, f"/v1/events?after={start}&state=completed") as opened:
        assert await some(opened, 1) == heard[2:]


async def test_a_quiet_stream_carries_a_comment_measured_from_the_last_write(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BEAT", 0.2)
    async with source(quick, "/v1/events") as opened:
        messages = opened.messages()
        reading = asyncio.ensure_future(anext(messages))

        async def two() -> bool | None:
            return True if len(opened.comments) >= 2 else None

        await eventually(two)
        assert opened.comments[1] - opened.comments[0] > 0.15
        await quick.submit("echo")
        assert (await reading)["type"] == "created"


@pytest.mark.parametrize(
    ("accept", "streams_it"),
    [
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", False),
        ("application/json", False),
        ("application/json, text/event-stream", False),
        ("image/png", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.5, application/json", False),
        ("text/event-stream", True),
        ("TEXT/Event-Stream", True),
        ("text/event-stream;charset=utf-8", True),
        ("text/*", True),
        ("text/event-stream, */*", True),
        ("text/event-stream, application/json;q=0.9", True),
        ("text/event-stream;q=0.1, application/json;q=0", True),
        ("text/event-stream;q=x", True),
    ],
)
async def test_what_is_accepted_decides(quick: Live, accept: str, streams_it: bool) -> None:
    job = await quick.until((await quick.submit("echo"))["id"], "completed")
    answer = await quick.client.get(job["links"]["events"], headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == ("text/event-stream" if streams_it else "application/json")
    assert answer.headers["vary"] == "Accept"


async def test_head_tells_of_a_stream_without_one(quick: Live) -> None:
    answer = await quick.client.head("/v1/events", headers=STREAM)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert (await quick.shop.open()).hub.readers == 0


async def test_what_can_not_be_followed_is_a_problem(quick: Live) -> None:
    client = quick.client
    problem(await client.get("/v1/jobs/nothing/events", headers=STREAM), 404, "not-found")
    job = await quick.submit("echo")
    for path in (job["links"]["events"], "/v1/events"):
        found = problem(await client.get(f"{path}?after=x", headers=STREAM), 400, "malformed-request")
        assert found["parameter"] == "after"
        found = problem(await client.get(path, headers=STREAM | {"Last-Event-ID": "x"}), 400, "malformed-request")
        assert found["parameter"] == "Last-Event-ID"
        problem(await client.get(f"{path}?limit=2", headers=STREAM), 422, "validation-failed")
        problem(await client.get(f"{path}?since=2", headers=STREAM), 422, "validation-failed")
    problem(await client.get("/v1/events?state=done", headers=STREAM), 400, "malformed-request")


async def test_a_reader_that_goes_is_forgotten(quick: Live) -> None:
    hub = (await quick.shop.open()).hub
    job = await quick.submit("hold")
    for path in ("/v1/events", job["links"]["events"]):
        async with source(quick, path) as opened:
            reading = asyncio.ensure_future(anext(opened.messages()))

            async def heard() -> bool | None:
                return True if hub.readers == 1 else None

            await eventually(heard)
            reading.cancel()
            with pytest.raises((asyncio.CancelledError, StopAsyncIteration)):
                await reading

        async def nobody() -> bool | None:
            return True if hub.readers == 0 else None

        await eventually(nobody)


async def test_a_job_that_is_deleted_ends_its_streams(idle: Live) -> None:
    job = await idle.submit("echo")
    async with source(idle, job["links"]["events"]) as opened:
        messages = opened.messages()
        assert (await anext(messages))["type"] == "created"
        assert (await idle.client.delete(job["links"]["self"])).status_code == 204
        assert [message async for message in messages] == []
        assert opened.ended


async def test_a_draining_server_ends_streams_with_a_time_to_come_back(quick: Live) -> None:
    job = await quick.submit("hold")
    async with source(quick, "/v1/events") as everyone, source(quick, job["links"]["events"]) as one:
        first, second = everyone.messages(), one.messages()
        assert (await anext(second))["type"] == "created"
        waiting = asyncio.ensure_future(anext(first, None))

        async def primed() -> bool | None:
            return True if everyone.last_id else None

        await eventually(primed)
        draining = asyncio.ensure_future(quick.shop.drain())
        async for _ in second:
            pass
        await waiting
        async for _ in first:
            pass
        assert everyone.ended
        assert one.ended
        for opened in (everyone, one):
            assert opened.retry is not None
            assert 2000 <= opened.retry <= 10_000
    async with source(quick, "/v1/events") as late:
        assert [message async for message in late.messages()] == []
        assert late.last_id == ""
        assert late.retry is not None
    await draining


def number(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


async def purge(live: Live, *jobs: Message) -> None:
    """Do to jobs what retention does: they go as a whole, and the floor rises to their last event."""
    rooms = await live.shop.open()
    for job in jobs:
        await rooms.queue.delete(job["id"])
    floor = max(number(job["cursor"]) for job in jobs)
    before = await rooms.store.read(reads.floor)
    rooms.store._connection.execute("UPDATE meta SET value = ? WHERE name = 'floor'", (str(max(floor, before)),))


async def started_over(live: Live) -> dict[str, Any]:
    """Return what there is once a reader who has seen `start` was away for longer than things are kept."""
    old = await live.until((await live.submit("echo"))["id"], "completed")
    held = await live.until((await live.submit("hold"))["id"], "running")
    start = old["cursor"]
    lost = await live.until((await live.submit("echo", tags=["lost"]))["id"], "completed")
    done = await live.until((await live.submit("chatty", tags=["kept"]))["id"], "completed")
    await purge(live, lost)
    held = await live.job(held["id"])
    return {"start": start, "old": old, "held": held, "done": done}


async def test_a_cursor_older_than_what_is_kept_starts_over_with_snapshots(quick: Live) -> None:
    made = await started_over(quick)
    async with listen(quick, f"/ws/events?after={made['start']}") as socket:
        assert await receive(socket) == {"type": "hello", "cursor": made["start"]}
        said = await receive(socket)
        assert (said["type"], set(said)) == ("reset", {"type", "cursor", "at", "reason"})
        shown = [await receive(socket) for _ in range(2)]
        assert {one["job"]["id"]: one["seq"] for one in shown} == {
            made["held"]["id"]: made["held"]["seq"],
            made["done"]["id"]: made["done"]["seq"],
        }
        assert all(one["type"] == "snapshot" for one in shown)
        assert await receive(socket) == {"type": "hello", "cursor": said["cursor"]}
        job = await quick.submit("echo")
        heard = [await receive(socket) for _ in range(3)]
        assert next((one["job_id"], one["seq"]) for one in heard if one["type"] != "progress") == (job["id"], 1)
    async with source(quick, "/v1/events?tag=kept", made["start"]) as opened:
        messages = opened.messages()
        assert (await anext(messages))["type"] == "reset"
        assert opened.last_id == made["start"]  # a cut here must start over once more
        assert (await anext(messages))["job"]["id"] == made["done"]["id"]
        assert opened.last_id == made["start"]
        kept = await quick.submit("echo", tags=["kept"])
        assert (await anext(messages))["job_id"] == kept["id"]
    page = (await quick.client.get("/v1/events", params={"after": made["start"], "limit": 1})).json()
    assert number(page["reset"]["cursor"]) > number(page["next"]) > number(made["start"])
    assert (await quick.client.get("/v1/events", params={"limit": 200})).json().keys() == {"events", "next"}
    later = (await quick.client.get("/v1/events", params={"after": page["reset"]["cursor"]})).json()
    assert later.keys() == {"events", "next"}
    assert later["events"] == []


async def test_a_snapshot_is_as_of_its_cursor_whatever_happens_while_it_is_made(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await started_over(quick)
    read, late = missed.jobs_since, asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(missed, "PAGE", 1)

    def slowly(*args: Any, **query: Any) -> Any:
        asyncio.run_coroutine_threadsafe(change(), loop)
        return read(*args, **query)

    async def change() -> None:
        if not late.is_set():
            late.set()
            await quick.client.post(f"/v1/jobs/{made['held']['id']}/cancel")
            await quick.client.post(f"/v1/jobs/{made['done']['id']}/retry")

    monkeypatch.setattr(missed, "jobs_since", slowly)
    last: dict[str, int] = {}
    async with listen(quick, f"/ws/events?after={made['start']}") as socket:
        over: set[str] = set()
        while len(over) < 2:
            message = await receive(socket)
            if message["type"] == "snapshot":
                assert message["job"]["id"] not in last
                last[message["job"]["id"]] = message["seq"]
                assert message["job"]["state"] in {"running", "completed"}
            elif message["type"] not in {"hello", "reset", "progress"}:
                assert message["seq"] == last[message["job_id"]] + 1
                last[message["job_id"]] = message["seq"]
                over |= {message["job_id"]} if message["type"] in TERMINAL else set()
    assert set(last) == {made["held"]["id"], made["done"]["id"]}


async def test_a_job_deleted_by_hand_resets_nobody(quick: Live) -> None:
    async with listen(quick, "/ws/events") as socket:
        start = (await receive(socket))["cursor"]
    first = await quick.until((await quick.submit("echo"))["id"], "completed")
    second = await quick.until((await quick.submit("echo"))["id"], "completed")
    assert (await quick.client.delete(first["links"]["self"])).status_code == 204
    async with source(quick, f"/v1/events?after={start}") as opened:
        assert [(one["job_id"], one["seq"]) for one in await some(opened, 3)] == [(second["id"], n) for n in (1, 2, 3)]
