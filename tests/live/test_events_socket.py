"""`/ws/events`: hello, filters, and resuming by cursor without a loss."""

import asyncio
import random
from collections import defaultdict

from websockets.asyncio.client import ClientConnection

from tests.live.hearing import Message, events, listen, receive, refusal
from tests.support import PATIENCE, Live, eventually, serving
from tests.targets.quick import quick_shop


async def gather(socket: ClientConnection, count: int) -> list[Message]:
    """Return the next durable events."""
    found: list[Message] = []
    while len(found) < count:
        found.extend(events([await receive(socket)]))
    return found


def check_each_job(heard: list[Message]) -> None:
    """Check that every job's events are there once, in order, from its first."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for event in heard:
        seqs[event["job_id"]].append(event["seq"])
    for numbers in seqs.values():
        assert numbers == list(range(1, len(numbers) + 1))


async def test_hello_comes_first_and_then_everything_from_now_on(quick: Live) -> None:
    await quick.until((await quick.submit("echo"))["id"], "completed")
    async with listen(quick, "/ws/events") as socket:
        hello = await receive(socket)
        assert set(hello) == {"type", "cursor"}
        assert hello["type"] == "hello"
        job = await quick.submit("echo", tags=["mine"])
        heard = await gather(socket, 3)
    assert [event["type"] for event in heard] == ["created", "started", "completed"]
    assert {event["job_id"] for event in heard} == {job["id"]}
    assert heard[0]["job"]["tags"] == ["mine"]


async def test_the_cursor_of_hello_is_a_place_to_resume_from(quick: Live) -> None:
    async with listen(quick, "/ws/events") as socket:
        start = (await receive(socket))["cursor"]
        await quick.submit("echo")
        heard = await gather(socket, 3)
    async with listen(quick, f"/ws/events?after={start}") as socket:
        assert await receive(socket) == {"type": "hello", "cursor": start}
        assert await gather(socket, 3) == heard
    for index, event in enumerate(heard):
        async with listen(quick, f"/ws/events?after={event['cursor']}") as socket:
            assert (await receive(socket))["cursor"] == event["cursor"]
            assert await gather(socket, 2 - index) == heard[index + 1 :]


async def test_filters_let_through_what_they_name(quick: Live) -> None:
    queries = {
        "kind=echo": {"a", "b"},
        "kind=echo&kind=fail": {"a", "b", "c"},
        "queue=slow": {"b", "c"},
        "tag=x": {"a", "c"},
        "tag=x&tag=y": {"c"},
        "tag=%C3%BC%25": {"b"},
        "kind=echo&queue=slow": {"b"},
        "kind=none": set(),
    }
    async with asyncio.timeout(PATIENCE), listen(quick, "/ws/events") as everything:
        start = (await receive(everything))["cursor"]
        live = {query: await listen(quick, f"/ws/events?{query}") for query in queries}
        for socket in live.values():
            await receive(socket)
        ids = {
            (await quick.submit("echo", tags=["x"]))["id"]: "a",
            (await quick.submit("echo", tags=["ü%"], queue="slow"))["id"]: "b",
            (await quick.submit("fail", tags=["x", "y"], queue="slow"))["id"]: "c",
        }
        await gather(everything, 9)
        for query, wanted in queries.items():
            heard = await gather(live[query], 3 * len(wanted))
            assert {ids[event["job_id"]] for event in heard} == wanted, query
            check_each_job(heard)
            async with listen(quick, f"/ws/events?{query}&after={start}") as again:
                assert (await receive(again))["type"] == "hello"
                assert await gather(again, 3 * len(wanted)) == heard
            await live[query].close()


async def test_the_state_filter_looks_at_the_job_as_of_the_event(quick: Live) -> None:
    async with listen(quick, "/ws/events") as socket:
        start = (await receive(socket))["cursor"]
        await quick.submit("echo")
        await quick.submit("fail")
        await gather(socket, 6)
    for query, types in [
        ("state=completed", ["completed"]),
        ("state=running", ["started", "started"]),
        ("state=queued&state=failed", ["created", "created", "failed"]),
    ]:
        async with listen(quick, f"/ws/events?{query}&after={start}") as socket:
            assert (await receive(socket))["type"] == "hello"
            heard = await gather(socket, len(types))
            assert sorted(event["type"] for event in heard) == types


async def test_progress_of_a_job_follows_its_start_and_never_its_end(quick: Live) -> None:
    async with listen(quick, "/ws/events") as socket:
        jobs = [await quick.submit("steps", args={"count": 30, "pause": 0.01}) for _ in range(4)]
        last: dict[str, Message] = {}
        heard_progress = 0
        while sum(message["type"] == "completed" for message in last.values()) < len(jobs):
            message = await receive(socket)
            if message["type"] == "progress":
                heard_progress += 1
                assert message["seq"] == last[message["job_id"]]["seq"]
                assert last[message["job_id"]]["type"] != "completed"
            elif message["type"] != "hello":
                last[message["job_id"]] = message
        assert heard_progress
        # Whatever were left would come with the next tick, before the events of another job.
        await quick.submit("steps", args={"count": 3, "pause": 0.1})
        while (message := await receive(socket))["type"] != "completed":
            assert message["job_id"] not in last


async def test_a_reader_cut_at_random_gets_every_event_once_and_in_order(quick: Live) -> None:
    seed = random.randrange(10**9)
    print(f"seed: {seed}")
    chance = random.Random(seed)
    async with listen(quick, "/ws/events") as socket:
        start = (await receive(socket))["cursor"]
    count = 25

    async def submit_all() -> None:
        kinds = [("echo", {}), ("chatty", {"lines": 5}), ("flaky", {}), ("fail", {}), ("steps", {"count": 3})]
        for number in range(count):
            kind, args = kinds[number % len(kinds)]
            await quick.submit(kind, args=args)

    submitting = asyncio.create_task(submit_all())
    heard: list[Message] = []
    cursor, over = start, 0
    async with asyncio.timeout(PATIENCE):
        while over < count:
            async with listen(quick, f"/ws/events?after={cursor}") as socket:
                assert (await receive(socket)) == {"type": "hello", "cursor": cursor}
                for event in await gather(socket, 0 if over == count else 1):
                    heard.append(event)
                for _ in range(chance.randrange(12)):
                    if sum(event["type"] in {"completed", "failed"} for event in heard) == count:
                        break
                    heard.extend(events([await receive(socket)]))
            cursor = heard[-1]["cursor"]
            over = sum(event["type"] in {"completed", "failed"} for event in heard)
    await submitting
    check_each_job(heard)
    assert len({event["cursor"] for event in heard}) == len(heard)
    async with listen(quick, f"/ws/events?after={start}") as socket:
        await receive(socket)
        assert await gather(socket, len(heard)) == heard


async def test_a_bogus_cursor_refuses_the_handshake(quick: Live) -> None:
    async with listen(quick, "/ws/events") as socket:
        cursor = (await receive(socket))["cursor"]
    epoch = cursor.partition("-")[0]
    numbers = ["", "-1", "x", "1.0", "9" * 30, "999999", "%D9%A3"]
    bogus = ["", "x", "0", "-1", epoch, *(f"{epoch}-{one}" for one in numbers)]
    bogus += [f"other-{cursor}", f"{cursor}%00", f"%20{cursor}"]
    for after in bogus:
        status, problem = await refusal(quick, f"/ws/events?after={after}")
        assert (status, problem["type"]) == (400, "urn:jalebi:problem:malformed-request"), after
        assert problem["parameter"] == "after"


async def test_bad_filters_refuse_the_handshake(quick: Live) -> None:
    for query, status in [("state=done", 400), ("kinds=echo", 422), ("limit=5", 422), ("tag=%00", 400)]:
        assert (await refusal(quick, f"/ws/events?{query}"))[0] == status


async def test_many_readers_hear_the_same(quick: Live) -> None:
    async with asyncio.timeout(PATIENCE):
        sockets = [await listen(quick, "/ws/events") for _ in range(20)]
        for socket in sockets:
            await receive(socket)
        for _ in range(5):
            await quick.submit("chatty", args={"lines": 2})
        streams = [await gather(socket, 5 * 7) for socket in sockets]
        assert all(stream == streams[0] for stream in streams)
        for socket in sockets:
            await socket.close()
    hub = (await quick.shop.open()).hub

    async def nobody() -> bool | None:
        return True if hub.readers == 0 else None

    await eventually(nobody)


async def test_a_burst_that_nobody_could_take_cuts_off_no_healthy_reader() -> None:
    shop = quick_shop(max_backlog=5)
    async with serving(shop, shop) as found, listen(found, "/ws/events") as everyone:
        await receive(everyone)
        job = await found.submit("talk", args={"lines": 300})
        async with listen(found, f"/ws/jobs/{job['id']}?after=0") as one:
            assert [event["seq"] for event in await gather(one, 303)] == list(range(1, 304))
        heard = await gather(everyone, 303)
        check_each_job(heard)
        assert len(heard) == 303
