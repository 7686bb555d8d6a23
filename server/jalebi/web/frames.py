"""Encodes each message once: the same text goes to every reader of one server."""

from collections import OrderedDict
from typing import Any, Final

from jalebi.events import Event, encode, event_wire, progress_event
from jalebi.hub import Advance

#: Messages and characters that are remembered; readers that keep up ask for the newest few.
_MOST: Final = 2048
_MOST_TEXT: Final = 16 << 20


class Frames:
    """Remembers the newest texts by what they say and the root path that their links respect."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._texts: OrderedDict[Any, str] = OrderedDict()
        self._size = 0

    def text(self, message: Event | Advance, root: str) -> str:
        """Return a message as it is sent."""
        key = _key(message, root)
        known = self._texts.get(key)
        if known is not None:
            return known
        text = encode(self._wire(message, root)).decode()
        self._texts[key] = text
        self._size += len(text)
        while len(self._texts) > _MOST or self._size > _MOST_TEXT:
            _, dropped = self._texts.popitem(last=False)
            self._size -= len(dropped)
        return text

    def _wire(self, message: Event | Advance, root: str) -> dict[str, Any]:
        if isinstance(message, Event):
            return event_wire(message, root=root, epoch=self._epoch)
        return progress_event(message.job.id, message.seq, message.progress)


def _key(message: Event | Advance, root: str) -> Any:
    # A position is the same for all who get it in the same tick; an event has its number.
    return (message.number, root) if isinstance(message, Event) else (message.job.id, message.seq, message.progress)
