"""Reads problem documents, and speaks HTTP byte by byte where a client would be too polite."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.support import PATIENCE, Live

URN = "urn:jalebi:problem:"


@dataclass
class Raw:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document, which must be one."""
        assert self.headers["content-type"] == "application/problem+json", self
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        return found


async def exchange(live: Live, request: bytes, *, end: bool = False) -> Raw:
    """Send bytes and return the answer; `end` closes our side after them."""
    address = urlsplit(live.url)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            with suppress(ConnectionError):  # a server may answer and close before it has read everything
                writer.write(request)
                await writer.drain()
                if end:
                    writer.write_eof()
            return await _answer(reader, head=request.startswith(b"HEAD "))
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader, *, head: bool) -> Raw:
    top, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = 0 if head else int(headers.get("content-length", "0"))
    return Raw(int(top.split()[1]), headers, await reader.readexactly(size))


def post(path: str, body: bytes, content_type: str | None = "application/json") -> bytes:
    """Return a POST as bytes."""
    kind = f"Content-Type: {content_type}\r\n" if content_type is not None else ""
    return f"POST {path} HTTP/1.1\r\nHost: here\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


def problem(answer: httpx2.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the problem document of an answer, which must be of that status and type."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == (kind if kind == "about:blank" else URN + kind)
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found
