"""How the client tries again, without a server: what it asks, how long it waits, when it gives up."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from jalebi.client import Job, JobActive, QueueFull, Unreachable, WaitTimeout, asking
from jalebi.client.effects import Cut, Flow
from jalebi.client.places import JobPlace
from jalebi.client.retrying import Policy
from tests.client.playing import Play, answer, problem

JOB = {"id": "1", "kind": "echo", "state": "queued", "seq": 1}
OVER = {**JOB, "state": "completed", "seq": 3}


def submit(policy: Policy, *, wait: float | None = None) -> Flow[Job]:
    return asking.submit(policy, asking.submission("echo", None, {}), None, wait)


def test_a_submission_is_sent_again_with_the_same_key_whatever_went_wrong() -> None:
    play = Play([
        Cut("refused", sent=False), Cut("broke"), answer(502), problem(503, "queue-full"), answer(429), answer(202, JOB)
    ])  # fmt: skip
    assert play.run(submit).id == "1"
    assert len(play.asked) == 6
    assert len({request.headers["idempotency-key"] for request in play.asked}) == 1
    assert play.pauses == sorted(play.pauses)
    assert play.pauses[0] < play.pauses[-1]


def test_two_submissions_have_two_keys() -> None:
    play = Play([answer(202, JOB), answer(202, JOB)])
    play.run(submit)
    play.run(submit)
    assert play.asked[0].headers["idempotency-key"] != play.asked[1].headers["idempotency-key"]


def test_the_server_says_how_long_to_wait() -> None:
    play = Play([problem(503, "queue-full", retry_after=7), answer(202, JOB)])
    play.run(submit)
    assert play.pauses == [7.0]


def test_a_wait_that_is_longer_than_the_patience_is_not_begun() -> None:
    play = Play([problem(503, "queue-full", retry_after=31)])
    with pytest.raises(QueueFull) as refused:
        play.run(submit)
    assert (refused.value.status, refused.value.type) == (503, "urn:jalebi:problem:queue-full")
    assert play.pauses == []


def test_all_tries_together_are_bounded() -> None:
    play = Play((Cut("nobody", sent=False) for _ in range(10_000)), patience=12.0)
    with pytest.raises(Unreachable, match="nobody"):
        play.run(partial(asking.get, job_id="1"))
    assert play.now == pytest.approx(12.0)
    assert len(play.asked) < 20


def test_a_retry_that_may_have_arrived_is_not_sent_again() -> None:
    play = Play([Cut("refused", sent=False), problem(503, "storage-unavailable"), Cut("broke"), answer(202, JOB)])
    with pytest.raises(Unreachable, match="broke"):
        play.run(partial(asking.retry, job_id="1"))
    assert len(play.asked) == 3
    play = Play([answer(502), answer(202, JOB)])
    with pytest.raises(Exception, match="502"):
        play.run(partial(asking.retry, job_id="1"))
    with pytest.raises(JobActive):
        Play([problem(409, "job-active")]).run(partial(asking.retry, job_id="1"))


def test_a_server_that_holds_requests_is_asked_to_and_not_asked_more_often() -> None:
    held = {"preference_applied": "wait=30"}
    play = Play([
        answer(200, JOB, etag='"1"'), answer(304, **held), answer(304, **held), answer(200, OVER, etag='"3"', **held)
    ])  # fmt: skip
    assert play.run(partial(asking.wait, job_id="1", timeout=None, patience=None)).state == "completed"
    assert play.pauses == []
    assert "prefer" not in play.asked[0].headers
    assert [dict(request.headers) for request in play.asked[1:]] == 3 * [
        {"accept": "application/json", "if-none-match": '"1"', "prefer": "wait=30"}
    ]


def test_changes_that_come_fast_are_not_followed_one_by_one() -> None:
    changing = [answer(200, {**JOB, "seq": seq}, etag=f'"{seq}"', preference_applied="wait=30") for seq in range(50)]
    play = Play([*changing, answer(200, OVER, etag='"x"', preference_applied="wait=30")])
    play.run(partial(asking.wait, job_id="1", timeout=None, patience=None))
    assert play.now > 3.0
    assert max(play.pauses) <= 1.0


@pytest.mark.parametrize("etag", [{}, {"etag": '"1"'}], ids=["no tag", "a tag"])
def test_a_server_that_can_not_hold_requests_is_asked_now_and_then(etag: dict[str, str]) -> None:
    plain = answer(304) if etag else answer(200, JOB)
    play = Play([answer(200, JOB, **etag), *[plain] * 20, answer(200, OVER)])
    play.run(partial(asking.wait, job_id="1", timeout=None, patience=None))
    assert len(play.asked) == 22
    assert play.now >= 1.0  # 20 pauses of 0.05 s at the least
    play = Play([answer(200, JOB, retry_after="4"), answer(200, OVER)])
    play.run(partial(asking.wait, job_id="1", timeout=None, patience=None))
    assert play.pauses == [4.0]


def test_waiting_ends_in_time_with_the_job_as_it_stands() -> None:
    play = Play([answer(200, JOB) for _ in range(1000)])
    with pytest.raises(WaitTimeout) as late:
        play.run(partial(asking.wait, job_id="1", timeout=5.0, patience=None))
    assert late.value.job.state == "queued"
    assert play.now == pytest.approx(5.0)


def test_a_submission_that_waits_asks_the_server_to_and_goes_on_by_itself() -> None:
    play = Play([answer(200, OVER, preference_applied="wait=30")])
    assert play.run(partial(submit, wait=60)).terminal
    assert play.asked[0].headers["prefer"] == "wait=30"
    play = Play([answer(202, JOB), answer(200, JOB), answer(200, OVER)])
    assert play.run(partial(submit, wait=2.5)).terminal
    assert play.asked[0].headers["prefer"] == "wait=3"
    play = Play([answer(202, JOB), *[answer(200, JOB)] * 1000])
    assert play.run(partial(submit, wait=2.5)).state == "queued"


def test_a_batch_is_sent_as_one_request() -> None:
    body = {"jobs": [JOB, OVER], "batch": {"id": "b", "state": "running", "counts": {"queued": 1}, "new": 1}}
    play = Play([Cut("broke"), answer(202, body)])
    jobs: list[Mapping[str, Any]] = [
        {"kind": "echo", "args": {"value": 1}, "tags": ["a"]},
        {"kind": "echo", "webhook": "https://b.example/"},
    ]
    batch = play.run(partial(asking.submit_batch, bodies=jobs, last=None, key=None, webhook="https://a.example/"))
    assert (batch.id, batch.counts, [job.state for job in batch.jobs]) == ("b", {"queued": 1}, ["queued", "completed"])
    assert batch.jobs[0].wire == JOB
    assert play.asked[0] == play.asked[1]
    assert json.loads(play.asked[0].body or b"") == {
        "jobs": [
            {"kind": "echo", "args": {"value": 1}, "tags": ["a"]},
            {"kind": "echo", "webhook": {"url": "https://b.example/"}},
        ],
        "webhook": {"url": "https://a.example/"},
    }


def test_a_list_is_read_page_by_page_as_far_as_it_is_wanted() -> None:
    pages = [answer(200, {"jobs": [JOB] * 200, "next": "c"}), answer(200, {"jobs": [JOB] * 50, "next": "d"})]
    play = Play(pages)
    play.run(partial(asking.listed, query=(("state", "queued"),), limit=250))
    assert len(play.emitted) == 250
    assert [dict(request.query) for request in play.asked] == [
        {"state": "queued", "limit": "200"},
        {"state": "queued", "limit": "50", "cursor": "c"},
    ]
    first = next(asking.listed(play.policy, (), None))
    assert type(first).__name__ == "Call"


def test_pages_end_with_the_job_and_ask_a_server_that_holds_requests_for_no_more() -> None:
    held = {"preference_applied": "wait=30"}
    types = ["created", "started", "completed"]
    events = [{"type": name, "job_id": "1", "seq": seq} for seq, name in enumerate(types, 1)]
    play = Play([
        answer(200, JOB, etag='"1"'), answer(200, {"events": events[:1], "next": None}), answer(304, **held),
        answer(200, OVER, etag='"3"', **held), answer(200, {"events": events[1:], "next": None}),
    ])  # fmt: skip
    place = JobPlace(play.policy, "1", 0, lambda event: event, 30.0)
    assert play.run(lambda _: place.ask()) is True
    assert [event.seq for event in play.emitted] == [1, 2, 3]
    over = JobPlace(play.policy, "1", 99, lambda event: event, 30.0)
    assert Play([answer(200, OVER, etag='"3"')]).run(lambda _: over.ask()) is True
