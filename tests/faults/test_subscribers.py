"""Subscribers that are cut off at any byte miss nothing and hear nothing twice; those that never read hurt nobody."""

import asyncio
import os
import random
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from jalebi import JobContext
from jalebi.events import Event
from jalebi.hub import Hub
from jalebi.jobs import TERMINAL
from jalebi.web import following
from tests.faults.subscribers import Message, Subscriber, faults
from tests.support import Live, ServerProcess, eventually, server, serving
from tests.targets.quick import quick_shop

pytestmark = pytest.mark.faults

LONG: Final = os.environ.get("JALEBI_FAULTS") == "long"
#: Read at import: a fixture clears the environment of each test.
SEED: Final = int(os.environ.get("JALEBI_FAULT_SEED") or random.randrange(10**9))
CUTS: Final = 10_000 if LONG else 600
STUCK: Final = 50 if LONG else 25
HEALTHY: Final = 500 if LONG else 100


async def drip(ctx: JobContext, lines: int, pause: float = 0.002) -> None:
    """Say something now and then."""
    for number in range(lines):
        ctx.log(f"{number} ".ljust(ctx.attempt * 37 % 400, "x"))
        ctx.progress(number, lines)
        await asyncio.sleep(pause)


@dataclass
class Cutting:
    """A run: subscribers of each kind of channel, cut off until there were enough cuts."""

    live: Live
    most: int
    cuts: int = 0
    broken: int = 0
    followed: int = 0
    found: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        """Where the server listens."""
        return int(self.live.url.rpartition(":")[2])

    async def produce(self) -> None:
        """Hand in jobs of many kinds until there were enough cuts."""
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("echo", {"value": "x" * 500}),
            ("chatty", {"lines": 5}),
            ("flaky", {}),
            ("fail", {}),
            ("drip", {"lines": 20}),
        ]
        number = 0
        while not self.over.is_set():
            kind, args = kinds[number % len(kinds)]
            await self.live.submit(kind, args=args)
            number += 1
            await asyncio.sleep(0.03)

    async def follow_all(self, channel: str, chance: random.Random, start: str) -> Subscriber:
        """Follow all jobs, cut off again and again."""
        one = Subscriber(self.port, channel, None, chance, begin=start)
        while not self.over.is_set():
            await self._cut(one)
        return one

    async def follow_each(self, channel: str, chance: random.Random) -> None:
        """Follow one job after the other, each to its end, and compare."""
        while not self.over.is_set():
            job = await self.live.submit("drip", args={"lines": chance.randrange(40)})
            one = Subscriber(self.port, channel, job["id"], chance, begin="0")
            while not self.over.is_set() and (not one.heard or one.heard[-1]["type"] != "completed"):
                await self._cut(one)
            await one.once(None)
            await self._compare(one, f"/v1/jobs/{job['id']}/events")
            # The server says at once that there is nothing more: no event comes again.
            assert await one.once(None) == (1000 if channel == "ws" else 204)
            await self._compare(one, f"/v1/jobs/{job['id']}/events")
            self.followed += 1

    async def _cut(self, one: Subscriber) -> None:
        before, broken = one.cuts, one.broken
        await one.again()
        self.cuts += one.cuts - before
        self.broken += one.broken - broken
        if self.cuts >= self.most or self.found:
            self.over.set()

    async def _compare(self, one: Subscriber, path: str, after: str | None = None) -> None:
        truth = await polled(self.live, path, after)
        self.found += [f"{one.channel} {one.job_id or 'all'} {what}" for what in faults(one.heard, truth)]

    async def finish(self, one: Subscriber, start: str) -> None:
        """Let a subscriber of all jobs hear the rest, then nothing, and compare."""
        truth = await polled(self.live, "/v1/events", start)
        if one.last != truth[-1]["cursor"]:
            await one.once(None, until=truth[-1]["cursor"])
        one.heard = one.heard[: len(truth) + 5]
        await self._compare(one, "/v1/events", start)
        heard = len(one.heard)
        await one.once(5000)  # nothing new: it is primed, and hears nothing again
        assert len(one.heard) == heard


async def polled(live: Live, path: str, after: str | None = None) -> list[Message]:
    """Return all events as polls see them."""
    found: list[Message] = []
    while True:
        query = {"limit": "200"} | ({"after": str(after)} if after is not None else {})
        page = (await live.client.get(path, params=query)).json()
        found.extend(page["events"])
        after = page["next"]
        if after is None:
            return found


