"""Many readers at once hear the same, whether the server lets their connections be written to directly or not."""

import asyncio
from typing import Any

import pytest

from jalebi.fanout import Group
from jalebi.web import channels
from tests.live.hearing import check_stream, events, hear
from tests.support import Live

WAYS = pytest.mark.parametrize("direct", [True, False], ids=["direct", "by ASGI"])


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, direct: bool) -> list[Any]:
    """What was written directly; nothing, where the server does not offer it."""
    found: list[Any] = []
    add = Group.add

    def noting(group: Group, message: Any) -> None:
        found.append(message)
        add(group, message)

    monkeypatch.setattr(Group, "add", noting)
    if not direct:
        monkeypatch.setattr(channels, "_direct", lambda *_: None)
    return found


@WAYS
async def test_readers_of_one_job_hear_all_of_it(quick: Live, direct: bool, written: list[Any]) -> None:
    job = await quick.submit("steps", args={"count": 30, "pause": 0.02}, delay=0.3)
    streams = await asyncio.gather(*(hear(quick, f"/ws/jobs/{job['id']}") for _ in range(30)))
    for heard, code in streams:
        assert code == 1000
        check_stream(heard)
        assert [message["type"] for message in events(heard)] == ["queued", "started", "completed"]
        assert any(message["type"] == "progress" for message in heard)
    assert bool(written) == direct


@WAYS
async def test_readers_of_one_job_hear_each_of_its_lines_once_and_in_order(
    quick: Live, direct: bool, written: list[Any]
) -> None:
    job = await quick.submit("talk", args={"lines": 400}, delay=0.3)
    streams = await asyncio.gather(*(hear(quick, f"/ws/jobs/{job['id']}?after=0") for _ in range(20)))
    for heard, code in streams:
        assert code == 1000
        assert [message["seq"] for message in events(heard)] == list(range(1, 405))
        assert [message["log"]["line"] for message in heard if message["type"] == "log"] == list(range(1, 401))
    assert bool(written) == direct
