"""The short way of a plain submission says what the ordinary way says, right or wrong."""

from typing import Any

import pytest

from jalebi.web import door
from tests.support import Live

#: A header that nothing heeds, and with which a request goes the ordinary way.
ORDINARY = {"Prefer": "nothing"}
MOVING = {"id", "cursor", "created_at", "links", "run_at", "instance"}


def _told(answer: Any) -> tuple[Any, ...]:
    body = answer.json()
    kept = {name: value for name, value in body.items() if name not in MOVING} if isinstance(body, dict) else body
    names = sorted(set(answer.headers) - {"date", "content-length"})
    return answer.status_code, answer.headers["content-type"], answer.headers.get("retry-after"), names, kept


@pytest.mark.parametrize(
    "body",
    [
        '{"kind": "echo", "args": {"value": 2}}',
        '{"kind": "echo", "args": {"value": 2}, "tags": ["a", "a"], "priority": 7, "queue": "other"}',
        '{"kind": "echo", "args": {"value": 2}, "delay": 60}',
        '{"kind": "echo", "args": {"valeu": 2}}',
        '{"kind": "echo", "args": {}, "nonsense": 1}',
        '{"kind": "nobody"}',
        '{"kind": "echo", "args": {"value": 2}, "after": ["nothing"]}',
        '{"kind": "echo", "kind": "echo"}',
        '{"kind": "echo", "args": {"value": NaN}}',
        '{"kind": "ec\\u0000ho"}',
        '{"kind": "\\ud800"}',
        '{"kind": "echo", "webhook": {"url": "ftp://example.org"}}',
        "[" * 40 + "]" * 40,
        "[1, 2]",
        "{",
        "",
        "null",
    ],
)
async def test_both_ways_answer_alike(idle: Live, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Content-Type": "application/json"}
    ordinary = await idle.client.post("/v1/jobs", content=body, headers=headers | ORDINARY)
    short = await idle.client.post("/v1/jobs", content=body, headers=headers)
    assert _told(short) == _told(ordinary)
    if short.status_code == 202:
        assert short.headers["location"] == f"/v1/jobs/{short.json()['id']}/status"


async def test_a_plain_submission_goes_the_short_way_and_an_unusual_one_does_not(
    idle: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bytes] = []
    answer = door._answer

    async def noting(rooms: Any, body: bytes, root: str, send: Any) -> None:
        taken.append(body)
        await answer(rooms, body, root, send)

    monkeypatch.setattr(door, "_answer", noting)
    order = {"kind": "echo", "args": {"value": 1}}
    for headers in (ORDINARY, {"Idempotency-Key": "k"}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert (await idle.client.post("/v1/jobs", json=order, headers=headers)).status_code == 202
    assert len(taken) == 1


async def test_another_sites_page_does_not_come_in_by_the_short_way(idle: Live) -> None:
    order = {"kind": "echo", "args": {"value": 1}}
    answer = await idle.client.post("/v1/jobs", json=order, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


async def test_a_body_in_pieces_is_put_together(idle: Live) -> None:
    async def pieces() -> Any:
        for piece in (b'{"kind": "ec', b'ho", "args": {"value"', b": 1}}"):
            yield piece

    answer = await idle.client.post("/v1/jobs", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