async def cutting(tmp_path: Path, most: int) -> Cutting:
    """Cut subscribers off `most` times; return what came of it."""
    shop = quick_shop(database_url=f"sqlite:///{tmp_path / 'jobs.db'}", concurrency=20)
    shop.job(drip)
    chance = random.Random(SEED)
    async with serving(shop, shop) as live:
        first = await live.until((await live.submit("echo"))["id"], "completed")
        start = first["cursor"]
        run = Cutting(live, most)
        chances = [random.Random(chance.random()) for _ in range(8)]
        async with asyncio.TaskGroup() as group:
            group.create_task(run.produce())
            everyone = [
                group.create_task(run.follow_all(channel, chances.pop(), start)) for channel in ("ws", "sse") * 2
            ]
            for channel in ("ws", "sse") * 2:
                group.create_task(run.follow_each(channel, chances.pop()))
        await eventually(partial(all_over, live))
        if not run.found:
            for one in everyone:
                await run.finish(one.result(), start)
    return run


async def all_over(live: Live) -> bool | None:
    """Whether every job is over."""
    counts = (await live.client.get("/v1/stats")).json()["states"]
    return None if any(count for state, count in counts.items() if state not in TERMINAL) else True


async def test_every_event_comes_once_and_in_order_however_often_a_subscriber_is_cut_off(tmp_path: Path) -> None:
    began = time.monotonic()
    run = await cutting(tmp_path, CUTS)
    print(
        f"\nseed {SEED}: {run.cuts} cuts ({run.broken} inside of a message) over WebSocket and SSE, "
        f"{run.followed} jobs followed one by one, {len(run.found)} faults, {time.monotonic() - began:.1f} s"
    )
    assert run.cuts >= CUTS
    assert run.broken > CUTS / 20
    assert not run.found, run.found[:10]


async def test_the_check_finds_what_comes_twice_where_nobody_leaves_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all, of_job = following._pass_on, following._pass_on_job

    async def all_of_it(mailbox: Any, batch: Any, _last: int, early: bool, tell: Any) -> int:
        return await of_all(mailbox, batch, -1, early, tell)

    async def all_of_its(mailbox: Any, batch: Any, _last: int, tell: Any) -> tuple[int, bool]:
        return await of_job(mailbox, batch, -1, tell)

    monkeypatch.setattr(following, "_pass_on", all_of_it)
    monkeypatch.setattr(following, "_pass_on_job", all_of_its)
    run = await cutting(tmp_path, 600)
    assert any("twice" in what or "order" in what for what in run.found), run.cuts


async def test_the_check_finds_what_the_hub_passes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Hub.publish

    def forgetful(hub: Hub, event: Event) -> None:
        if event.number % 7 or event.type != "log":
            publish(hub, event)

    monkeypatch.setattr(Hub, "publish", forgetful)
    run = await cutting(tmp_path, 300)
    assert any("missing" in what for what in run.found), run.cuts


SHOP: Final = """
import asyncio, time
from jalebi import Jalebi, JobContext
shop = Jalebi()

@shop.job
async def say(ctx: JobContext, seconds: float, every: float, size: int = 0, burst: int = 0) -> None:
    for _ in range(burst):
        ctx.log("x" * size)
        await asyncio.sleep(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ctx.log(f"stamp={time.monotonic_ns()} " + "x" * size)
        await asyncio.sleep(every)
"""
_STAMP: Final = re.compile(rb"stamp=(\d+) ")


class Healthy(asyncio.Protocol):
    """Reads everything at once and notes how old it was."""

    def __init__(self, request: bytes, delays: list[float]) -> None:
        self._request, self._delays = request, delays

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._delays.extend((now - int(stamp)) / 1e6 for stamp in _STAMP.findall(data))


def request_for(channel: str, port: int, query: str) -> bytes:
    """Return the request of a subscriber of all jobs."""
    one = Subscriber(port, channel, None, random.Random(0))
    address = "/ws/events" if channel == "ws" else "/v1/events"
    return one.request().replace(b"?after=", b"").replace(address.encode(), f"{address}?{query}".encode(), 1)


def deaf(port: int, channel: str) -> socket.socket:
    """Return a subscriber with little room that never reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(request_for(channel, port, "kind=say"))
    return made


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def waiting(port: int) -> dict[int, int]:
    """Return how many bytes wait in the kernel for each peer of a server's open connections, by the peer's port."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, mine, peer, state, queues, *_ = line.split()
        if int(mine.rpartition(":")[2], 16) == port and state == "01":
            found[int(peer.rpartition(":")[2], 16)] = int(queues.partition(":")[0], 16)
    return found


