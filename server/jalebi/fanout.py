"""Readers to whom the same bytes go: a message is encoded once and written to each connection as it is.

To wake a task for every reader costs more than all the rest. So a reader that has had everything leaves its mailbox for
a group, and comes back to it when its connection is full, when it closes, or when something ends.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol


class Outlet(Protocol):
    """A connection that takes bytes at once; what it can't send yet waits in a buffer of bounded size."""

    #: Set by whoever writes: told when the connection is full, and when it ends.
    left: Callable[[], object]

    @property
    def ready(self) -> bool:
        """Whether it is open and not full."""

    def write(self, data: bytes) -> None:
        """Send framed messages."""


@dataclass(frozen=True, slots=True)
class Direct:
    """A connection that may be written to directly.

    `key` is alike of readers that are told the same in the same way; `frame` gives the bytes of a message.
    """

    outlet: Outlet
    key: Hashable
    frame: Callable[[Any], bytes]


class Group:
    """Some readers, what is to be written to all of them, and the place of the last event that is in it."""

    def __init__(self, frame: Callable[[Any], bytes], told: int) -> None:
        self.told = told
        self._frame = frame
        self._members: dict[Any, Outlet] = {}
        self._waiting: list[bytes] = []
        self._flushing: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, reader: Any) -> bool:
        return reader in self._members

    def join(self, reader: Any, outlet: Outlet) -> None:
        """Write to a reader, too, from now on."""
        self.flush()
        self._members[reader] = outlet

    def leave(self, reader: Any) -> None:
        """Write no more to a reader than what it has been promised."""
        outlet = self._members.pop(reader)
        if self._waiting and outlet.ready:
            outlet.write(b"".join(self._waiting))

    def members(self) -> list[Any]:
        """Return the readers."""
        return list(self._members)

    def add(self, message: Any) -> None:
        """Write a message, together with what else comes in this turn of the loop."""
        self._waiting.append(self._frame(message))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits, now."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            for outlet in list(self._members.values()):
                outlet.write(data)
