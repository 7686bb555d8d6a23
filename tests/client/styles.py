"""The blocking client and the asynchronous one, used alike, so that one test tries both."""

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

from jalebi.client import AsyncClient, Client, Event
from tests.support import PATIENCE

Until = Callable[[list[Any]], bool]


def never(_: list[Any]) -> bool:
    return False


async def threaded(work: Callable[[], Any]) -> Any:
    """Do blocking work in a thread that holds up nobody who gives up waiting for it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    came: list[Any] = []

    def run() -> None:
        try:
            came.extend([work(), None])
        except BaseException as error:
            came.extend([None, error])
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    await done.wait()
    found, error = came
    if error is not None:
        raise error
    return found


class Async:
    """The asynchronous client."""

    def __init__(self, url: str, token: str | None = None, **more: Any) -> None:
        self._client = AsyncClient(url, token, **more)

    async def do(self, name: str, *args: Any, **more: Any) -> Any:
        """Call a method."""
        return await getattr(self._client, name)(*args, **more)

    async def all(self, name: str, *args: Any, until: Until = never, **more: Any) -> list[Any]:
        """Return what an iterator gives, as far as `until` says that it is enough."""
        found: list[Any] = []
        items = getattr(self._client, name)(*args, **more)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                while not until(found):
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
        return await threaded(lambda: getattr(self._client, name)(*args, **more))

    async def all(self, name: str, *args: Any, until: Until = never, **more: Any) -> list[Any]:
        """Return what an iterator gives, as far as `until` says that it is enough."""

        def read() -> list[Any]:
            found: list[Any] = []
            items: Generator[Any, None, None] = getattr(self._client, name)(*args, **more)
            try:
                while not until(found):
                    found.append(next(items))
            except StopIteration:
                pass
            finally:
                items.close()
            return found

        async with asyncio.timeout(2 * PATIENCE):
            found: list[Any] = await threaded(read)
        return found

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
