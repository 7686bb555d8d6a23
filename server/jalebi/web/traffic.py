"""What goes over the sockets of open pages, and how much the storage takes up."""

import time
from dataclasses import dataclass
from typing import Final

from jalebi.store import Store, reads

#: Seconds for which the size of the storage is remembered: the sizes of all files are summed up for it.
_SIZE_HOLDS: Final = 60.0


@dataclass(slots=True)
class Traffic:
    """Pages that are open now; frames that were sent to them; ticks in which a page had not painted the last two."""

    pages: int = 0
    frames: int = 0
    held: int = 0


class Sizes:
    """How much the storage takes up, looked up once a minute at most."""

    def __init__(self) -> None:
        self._at = -_SIZE_HOLDS
        self._held = (0, 0)

    async def read(self, store: Store) -> tuple[int, int]:
        """Return the bytes of the database and of the files."""
        if time.monotonic() - self._at >= _SIZE_HOLDS:
            self._held, self._at = await store.read(reads.usage), time.monotonic()
        return self._held
