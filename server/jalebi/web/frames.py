"""Encodes each message once: the same text goes to every reader of one server."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

from jalebi.events import Event, Hello, Reset, Snapshot, cursor_text, encode, event_wire, opening_wire, progress_event
from jalebi.mailbox import Advance

T = TypeVar("T", str, bytes)
Message = Event | Advance | Hello | Snapshot | Reset

#: Messages and characters that are remembered; readers that keep up ask for the newest few.
_MOST: Final = 2048
_MOST_TEXT: Final = 16 << 20


class Frames:
    """Remembers the newest texts by what they say and the root path that their links respect."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._texts: OrderedDict[Any, Any] = OrderedDict()
        self._size = 0

    def text(self, message: Message, root: str) -> str:
        """Return a message as a WebSocket sends it."""
        if not isinstance(message, Event | Advance):  # for one reader only
            return encode(opening_wire(message, root=root, epoch=self._epoch)).decode()
        return self._remembered(_key(message, root), lambda: encode(self._wire(message, root)).decode())

    def frame(self, message: Event | Advance, root: str) -> bytes:
        """Return a message as a text frame of a WebSocket (RFC 6455, section 5.2), unmasked as servers send it."""
        return self._remembered(("frame", *_key(message, root)), lambda: _framed(self.text(message, root).encode()))

    def line(self, message: Message, root: str) -> bytes:
        """Return a message as a line of JSON."""
        return self.text(message, root).encode() + b"\n"

    def of_job(self, message: Message, root: str) -> bytes:
        """Return a message as the server-sent events of one job have it: an event's id is its `seq`."""
        number = message.seq if isinstance(message, Event) else None
        return self._sent(message, root, "seq", None if number is None else str(number))

    def of_all(self, message: Message, root: str) -> bytes:
        """Return a message as the server-sent events of all jobs have it: an event's id is its cursor.

        So is that of Hello, which says nothing else; no other message moves the reader on.
        """
        if isinstance(message, Hello):
            return f"id: {cursor_text(self._epoch, message.number)}\n\n".encode()
        cursor = cursor_text(self._epoch, message.number) if isinstance(message, Event) else None
        return self._sent(message, root, "cursor", cursor)

    def _sent(self, message: Message, root: str, by: str, number: str | None) -> bytes:
        def make() -> bytes:
            # One line is enough: JSON has no line break outside of its texts, and escapes those within.
            line = f"data: {self.text(message, root)}\n\n"
            return (line if number is None else f"id: {number}\n{line}").encode()

        if not isinstance(message, Event | Advance):
            return make()
        return self._remembered((by, *_key(message, root)), make)

    def _remembered(self, key: Any, make: Callable[[], T]) -> T:
        known: T | None = self._texts.get(key)
        if known is not None:
            return known
        made = make()
        self._texts[key] = made
        self._size += len(made)
        while len(self._texts) > _MOST or self._size > _MOST_TEXT:
            _, dropped = self._texts.popitem(last=False)
            self._size -= len(dropped)
        return made

    def _wire(self, message: Event | Advance, root: str) -> dict[str, Any]:
        if isinstance(message, Event):
            return event_wire(message, root=root, epoch=self._epoch)
        return progress_event(message.job.id, message.seq, message.progress)


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _key(message: Event | Advance, root: str) -> Any:
    # A position is the same for all who get it in the same tick; an event has its number.
    return (message.number, root) if isinstance(message, Event) else (message.job.id, message.seq, message.progress)
