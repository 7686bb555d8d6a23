"""A lane of a worker: some slots, and the kinds whose jobs run in them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from jalebi.kinds import Kind
from jalebi.store.attempts import Claim

#: Slots that are filled all at once: fewer jobs would not be worth a commit of their own.
FEW: Final = 32


class Lane:
    """Slots for some kinds; the house's own jobs have theirs, so that a full worker can still be told to cancel."""

    def __init__(self, name: str, slots: int, kinds: Callable[[], Sequence[Kind]]) -> None:
        self.name = name
        self.slots = self.free = slots
        self.kinds = kinds
        self.claim: Claim | None = None
        self.claiming: asyncio.Task[None] | None = None
        self.paused = False

    @property
    def busy(self) -> int:
        """How many of the slots are taken."""
        return self.slots - self.free

    def open(self) -> int:
        """Return how many jobs may be claimed at once now; any thread may ask.

        Of many slots it is half at most: while these begin, what the others have done is written.
        """
        return 0 if self.paused else min(self.free, max(FEW, (self.slots + 1) // 2))

    def take(self) -> None:
        """Fill a slot."""
        self.free -= 1

    def give_back(self) -> None:
        """Empty a slot; the next write that frees the job lets the claim look."""
        self.free += 1

    def withdraw(self) -> None:
        """Let the claim that waits come back without jobs."""
        if self.claim is not None:
            self.claim.withdrawn = True
