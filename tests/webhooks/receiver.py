"""A receiver of webhooks on loopback: it answers as it is told, and remembers what it was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Answer = Callable[["Sent"], Awaitable[bytes]]


@dataclass
class Sent:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def verified(self, secret: str = SECRET) -> dict[str, Any]:
        """Return the message as the standard's own package verifies it."""
        return dict(Webhook(secret).verify(self.body, self.headers))


def status(code: int, headers: str = "", body: str = "") -> bytes:
    """Return an answer."""
    return f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


@dataclass
class Receiver:
    """What was sent, and how it is answered: by each of `answers` in turn, and with 204 after them."""

    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    answers: list[bytes | Answer] = field(default_factory=list)
    connections: int = 0
    busy: int = 0
    most: int = 0
    holding: bool = False  # whether it says no more after an answer, and leaves the connection open

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                sent = Sent(head[0].split(" ")[1], headers, await reader.readexactly(int(headers["content-length"])))
                self.sent.append(sent)
                answer = self.answers.pop(0) if self.answers else status(204)
                writer.write(answer if isinstance(answer, bytes) else await answer(sent))
                await writer.drain()
                if self.holding:
                    await reader.read()
        finally:
            self.busy -= 1
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Receive webhooks."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
