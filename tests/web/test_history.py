from tests.support import Live


async def test_the_events_of_a_job_come_in_pages_without_holes(live: Live) -> None:
    job = await live.submit("chatty", args={"lines": 7})
    await live.until(job["id"], "completed")
    heard, after = [], 0
    while after is not None:
        answer = await live.client.get(job["links"]["events"], params={"after": after, "limit": 4})
        page = answer.json()
        assert len(page["events"]) <= 4
        heard += page["events"]
        after = page["next"]
    assert [event["seq"] for event in heard] == list(range(1, 13))
    assert [event["type"] for event in heard] == ["created", "started", *["log"] * 7, "file", "file", "completed"]
    assert heard[-1]["job"]["state"] == "completed"
    assert heard[2]["log"] == {"line": 1, "level": "info", "message": "line 1"}


async def test_events_that_can_not_be_asked_for_are_problems(live: Live) -> None:
    assert (await live.client.get("/v1/jobs/nothing/events")).status_code == 404
    job = await live.submit("echo")
    for wrong, status in (("after=x", 400), ("limit=0", 422), ("limit=201", 422), ("since=1", 422)):
        assert (await live.client.get(f"{job['links']['events']}?{wrong}")).status_code == status
