"""Listens to WebSockets."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support import PATIENCE, Live

Message = dict[str, Any]
TERMINAL = {"completed", "failed", "cancelled"}


def listen(live: Live, path: str) -> connect:
    """Open a WebSocket that takes all that comes: one that stops reading would be slow to close."""
    return connect(live.ws + path, max_queue=None, open_timeout=PATIENCE)


async def hear(live: Live, path: str) -> tuple[list[Message], int | None]:
    """Return everything that a WebSocket says until the server closes it, and the close code."""
    async with listen(live, path) as socket:
        return await rest(socket), socket.close_code


async def rest(socket: ClientConnection) -> list[Message]:
    """Return what a WebSocket still says until the server closes it."""
    found: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionClosed):
            while True:
                found.append(json.loads(await socket.recv()))
    return found


async def receive(socket: ClientConnection) -> Message:
    """Return the next message."""
    async with asyncio.timeout(PATIENCE):
        found: Message = json.loads(await socket.recv())
        return found


async def refusal(live: Live, path: str) -> tuple[int, Message]:
    """Return status and problem document of a handshake that must be refused."""
    try:
        async with connect(live.ws + path):
            raise AssertionError(f"{path} was accepted")
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body or b"null")


def events(heard: list[Message]) -> list[Message]:
    """Return the durable events."""
    return [message for message in heard if message["type"] not in {"progress", "snapshot", "hello"}]


def check_stream(heard: list[Message], after: int = 0) -> None:
    """Check what every stream of one job must keep: no hole, progress numbered by the last event, none at the end."""
    last = after
    for index, message in enumerate(heard):
        match message["type"]:
            case "snapshot":
                assert index == 0
                last = message["seq"]
                assert message["job"]["seq"] == last
            case "progress":
                assert message["seq"] == last, heard
                assert heard[-1]["type"] != "progress"
            case _:
                assert message["seq"] == last + 1, heard
                last = message["seq"]
                if message["type"] == "log":
                    assert "job" not in message
                else:
                    assert message["job"]["seq"] == last
                    assert message["job"]["cursor"] == message["cursor"]
