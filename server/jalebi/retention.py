"""Purges what nobody needs any more: jobs long over, by age, by number and by bytes, a little at a time."""

import asyncio
import time
from typing import Final

from jalebi.errors import StorageUnavailable
from jalebi.jobs import TERMINAL
from jalebi.queue import Queue
from jalebi.store import reads

#: Seconds between two looks.
EVERY: Final = 30.0
#: Jobs by which a database that is too large is made smaller before it is measured again.
_STEP: Final = 500
#: A purge is followed by a pause this many times as long, so that submissions never wait behind a row of them.
_REST: Final = 4.0


class Retention:
    """Keeps an installation within `retention_age`, `retention_count` and `retention_bytes`."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def sweep(self) -> int:
        """Purge until nothing is too old or too much; return how many jobs went."""
        total = 0
        try:
            while went := await self._step(await self._surplus()):
                total += went
        except StorageUnavailable:  # the store has said so; the next look goes on
            pass
        return total

    async def _step(self, surplus: int) -> int:
        """Purge what is too old, and the surplus; return how many jobs went, before it is worth measuring again."""
        went = 0
        while purged := await self._some(max(0, surplus - went)):
            went += purged
        return went

    async def _some(self, surplus: int) -> int:
        began = time.monotonic()
        purged = await self._queue.prune(surplus)
        if purged:
            await asyncio.sleep(_REST * (time.monotonic() - began))
        return purged

    async def _surplus(self) -> int:
        """Return how many jobs go although their time is not up."""
        settings, store = self._queue.settings, self._queue.store
        counts = await store.read(reads.counts)
        over = sum(counts[state] for state in TERMINAL)
        surplus = max(0, over - settings.retention_count)
        database, files = await store.read(reads.usage)
        if database + files > settings.retention_bytes:
            surplus = max(surplus, min(over, _STEP))
        return surplus