class Watch:
    """When each stuck subscriber took its last byte, and when its connection was gone."""

    def __init__(self, port: int, silent: list[socket.socket]) -> None:
        self._port = port
        self._queued = dict.fromkeys([one.getsockname()[1] for one in silent], -1)
        self._filled = dict.fromkeys(self._queued, 0.0)
        self.took: list[float] = []  # seconds from the one to the other

    def look(self) -> None:
        """Look at the kernel's table."""
        queues, now = waiting(self._port), time.monotonic()
        for peer, before in list(self._queued.items()):
            if peer not in queues:
                del self._queued[peer]
                self.took.append(now - self._filled[peer])
            elif queues[peer] > before:
                self._queued[peer], self._filled[peer] = queues[peer], now


def sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    found = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += os.readlink(link).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


@dataclass
class Round:
    """What was measured in one round."""

    p95: float
    messages: int
    growth: int  # bytes of memory at the most, over those before the stuck subscribers came
    gone: float  # seconds from the last byte that a stuck subscriber's kernel took until the server closed the socket


async def measured(process: ServerProcess, stuck: int, seconds: float, burst: int = 60) -> Round:
    """Let healthy subscribers hear a steady job while stuck ones, and two that read, are flooded."""
    port, pid = int(process.url.rpartition(":")[2]), process.process.pid
    loop, delays, readers, silent = asyncio.get_running_loop(), list[float](), [], []
    async with httpx2.AsyncClient(base_url=process.url) as client:

        async def submit(**body: Any) -> None:
            answer = await client.post("/v1/jobs", json={"kind": "say", **body})
            assert answer.status_code == 202

        for number in range(HEALTHY + 2):
            query, noted = ("tag=steady", delays) if number < HEALTHY else ("kind=say", list[float]())
            request = request_for("ws" if number % 2 else "sse", port, query)
            made = await loop.create_connection(partial(Healthy, request, noted), "127.0.0.1", port)
            readers.append(made[0])
        try:
            await until(lambda: sockets(pid) >= HEALTHY + 2)
            await asyncio.sleep(0.3)  # what opening them takes is not the stuck ones'
            base, before = sockets(pid), resident(pid)
            silent = [deaf(port, "ws" if number % 2 else "sse") for number in range(stuck)]
            await until(lambda: sockets(pid) >= base + stuck)
            await submit(args={"seconds": seconds, "every": HEALTHY / 2000}, tags=["steady"])
            await submit(args={"seconds": seconds, "every": 0.02, "size": 15_000, "burst": burst}, tags=["flood"])
            began, most, watch = time.monotonic(), 0, Watch(port, silent)
            while time.monotonic() < began + seconds and (not stuck or len(watch.took) < stuck):
                await asyncio.sleep(0.1)
                watch.look()
                most = max(most, resident(pid) - before)
            if stuck:
                assert len(watch.took) == stuck
                await until(lambda: sockets(pid) <= base + 1)  # the client's own connection may come and go
        finally:
            for transport in readers:
                transport.abort()
            for one in silent:
                one.close()
    delays.sort()
    return Round(delays[int(len(delays) * 0.95)], len(delays), most, max(watch.took, default=0.0))


async def until(reached: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110  another process: there is no event to wait for
            await asyncio.sleep(0.02)


async def test_subscribers_that_never_read_cost_little_are_gone_soon_and_slow_nobody(tmp_path: Path) -> None:
    (tmp_path / "sweets.py").write_text(SHOP)
    database = f"sqlite:///{tmp_path / 'jobs.db'}"
    with server("serve", "sweets.py", "--port", "0", "--database", database, cwd=tmp_path) as process:
        process.ready()
        await measured(process, 0, 4.0, burst=1500)  # caches of texts and of the database fill once
        alone = await measured(process, 0, 8.0)
        beside = await measured(process, STUCK, 40.0)
    each = (beside.growth - max(0, alone.growth)) / STUCK / (1 << 20)
    print(
        f"\n{STUCK} that never read beside {HEALTHY} that do, WebSocket and SSE by turns: {each:.2f} MiB each, "
        f"gone {beside.gone:.1f} s after their last byte; healthy p95 {beside.p95:.1f} ms, alone {alone.p95:.1f} ms, "
        f"ratio {beside.p95 / alone.p95:.2f} over {beside.messages} messages"
    )
    assert each <= 1.0
    assert 0 < beside.gone < 15.0
    assert beside.p95 < max(100.0, 2 * alone.p95)
