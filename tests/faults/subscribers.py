"""Subscribers on bare sockets that are cut off at any byte, and remember only what came whole."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

Message = dict[str, Any]
#: Messages that are no events: they come as often as it takes.
PASSING: Final = {"progress", "hello", "snapshot", "reset"}


class Frames:
    """Takes a WebSocket apart (RFC 6455) as its bytes come."""

    def __init__(self) -> None:
        self._rest = b""
        self.status = 0
        self.code: int | None = None
        self.last_id: str | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are whole now."""
        self._rest += data
        found: list[Message] = []
        if not self.status:
            head, ended, rest = self._rest.partition(b"\r\n\r\n")
            if not ended:
                return found
            self.status, self._rest = int(head.split()[1]), rest
        while self.status == 101 and (frame := self._frame()) is not None:
            kind, payload = frame
            if kind == 8:
                self.code = int.from_bytes(payload[:2])
            elif kind == 1:
                found.append(json.loads(payload))
        return found

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._rest
        if len(data) < 2:
            return None
        head, length = 2, data[1]
        if length >= 126:
            head = 4 if length == 126 else 10
            if len(data) < head:
                return None
            length = int.from_bytes(data[2:head])
        if len(data) < head + length:
            return None
        self._rest = data[head + length :]
        return data[0] & 15, data[head : head + length]


class Lines:
    """Takes server-sent events apart (WHATWG HTML, 9.2.6) as the bytes of their chunks come."""

    def __init__(self) -> None:
        self._rest = b""
        self._text = b""
        self._data = ""
        self._id: str | None = None
        self.status = 0
        self.code: int | None = None
        self.last_id: str | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are whole now."""
        self._rest += data
        if not self.status:
            head, ended, rest = self._rest.partition(b"\r\n\r\n")
            if not ended:
                return []
            self.status, self._rest = int(head.split()[1]), rest
            self.code = self.status if self.status != 200 else None
        while self.status == 200 and self._chunk():
            pass
        *lines, self._text = self._text.split(b"\n")
        return [message for line in lines if (message := self._line(line.decode())) is not None]

    def _chunk(self) -> bool:
        # What has come of a chunk counts already: a reader does not see where one ends.
        size, ended, rest = self._rest.partition(b"\r\n")
        if not ended:
            return False
        length = int(size, 16)
        if length == 0:
            self.code = 200
            return False
        if len(rest) < length + 2:
            return False
        self._text += rest[:length]
        self._rest = rest[length + 2 :]
        return True

    def _line(self, line: str) -> Message | None:
        name, _, value = line.partition(": ")
        if name == "id":
            self._id = value
        elif name == "data":
            self._data = value
        elif not line:
            self.last_id, data, self._data = self._id, self._data, ""
            found: Message | None = json.loads(data) if data else None
            return found
        return None


@dataclass
class Subscriber:
    """Follows one job or all of them over one kind of channel; `heard` are the events that it has had."""

    port: int
    channel: str  # ws or sse
    job_id: str | None
    chance: random.Random
    begin: str = ""
    heard: list[Message] = field(default_factory=list)
    cuts: int = 0
    broken: int = 0  # cuts in the middle of a message

    @property
    def path(self) -> str:
        """The address."""
        if self.channel == "ws":
            return f"/ws/jobs/{self.job_id}" if self.job_id else "/ws/events"
        return f"/v1/jobs/{self.job_id}/events" if self.job_id else "/v1/events"

    @property
    def last(self) -> str:
        """Where it left off: the seq or cursor of the last event."""
        if not self.heard:
            return self.begin
        return str(self.heard[-1]["seq"] if self.job_id else self.heard[-1]["cursor"])

    def request(self) -> bytes:
        """Return the request that resumes."""
        query, headers = "", ""
        if self.channel == "ws":
            query = f"?after={self.last}"
            headers = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            headers += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        elif self.chance.random() < 0.5:
            query, headers = f"?after={self.last}", "Accept: text/event-stream\r\n"
        else:  # as an EventSource does: the address is the first one's
            query, headers = f"?after={self.begin}", f"Accept: text/event-stream\r\nLast-Event-ID: {self.last}\r\n"
        return f"GET {self.path}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()

    async def once(self, most: int | None, until: str = "") -> int | None:
        """Take at most so many bytes and drop the connection; return how the server ended it, where it did.

        With no limit it ends when the server does, or when the event with the cursor `until` has come.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        wire: Frames | Lines = Frames() if self.channel == "ws" else Lines()
        taken = 0
        try:
            writer.write(self.request())
            while (most is None or taken < most) and wire.code is None and not (until and self.last == until):
                size = self.chance.choice([100, 4096, 65536]) if most is not None else 65536
                async with asyncio.timeout(20 if most is None else 0.3):
                    data = await reader.read(size if most is None else min(size, most - taken))
                if not data:
                    break
                taken += len(data)
                self.heard.extend(one for one in wire.feed(data) if one["type"] not in PASSING)
                if wire.last_id is not None:
                    assert wire.last_id == (self.last or "0"), "the last event id is not that of the last event"
        except (TimeoutError, ConnectionError):
            assert most is not None, "nothing came"
        finally:
            if self.chance.random() < 0.5:
                writer.transport.abort()
            writer.close()
        if most is not None and wire.code is None:
            self.cuts += 1
            self.broken += bool(wire._rest)
        return wire.code

    async def again(self) -> None:
        """Be cut off somewhere: at once, in the handshake, among what is replayed, or among what is live."""
        await self.once(self.chance.randrange(self.chance.choice([1, 300, 6000, 100_000])))


def faults(heard: list[Message], truth: list[Message]) -> list[str]:
    """Return what a subscriber has had that it should not, or not; `truth` is what polls say."""
    had, should = [one["cursor"] for one in heard], [one["cursor"] for one in truth]
    found = [f"twice: {cursor}" for cursor, times in Counter(had).items() if times > 1]
    found += [f"missing: {cursor}" for cursor in set(should) - set(had)]
    found += [f"unknown: {cursor}" for cursor in set(had) - set(should)]
    if not found and had != should:
        found.append("out of order")
    if not found and heard != truth:
        found.append("other facts than polls see")
    return found
