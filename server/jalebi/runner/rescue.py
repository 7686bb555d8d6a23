"""Takes back what dead workers have left behind; every server does, whether it works itself or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from jalebi.background import every, log
from jalebi.errors import StorageUnavailable
from jalebi.queue import Queue

#: Seconds between two looks at the leases.
EVERY: Final = 5.0


@asynccontextmanager
async def rescuing(queue: Queue) -> AsyncIterator[None]:
    """Rescue once at the start, and by expired leases while the context is open.

    At the start nobody else can be at work: the store's lock is ours, so the process that held it is dead.
    """
    try:
        rescued = await queue.rescue(everyone=True)
    except StorageUnavailable as problem:  # it can be looked at all the same; their leases end, and the looks find them
        log.warning("What a server that is gone was running is taken back later: %s", problem)
    else:
        if rescued:
            log.warning("%s attempts of a server that is gone were taken back", len(rescued))
    async with every(EVERY, partial(look, queue), "rescuing jobs"):
        yield


async def look(queue: Queue) -> None:
    """Rescue the attempts whose lease has ended."""
    # Ours first: after a pause (the loop was held, the machine slept) their leases are over too, and yet they run.
    if await queue.renew():
        with suppress(StorageUnavailable):  # the store has said so
            await queue.rescue()
