"""The blocking client and the asynchronous one, used alike, so that one test tries both."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

from jalebi.client import AsyncClient, Client, Event


class Async:
    """The asynchronous client."""

    def __init__(self, url: str, token: str | None = None, **more: Any) -> None:
        self._client = AsyncClient(url, token, **more)

    async def do(self, name: str, *args: Any, **more: Any) -> Any:
        """Call a method."""
        return await getattr(self._client, name)(*args, **more)

    async def all(self, name: str, *args: Any, most: int | None = None, **more: Any) -> list[Any]:
        """Return what an iterator gives, up to `most` items."""
        found: list[Any] = []
        items = getattr(self._client, name)(*args, **more)
        try:
            while most is None or len(found) < most:
                found.append(await anext(items))
        except StopAsyncIteration:
            pass
        finally:
            await items.aclose()
        return found

    async def close(self) -> None:
        await self._client.close()


class Sync:
    """The blocking client, in threads."""

    def __init__(self, url: str, token: str | None = None, **more: Any) -> None:
        self._client = Client(url, token, **more)

    async def do(self, name: str, *args: Any, **more: Any) -> Any:
        """Call a method."""
        return await asyncio.to_thread(getattr(self._client, name), *args, **more)

    async def all(self, name: str, *args: Any, most: int | None = None, **more: Any) -> list[Any]:
        """Return what an iterator gives, up to `most` items."""

        def read() -> list[Any]:
            items: Iterator[Any] = getattr(self._client, name)(*args, **more)
            try:
                return list(islice(items, most))
            finally:
                items.close()  # type: ignore[attr-defined]

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        self._client.close()


Style = type[Async] | type[Sync]


def check_job(heard: list[Event], first: int = 1) -> None:
    """Check what one job's events must keep: each once and in order, progress in its place, none after the end."""
    last = first - 1
    for event in heard:
        if event.durable:
            assert event.seq == last + 1, [(one.type, one.seq) for one in heard]
            last = event.seq
        else:
            assert (event.type, event.seq) == ("progress", last)
    assert heard[-1].terminal
