"""Figures that all open pages share: read at most once a second for all of them, and rarely without a change."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from jalebi.hub import Hub
from jalebi.store import Store

T = TypeVar("T")

EVERY: Final = 1.0
#: Seconds for which an answer holds while nothing happens: how long the oldest waits changes all the same.
QUIET: Final = 5.0


class Figures:
    """The newest answer to each question, with the event up to which it holds.

    `version` counts the decisions that are no event, such as that a queue is paused.
    """

    def __init__(self) -> None:
        self.version = 0
        self._answers: dict[Any, tuple[float, tuple[int, int, int], Any]] = {}
        self._locks: dict[Any, asyncio.Lock] = {}

    def forget(self) -> None:
        """Let everything be read anew: somebody has decided something."""
        self.version += 1

    async def read(self, store: Store, hub: Hub, query: Callable[[Connection], T]) -> T:
        """Return the answer to a query, a plain function of a connection that is the same object every time."""
        async with self._locks.setdefault(query, asyncio.Lock()):
            held = self._answers.get(query)
            now = time.monotonic()
            upto = hub.number, hub.purges, self.version  # before the read: what is committed meanwhile is read again
            lasts = QUIET if held is not None and held[1] == upto else EVERY
            if held is not None and held[1][2] == self.version and now - held[0] < lasts:
                return held[2]  # type: ignore[no-any-return]
            answer = await store.read(query)
            self._answers[query] = (now, upto, answer)
            return answer
