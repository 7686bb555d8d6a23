"""Publishes committed events in the order of their commits: the one way from the store to the hub."""

from collections import deque

from jalebi.events import Event
from jalebi.hub import Hub
from jalebi.store import Store, reads


class Lag:
    """The seconds from the time of an event to its publication, of the last commits."""

    def __init__(self, most: int = 1000) -> None:
        self._seen: deque[float] = deque(maxlen=most)

    def note(self, seconds: float) -> None:
        """Take one; a clock that was set back in between makes none negative."""
        self._seen.append(max(0.0, seconds))

    def quantile(self, share: float) -> float | None:
        """Return the seconds below which that share lies; None where there was no event yet."""
        ordered = sorted(self._seen)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


class Feed:
    """Hands every committed event to the hub once; `number` is that of the last one handed on."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self.number = 0
        self.lag = Lag()

    async def __aenter__(self) -> "Feed":
        """Start after the last event that was committed before."""
        self.number = await self._store.read(reads.last_number)
        self._store.published = self.publish
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening to the store."""
        self._store.published = lambda _: None

    def publish(self, events: list[Event]) -> None:
        """Hand on the events of one commit."""
        if events:
            self.lag.note(self._store.clock() - events[-1].at)
        for event in events:
            # The writer's own thread delivers commits in order; a number from before the start is old news.
            if event.number > self.number:
                self.number = event.number
                self._hub.publish(event)
