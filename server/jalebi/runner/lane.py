"""A lane of a worker: some slots, and the kinds whose jobs run in them."""

import asyncio
from collections.abc import Callable, Sequence

from jalebi.kinds import Kind
from jalebi.store.attempts import Claim


class Lane:
    """Slots for some kinds; the house's own jobs have theirs, so that a full worker can still be told to cancel."""

    def __init__(self, name: str, slots: int, kinds: Callable[[], Sequence[Kind]]) -> None:
        self.name = name
        self.slots = self.free = slots
        self.kinds = kinds
        self.claim: Claim | None = None
        self.claiming: asyncio.Task[None] | None = None
        self.paused = False
        self._room = asyncio.Event()
        self._room.set()

    @property
    def busy(self) -> int:
        """How many of the slots are taken."""
        return self.slots - self.free

    def take(self) -> None:
        """Fill a slot."""
        self.free -= 1
        self.update()

    def give_back(self) -> None:
        """Empty a slot."""
        self.free += 1
        self.update()

    def update(self) -> None:
        """Let whoever waits for room go on, or not."""
        if self.free > 0 and not self.paused:
            self._room.set()
        else:
            self._room.clear()

    async def room(self) -> None:
        """Wait until a job may be claimed."""
        await self._room.wait()

    def withdraw(self) -> None:
        """Let the claim that waits come back without jobs."""
        if self.claim is not None:
            self.claim.withdrawn = True
