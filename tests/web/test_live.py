"""The pages' WebSocket: what a page is sent, after it has said what it shows."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from jalebi.jobs import Stopped
from jalebi.store import missed
from jalebi.web import live as module
from jalebi.web.views import listed, single
from tests.support import PATIENCE, Live, eventually, serving
from tests.targets import kinds


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """The kinds of the tests, in a shop that does not wait for its jobs when it closes."""
    shop = kinds.make_shop(database_url="sqlite://", grace=0, cancel_grace=0.6)
    async with serving(shop, shop) as found:
        yield found


class Listener:
    """A page without a browser: says what it shows, acknowledges bars, keeps what it is sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []
        self.acknowledges = True

    async def frame(self, kind: str) -> dict[str, Any]:
        """Return the next frame of a kind."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                self.frames.append(frame)
                if "f" in frame and self.acknowledges:
                    await self.socket.send(json.dumps({"seen": frame["f"]}))
                if frame["k"] == kind:
                    return frame

    async def html(self, part: str) -> str:
        """Return the next HTML that has a part."""
        while part not in (found := (await self.frame("html"))["content"]):
            pass
        return str(found)


@asynccontextmanager
async def page(live: Live, query: str, **word: Any) -> AsyncIterator[Listener]:
    async with websockets.connect(f"{live.ws}/ws/live?{query}") as socket:
        await socket.send(json.dumps(word))
        yield Listener(socket)


async def shown(live: Live, path: str) -> dict[str, Any]:
    """Return what a page that was just fetched says of itself."""
    text = (await live.client.get(path, headers={"Accept": "text/html"})).text
    [after] = re.findall(r'data-after="([^"]*)"', text)
    rows = re.findall(r'data-job="([^"]+)"[^>]*data-v="(\d+)"', text)
    lines = re.findall(r'data-line="(\d+)"', text)
    return {"after": after, "rows": {job: int(v) for job, v in rows}, "line": int(lines[-1]) if lines else 0}


async def test_a_row_gets_bars_and_then_its_end(live: Live) -> None:
    job = await live.submit("steps", args={"count": 10_000})
    async with page(live, "view=jobs", **await shown(live, "/jobs")) as listener:
        await listener.frame("hello")
        first = (await listener.frame("bars"))["bars"][0]
        assert first[0] == job["id"]
        assert 0 <= first[2] <= 100
        await live.client.post(f"/v1/jobs/{job['id']}/cancel")
        ended = await listener.html('data-state="cancelled"')
        assert f'id="job-{job["id"]}"' in ended
        assert 'hx-swap-oob="outerMorph"' in ended


async def test_what_happened_between_the_page_and_the_socket_is_sent(live: Live) -> None:
    job = await live.submit("echo", delay=500)
    word = await shown(live, "/jobs")
    await live.client.post(f"/v1/jobs/{job['id']}/cancel")
    await live.submit("echo")
    async with page(live, "view=jobs", **word) as listener:
        await listener.html('data-state="cancelled"')
        assert (await listener.frame("new"))["n"] == 1


async def test_new_jobs_are_counted_by_the_filters_of_the_page(live: Live) -> None:
    async with page(live, "view=jobs&tag=mine&q=spirals", **await shown(live, "/jobs")) as listener:
        await listener.frame("hello")
        await live.submit("echo", args={"value": "spirals"})
        await live.submit("echo", tags=["mine"])
        await live.submit("echo", args={"value": "Spirals"}, tags=["mine", "yours"])
        assert (await listener.frame("new"))["n"] == 1


async def test_a_job_that_no_longer_matches_is_no_longer_counted(live: Live) -> None:
    async with page(live, "view=jobs&state=running", **await shown(live, "/jobs?state=running")) as listener:
        await listener.frame("hello")
        job = await live.submit("steps", args={"count": 10_000})
        assert (await listener.frame("new"))["n"] == 1
        await live.client.post(f"/v1/jobs/{job['id']}/cancel")
        assert (await listener.frame("new"))["n"] == 0


async def test_new_jobs_told_of_before_a_cut_are_counted_again_after_it(live: Live) -> None:
    word = await shown(live, "/jobs?tag=mine")
    one = await live.submit("echo", tags=["mine"], delay=500)
    async with page(live, "view=jobs&tag=mine", **word) as listener:
        assert (await listener.frame("new"))["n"] == 1
    later = word | {"after": one["cursor"], "since": word["after"], "new": 1}
    await live.submit("echo", tags=["mine"])
    async with page(live, "view=jobs&tag=mine", **later) as listener:
        counted = await listener.frame("new")
        assert (counted["n"], counted["more"]) == (2, False)
        assert counted["f"]  # it is to be acknowledged as everything else
        await live.client.delete(f"/v1/jobs/{one['id']}")
        assert (await listener.frame("new"))["n"] == 1


async def test_more_new_jobs_than_are_looked_through_are_said_to_be_more(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = await shown(live, "/jobs")
    for _ in range(2):
        await live.submit("echo", delay=500)
    monkeypatch.setattr(listed, "REPLAYED", 1)
    monkeypatch.setattr(missed, "PAGE", 1)
    async with page(live, "view=jobs", **word) as listener:
        counted = await listener.frame("new")
        assert (counted["n"], counted["more"]) == (1, True)


async def test_a_row_whose_job_was_deleted_says_so(live: Live) -> None:
    job = await live.submit("echo")
    await live.until(job["id"])
    other = await live.submit("echo")
    await live.until(other["id"])
    word = await shown(live, "/jobs")
    await live.client.delete(f"/v1/jobs/{job['id']}")
    async with page(live, "view=jobs", **word) as listener:
        assert "was deleted" in await listener.html(job["id"])
        await live.client.delete(f"/v1/jobs/{other['id']}")
        assert "was deleted" in await listener.html(other["id"])


async def test_a_page_that_paints_nothing_gets_two_frames_and_then_the_newest_state(live: Live) -> None:
    job = await live.submit("steps", args={"count": 100_000, "pause": 0.01})
    async with page(live, "view=jobs", **await shown(live, "/jobs")) as listener:
        listener.acknowledges = False
        frames: list[int] = []
        while len(frames) < 2:  # of either sort: bars, or fragments
            frames += [frame["f"] for frame in [json.loads(await listener.socket.recv())] if "f" in frame]
        await live.client.post(f"/v1/jobs/{job['id']}/cancel")
        await live.until(job["id"], "cancelled")
        rooms = await live.shop.open()
        held = rooms.traffic.held

        async def held_back() -> bool | None:
            return True if rooms.traffic.held > held + 2 else None

        await eventually(held_back)
        before = len(listener.frames)
        await listener.socket.send(json.dumps({"seen": frames[-1]}))
        assert 'data-state="cancelled"' in await listener.html(job["id"])
        assert all(frame["k"] != "bars" for frame in listener.frames[before:])  # its bar is over


async def test_frames_come_five_times_a_second_at_most(live: Live) -> None:
    await live.submit("steps", args={"count": 100_000, "pause": 0.001})
    async with page(live, "view=jobs", **await shown(live, "/jobs")) as listener:
        await listener.frame("bars")
        clock = asyncio.get_running_loop().time
        start = clock()
        for _ in range(5):
            await listener.frame("bars")
        assert clock() - start > 5 * module.TICK * 0.8


async def test_a_page_of_another_installation_is_fetched_again(live: Live) -> None:
    for query, word in [("view=jobs", {"after": "other-7"}), (f"view=job&job={'0' * 36}", {"after": ""})]:
        async with page(live, query, **word) as listener:
            await listener.frame("resync")
            with pytest.raises(websockets.ConnectionClosedOK):
                await listener.frame("none")


async def test_a_job_page_gets_its_log_without_holes_and_twice_nothing(live: Live) -> None:
    word = await shown(live, "/jobs")
    job = await live.submit("chatty", args={"lines": 40})
    lines: list[int] = []
    async with page(live, f"view=job&job={job['id']}", **word) as listener:
        while 'data-state="completed"' not in (html := (await listener.frame("html"))["content"]):
            lines += map(int, re.findall(r'data-line="(\d+)"', html))
        lines += map(int, re.findall(r'data-line="(\d+)"', html))
    assert lines == list(range(1, 41))
    word["line"] = 38
    async with page(live, f"view=job&job={job['id']}", **word) as listener:
        assert re.findall(r'data-line="(\d+)"', await listener.html("data-line")) == ["39", "40"]


async def test_a_job_page_whose_job_is_deleted_is_fetched_again(live: Live) -> None:
    job = await live.submit("echo", delay=500)
    async with page(live, f"view=job&job={job['id']}", **await shown(live, f"/jobs/{job['id']}")) as listener:
        await listener.frame("hello")
        await live.client.delete(f"/v1/jobs/{job['id']}")
        await listener.frame("resync")


@pytest.mark.parametrize("path", ["/", "/queues", "/workers"])
async def test_regions_follow_what_happens(live: Live, path: str) -> None:
    view = path.strip("/") or "overview"
    async with page(live, f"view={view}", **await shown(live, path)) as listener:
        await listener.frame("hello")
        await live.submit("steps", args={"count": 10_000}, queue="fresh")
        html = await listener.html("fresh")
        assert "hx-swap-oob" in html


@pytest.mark.parametrize("query", ["view=plain", "view=jobs", "view=overview"])
async def test_trouble_with_the_storage_comes_and_goes(live: Live, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    store = (await live.shop.open()).store
    async with page(live, query, **await shown(live, "/jobs")) as listener:
        await listener.frame("hello")
        monkeypatch.setattr(type(store), "trouble", "the disk is full")
        assert 'role="alert" hx-swap-oob="outerMorph"><svg' in await listener.html("The disk is full: nothing new")
        monkeypatch.setattr(type(store), "trouble", None)
        assert 'hx-swap-oob="outerMorph" hidden></p>' in await listener.html('id="trouble"')


async def test_a_page_that_still_speaks_of_trouble_is_told_that_it_is_over(live: Live) -> None:
    word = await shown(live, "/jobs") | {"trouble": "The disk is full."}
    async with page(live, "view=jobs", **word) as listener:
        assert "hidden></p>" in await listener.html('id="trouble"')


async def test_receipts_reach_the_page_and_no_subscriber_of_the_api(live: Live) -> None:
    job = await live.submit("steps", args={"count": 10_000})
    await live.until(job["id"], "running")
    store = (await live.shop.open()).store
    own = f"/jobs/{job['id']}"
    async with (
        websockets.connect(f"{live.ws}/ws{own}") as api,
        page(live, f"view=job&job={job['id']}", **await shown(live, own)) as listener,
    ):
        await listener.frame("hello")
        await store.cancel(job["id"], None)  # nobody tells the attempt
        assert 'class="pending">delivered' in await listener.html('data-state="cancelling"')
        await store.record_receipt(job["id"], 1, "delivered", at=store.clock())
        assert 'class="done">delivered' in await listener.html("receipts")
        await store.record_receipt(job["id"], 1, "acknowledged", at=store.clock())
        assert 'class="done">acknowledged' in await listener.html("receipts")
        await store.settle(job["id"], 1, Stopped(), None)
        assert 'class="done">stopped' in await listener.html('data-state="cancelled"')
        types = [json.loads(message)["type"] async for message in api]
    assert {*types} - {"progress"} == {"snapshot", "cancelling", "cancelled"}


async def test_a_silent_page_hears_a_heartbeat(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.1)
    async with page(live, "view=plain", after="") as listener:
        await listener.frame("beat")


async def test_who_does_not_say_what_it_shows_is_sent_away(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WORD", 0.1)
    async with websockets.connect(f"{live.ws}/ws/live?view=jobs") as socket:
        await socket.send("this is no JSON")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("query", ["view=nonsense", "view=jobs&state=nonsense", ""])
async def test_what_makes_no_sense_is_refused(live: Live, query: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(f"{live.ws}/ws/live?{query}"):
            pass
    assert refused.value.response.status_code == 400


async def test_pages_leave_nothing_behind(live: Live) -> None:
    hub = (await live.shop.open()).hub
    for _ in range(3):
        async with page(live, "view=jobs", **await shown(live, "/jobs")) as listener:
            await listener.frame("hello")

    async def nobody() -> bool | None:
        return True if hub.readers == 0 else None

    assert await eventually(nobody)


async def test_all_pages_together_read_the_counts_once(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = await live.shop.open()
    word, reads, old = await shown(live, "/"), 0, rooms.store.read

    async def read(query: Any) -> Any:
        nonlocal reads
        reads += 1
        return await old(query)

    monkeypatch.setattr(rooms.store, "read", read)
    await live.submit("steps", args={"count": 10_000})
    async with page(live, "view=overview", **word) as one, page(live, "view=overview", **word) as other:
        await asyncio.gather(one.html("steps"), other.html("steps"))
    assert reads <= 2


async def test_the_page_of_a_job_is_told_anew_when_it_will_be_done(
    quick: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single, "EXPECT_EVERY", 0.0)
    job = await quick.submit("talk", args={"lines": 0, "after": "never"})
    await quick.until(job["id"], "running")
    rooms = await quick.shop.open()
    history = rooms.queue.forecast.histories.of("talk")
    async with page(quick, f"view=job&job={job['id']}", **await shown(quick, f"/jobs/{job['id']}")) as listener:
        assert '<span id="expected" hx-swap-oob="outerMorph"></span>' in await listener.html('id="expected"')
        for number in range(20):
            history.add(f"earlier-{number}", 7200.0)
        assert "· done in about 1 to 2 h" in await listener.html('id="expected"')
