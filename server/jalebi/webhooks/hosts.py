"""How often a message is tried, and which hosts are left alone for a while: no I/O, no clock."""

import random as _random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

#: Seconds between the tries of a message: a day and some hours in all.
WAITS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
#: A receiver that asks to be left alone is heard up to this.
MOST_WAIT: Final = 28_800.0
#: Failures in a row after which a host rests, and for how many seconds: twice as long each time.
FAILURES: Final = 5
REST: Final = 30.0
MOST_REST: Final = 1800.0


def wait(
    tries: int, retry_after: float | None = None, random: Callable[[float, float], float] = _random.uniform
) -> float | None:
    """Return the seconds until a message is tried again that was tried so often; None where it is given up."""
    if tries > len(WAITS):
        return None
    usual = WAITS[tries - 1] * random(0.9, 1.1)
    return usual if retry_after is None else max(usual, min(retry_after, MOST_WAIT))


@dataclass(slots=True)
class Host:
    """One host: how many messages are on their way to it, and whether it rests (until a steady time)."""

    busy: int = 0
    failures: int = 0
    rests: int = 0
    until: float = 0.0

    def room(self, now: float, most: int) -> int:
        """Return how many messages may be sent to it now; after a rest, one that tries it."""
        if now < self.until:
            return 0
        return max(0, (1 if self.rests else most) - self.busy)

    def note(self, now: float, *, answered: bool) -> None:
        """Take down how a try ended."""
        if answered:
            self.failures = self.rests = 0
            self.until = 0.0
            return
        self.failures += 1
        if self.failures >= FAILURES or self.rests:
            self.until = now + min(MOST_REST, REST * 2.0**self.rests)
            self.rests += 1


@dataclass(slots=True)
class Hosts:
    """All hosts that have something under way or rest; the others are forgotten."""

    found: dict[str, Host] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Host:
        return self.found.setdefault(name, Host())

    def forget(self, now: float, pending: Collection[str]) -> None:
        """Forget those of which nothing is to be remembered: for which nothing is pending or under way, at rest or not.

        A host at rest is remembered until then, so that what comes meanwhile does not disturb it.
        """
        self.found = {
            name: host
            for name, host in self.found.items()
            if host.busy or host.until > now or (host.failures and name in pending)
        }
