"""Figures that all open pages share: read at most once a second for all of them, and only after a change."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from jalebi.hub import Hub
from jalebi.store import Store

T = TypeVar("T")

EVERY: Final = 1.0


class Figures:
    """The newest answer to each question, with the event up to which it holds."""

    def __init__(self) -> None:
        self._answers: dict[Any, tuple[float, tuple[int, int], Any]] = {}
        self._locks: dict[Any, asyncio.Lock] = {}

    async def read(self, store: Store, hub: Hub, query: Callable[[Connection], T]) -> T:
        """Return the answer to a query, a plain function of a connection that is the same object every time."""
        async with self._locks.setdefault(query, asyncio.Lock()):
            held = self._answers.get(query)
            now = time.monotonic()
            if held is not None and (held[1] == (hub.number, hub.purges) or now - held[0] < EVERY):
                return held[2]  # type: ignore[no-any-return]
            upto = hub.number, hub.purges  # before the read: what is committed meanwhile is read again
            answer = await store.read(query)
            self._answers[query] = (now, upto, answer)
            return answer
