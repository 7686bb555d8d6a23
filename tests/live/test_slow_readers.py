"""A reader that takes nothing slows nobody, costs a bounded amount, and is cut off; a resumed one misses nothing."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.types import Scope
from starlette.websockets import WebSocket

from jalebi.mailbox import ROOM
from jalebi.web import channels
from tests.live.hearing import TERMINAL, check_stream, events, hear, listen, receive, rest
from tests.support import PATIENCE, Live, eventually

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def deaf(live: Live, path: str) -> socket.socket:
    """Return a socket that has shaken hands, has little room, and never reads."""
    address = urlsplit(live.url)
    assert address.hostname is not None
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, (address.hostname, address.port))
    await loop.sock_sendall(made, _HANDSHAKE.format(path=path, host=address.netloc).encode())
    answer = await loop.sock_recv(made, 12)
    assert answer == b"HTTP/1.1 101"
    return made


async def readers(live: Live, count: int) -> None:
    """Wait until the hub has so many readers."""
    hub = (await live.shop.open()).hub

    async def so_many() -> bool | None:
        return True if hub.readers == count else None

    await eventually(so_many)


@pytest.mark.parametrize("path", ["/ws/events", "/ws/jobs/{id}?after=0"])
async def test_a_reader_that_takes_nothing_is_dropped_and_slows_nobody(
    quick: Live, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setitem(vars(quick.shop.settings), "subscriber_timeout", 0.3)
    monkeypatch.setattr(channels, "LAST_WORD", 0.1)
    abort, aborted = channels.abort, asyncio.Event()

    def drop(scope: Scope) -> None:
        abort(scope)
        aborted.set()

    monkeypatch.setattr(channels, "abort", drop)
    job = await quick.submit("talk", args={"lines": 900, "size": 16_000}, delay=0.2)
    silent = await deaf(quick, path.format(id=job["id"]))
    try:
        await readers(quick, 1)
        heard, code = await hear(quick, f"/ws/jobs/{job['id']}?after=0")
        assert code == 1000
        check_stream(heard)
        assert heard[-1]["type"] in TERMINAL
        await readers(quick, 0)
        async with asyncio.timeout(PATIENCE):
            await aborted.wait()
            await _ended(silent)
    finally:
        silent.close()


async def _ended(silent: socket.socket) -> None:
    """Read what had left for a reader until the connection ends."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while await loop.sock_recv(silent, 1 << 20):
            pass


async def test_a_reader_that_falls_behind_is_told_4409_and_resumes_by_its_cursor(
    quick: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    send, busy, go_on = channels.send, asyncio.Event(), asyncio.Event()

    async def slow(connection: WebSocket, text: str) -> None:
        if '"type":"created"' in text:
            busy.set()
            await go_on.wait()
        await send(connection, text)

    monkeypatch.setattr(channels, "send", slow)
    monkeypatch.setattr(channels, "_direct", lambda *_: None)  # what is written directly is never waited for
    async with listen(quick, "/ws/events") as reader:
        await receive(reader)
        job = await quick.submit("talk", args={"lines": 2 * ROOM, "after": str(tmp_path / "go")})
        async with asyncio.timeout(PATIENCE):
            await busy.wait()
        (tmp_path / "go").touch()
        await quick.until(job["id"], "completed")
        go_on.set()
        heard = events(await rest(reader))
        assert reader.close_code == 4409
    assert heard[0]["type"] == "created"
    assert len(heard) < ROOM
    async with listen(quick, f"/ws/events?after={heard[-1]['cursor']}") as reader:
        assert await receive(reader) == {"type": "hello", "cursor": heard[-1]["cursor"]}
        while heard[-1]["type"] not in TERMINAL:
            heard.extend(events([await receive(reader)]))
    check_stream(heard, after=heard[0]["seq"] - 1)
    assert heard[-1]["seq"] == 2 * ROOM + 3
    assert len({event["cursor"] for event in heard}) == len(heard)
