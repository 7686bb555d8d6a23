"""`/ws/jobs/{id}`: snapshot, contiguous events, resuming, progress, and close codes."""

import asyncio
from pathlib import Path

from tests.live.hearing import TERMINAL, Message, check_stream, events, hear, listen, receive, refusal, rest
from tests.support import Live


async def test_a_snapshot_comes_first_and_then_what_follows(quick: Live) -> None:
    job = await quick.submit("echo", delay=0.1)
    heard, code = await hear(quick, f"/ws/jobs/{job['id']}")
    assert code == 1000
    assert heard[0]["type"] == "snapshot"
    assert heard[0]["job"]["state"] == "scheduled"
    assert [message["type"] for message in heard[1:]] == ["queued", "started", "completed"]
    assert [message["job"]["state"] for message in heard[1:]] == ["queued", "running", "completed"]
    check_stream(heard)


async def test_many_jobs_are_followed_at_once_without_a_hole(quick: Live) -> None:
    kinds = [
        ("echo", {}), ("steps", {"count": 5, "pause": 0.01}), ("chatty", {"lines": 7}), ("fail", {}),
        ("flaky", {"succeed_on": 3}), ("talk", {"lines": 120}),
    ]  # fmt: skip
    jobs = [await quick.submit(kind, args=args) for kind, args in kinds * 5]
    streams = await asyncio.gather(*(hear(quick, f"/ws/jobs/{job['id']}?after=0") for job in jobs))
    for job, (heard, code) in zip(jobs, streams, strict=True):
        assert code == 1000
        check_stream(heard)
        durable = events(heard)
        assert [message["seq"] for message in durable] == list(range(1, len(durable) + 1))
        assert durable[0]["type"] == "created"
        assert durable[-1]["type"] in TERMINAL
        assert {message["job_id"] for message in heard} == {job["id"]}
        final = await quick.job(job["id"])
        assert final == durable[-1]["job"]


async def test_a_stream_tells_the_whole_life_of_a_job(quick: Live) -> None:
    job = await quick.submit("flaky", args={"succeed_on": 2}, delay=0.02)
    heard, _ = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
    types = ["created", "queued", "started", "retrying", "queued", "started", "completed"]
    assert [message["type"] for message in heard] == types
    assert [message["job"]["attempt"] for message in heard] == [0, 0, 1, 1, 1, 2, 2]
    assert heard[3]["job"]["error"]["message"] == "attempt 1 fails"
    assert heard[6]["job"]["error"] is None


async def test_logs_and_files_are_events(quick: Live) -> None:
    job = await quick.submit("chatty", args={"lines": 2})
    heard, _ = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
    assert [message["type"] for message in heard] == ["created", "started", "log", "log", "file", "file", "completed"]
    assert heard[3]["log"] == {"line": 2, "level": "warning", "message": "line 2"}
    assert heard[4]["file"] == {"name": "notes.txt", "size": 10, "media_type": "text/plain"}


async def test_a_stream_resumes_after_any_event(quick: Live) -> None:
    job = await quick.submit("chatty", args={"lines": 6})
    whole, _ = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
    for after in range(len(whole) + 1):
        left, code = await hear(quick, f"/ws/jobs/{job['id']}?after={after}")
        assert (left, code) == (whole[after:], 1000)


