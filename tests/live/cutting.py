"""A proxy on loopback that cuts connections at random, as the networks of the world do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random


class Cutter:
    """Passes on bytes, and drops each connection after a number of them that nobody knows beforehand."""

    def __init__(self, port: int, seed: int, least: int, most: int) -> None:
        self._port = port
        self._random = Random(seed)
        self._least, self._most = least, most
        self.cuts = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        to_server, from_server = None, None
        try:
            to_server = await asyncio.open_connection("127.0.0.1", self._port)
            left = self._random.randint(self._least, self._most)
            up = asyncio.ensure_future(self._pump(reader, to_server[1], None))
            from_server = asyncio.ensure_future(self._pump(to_server[0], writer, left))
            await asyncio.wait({up, from_server}, return_when=asyncio.FIRST_COMPLETED)
            for one in (up, from_server):
                one.cancel()
            await asyncio.gather(up, from_server, return_exceptions=True)
        finally:
            for end in (writer, *([to_server[1]] if to_server else [])):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                if left is not None:
                    data, left = data[:left], left - len(data)
                writer.write(data)
                await writer.drain()
                if left is not None and left <= 0:
                    self.cuts += 1
                    return


@asynccontextmanager
async def cutting(url: str, seed: int, least: int, most: int) -> AsyncIterator[Cutter]:
    """Cut the connections to a server's address: each after `least` to `most` bytes of its answers."""
    cutter = Cutter(int(url.rsplit(":", 1)[1]), seed, least, most)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cutter
    finally:
        server.close()
