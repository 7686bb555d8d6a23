"""A proxy on the way to a server that cuts connections, lets some kinds of them not through, or is not there."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

#: What a connection may be: a WebSocket, a stream of server-sent events, or a plain call.
WS, SSE, CALL = "ws", "sse", "call"
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"


class Proxy:
    """Passes connections on; `budget` says after how many bytes of an answer one is cut, `refused` who may not pass."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._path = parts.path
        self.refused: set[str] = set()
        self.budget: Callable[[str], int | None] = lambda kind: None
        self.opened: Counter[str] = Counter()
        self.heads: list[str] = []
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._path}"

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Listen no more, and cut everybody off."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._pass(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        low = head.lower()
        kind = WS if b"upgrade: websocket" in low else SSE if b"accept: text/event-stream" in low else CALL
        self.opened[kind] += 1
        self.heads.append(head.decode("latin-1"))
        if kind in self.refused:
            writer.write(_REFUSAL)
            await writer.drain()
            writer.write_eof()
            await reader.read()
            return
        if kind != WS:  # one connection for each request, so that each is seen
            head = re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head)
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        self._writers.add(up_writer)
        up_writer.write(head)
        upwards = asyncio.create_task(_pump(reader, up_writer))
        try:
            await self._downwards(up_reader, writer, self.budget(kind))
        finally:
            upwards.cancel()
            self._writers.discard(up_writer)
            up_writer.transport.abort()

    async def _downwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        while data := await reader.read(1 << 16):
            if left is not None and len(data) > left:
                writer.write(data[:left])
                await writer.drain()
                self.cuts += 1
                return
            left = None if left is None else left - len(data)
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxied(target: str) -> AsyncIterator[Proxy]:
    """Open a proxy before a server."""
    proxy = Proxy(target)
    await proxy.up()
    try:
        yield proxy
    finally:
        await proxy.down()