async def test_a_number_that_the_job_has_not_reached_leaves_nothing_out(quick: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await quick.submit("wait_for", args={"path": str(gate)})
    await quick.until(job["id"], "running")
    async with listen(quick, f"/ws/jobs/{job['id']}?after=999") as socket:
        assert (await receive(socket))["type"] == "progress"
        gate.touch()
        heard = await rest(socket)
    assert [message["type"] for message in events(heard)] == ["completed"]
    assert await hear(quick, f"/ws/jobs/{job['id']}?after=999") == ([], 1000)


async def test_a_stream_cut_at_every_message_and_resumed_misses_nothing(quick: Live) -> None:
    job = await quick.submit("talk", args={"lines": 40})
    heard: list[Message] = []
    last = 0
    while not heard or heard[-1]["type"] not in TERMINAL:
        async with listen(quick, f"/ws/jobs/{job['id']}?after={last}") as socket:
            heard.append(await receive(socket))
            last = heard[-1]["seq"]
    check_stream(heard)
    assert heard == (await hear(quick, f"/ws/jobs/{job['id']}?after=0"))[0]


async def test_a_finished_job_says_its_snapshot_and_closes(quick: Live) -> None:
    job = await quick.until((await quick.submit("echo"))["id"], "completed")
    heard, code = await hear(quick, f"/ws/jobs/{job['id']}")
    assert code == 1000
    assert heard == [{"type": "snapshot", "seq": job["seq"], "job": job}]


async def test_no_such_job_is_4404(quick: Live) -> None:
    for name in ["0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "1", "%00", "☃".encode().decode("latin-1")]:
        for query in ("", "?after=0", "?after=5"):
            assert await hear(quick, f"/ws/jobs/{name}{query}") == ([], 4404)


async def test_bad_parameters_refuse_the_handshake(quick: Live) -> None:
    job = await quick.submit("echo")
    for query in ["after=-1", "after=x", "after=", "after=1.5", f"after={'9' * 40}", "after=%d9%a3"]:
        status, problem = await refusal(quick, f"/ws/jobs/{job['id']}?{query}")
        assert (status, problem["type"]) == (400, "urn:jalebi:problem:malformed-request")
    status, problem = await refusal(quick, f"/ws/jobs/{job['id']}?aftr=1")
    assert (status, problem["type"]) == (422, "urn:jalebi:problem:validation-failed")


async def test_progress_is_numbered_by_the_event_before_it_and_ends_with_the_job(quick: Live) -> None:
    job = await quick.submit("steps", args={"count": 40, "pause": 0.01})
    heard, _ = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
    check_stream(heard)
    progress = [message["progress"] for message in heard if message["type"] == "progress"]
    assert progress
    done = [one["done"] for one in progress]
    assert done == sorted(done)
    assert all(one["total"] == 40 and one["unit"] == "steps" for one in progress)
    assert len(progress) <= 20  # conflated: far fewer than the 41 reports
    assert heard[-1]["job"]["progress"]["done"] == 40


async def test_a_retried_job_is_followed_to_its_newest_end(quick: Live) -> None:
    job = await quick.submit("fail")
    await hear(quick, f"/ws/jobs/{job['id']}")
    await quick.client.post(f"/v1/jobs/{job['id']}/retry")
    heard, code = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
    assert code == 1000
    assert [message["type"] for message in heard] == ["created", "started", "failed", "queued", "started", "failed"]
    again, _ = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
    assert again == heard
    check_stream(heard)


async def test_a_retry_in_the_middle_of_a_stream_does_not_keep_it_open(quick: Live, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    job = await quick.until((await quick.submit("wait_for", args={"path": str(gate)}))["id"], "completed")
    gate.unlink()
    await quick.client.post(f"/v1/jobs/{job['id']}/retry")
    async with listen(quick, f"/ws/jobs/{job['id']}?after=0") as socket:
        types = [(await receive(socket))["type"] for _ in range(4)]
        assert types == ["created", "started", "completed", "queued"]
        gate.touch()
        heard = await rest(socket)
        assert heard[-1]["type"] == "completed"
        assert socket.close_code == 1000


async def test_a_cancelled_job_tells_both_steps(quick: Live) -> None:
    job = await quick.submit("hold")
    await quick.until(job["id"], "running")
    async with listen(quick, f"/ws/jobs/{job['id']}") as socket:
        assert (await receive(socket))["type"] == "snapshot"
        await quick.client.post(f"/v1/jobs/{job['id']}/cancel", json={"reason": "enough"})
        heard = events(await rest(socket))
    assert [message["type"] for message in heard] == ["cancelling", "cancelled"]
    assert heard[-1]["job"]["error"]["message"] == "enough"


async def test_a_job_deleted_while_it_is_watched_is_4404(idle: Live) -> None:
    job = await idle.submit("echo")
    async with listen(idle, f"/ws/jobs/{job['id']}") as socket:
        await receive(socket)
        await idle.client.delete(f"/v1/jobs/{job['id']}")
        assert await rest(socket) == []
        assert socket.close_code == 4404


async def test_what_a_reader_says_is_ignored(idle: Live) -> None:
    job = await idle.submit("echo")
    async with listen(idle, f"/ws/jobs/{job['id']}") as socket:
        for said in ["{}", "", "\0", "x" * 60_000, '{"type":"cancel"}']:
            await socket.send(said)
            await socket.send(said.encode())
        assert (await receive(socket))["type"] == "snapshot"
        await idle.client.post(f"/v1/jobs/{job['id']}/cancel")
        assert (await receive(socket))["type"] == "cancelled"


async def test_a_draining_server_closes_with_1001_and_takes_no_new_readers(idle: Live) -> None:
    job = await idle.submit("echo")
    async with (
        listen(idle, f"/ws/jobs/{job['id']}") as one,
        listen(idle, f"/ws/jobs/{job['id']}?after=0") as two,
        listen(idle, "/ws/events") as all_of_them,
    ):
        for socket in (one, two, all_of_them):
            await receive(socket)
        await idle.shop.drain()
        for socket in (one, two, all_of_them):
            assert await rest(socket) == []
            assert socket.close_code == 1001
    for path in [f"/ws/jobs/{job['id']}", "/ws/events", "/ws/jobs/none"]:
        assert (await hear(idle, path))[1] == 1001


async def test_what_happens_before_the_drain_is_still_heard(quick: Live) -> None:
    job = await quick.submit("hold")
    await quick.until(job["id"], "running")
    async with listen(quick, f"/ws/jobs/{job['id']}") as socket:
        await receive(socket)
        await quick.client.post(f"/v1/jobs/{job['id']}/cancel")
        await quick.until(job["id"], "cancelled")
        await quick.shop.drain()
        heard = events(await rest(socket))
        assert [message["type"] for message in heard] == ["cancelling", "cancelled"]
        assert socket.close_code == 1000
