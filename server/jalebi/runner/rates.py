"""How many jobs of a kind may start now: token buckets for `rate_limit`."""

from jalebi.kinds import Kinds


class Bucket:
    """Holds as many starts as fit into one period and fills evenly (a token bucket)."""

    def __init__(self, starts: float, seconds: float) -> None:
        self._most = starts
        self._per_second = starts / seconds
        self._level = starts
        self._at = 0.0

    def level(self, now: float) -> float:
        """Return how many starts there are at a monotonic time in seconds."""
        self._level = min(self._most, self._level + max(0.0, now - self._at) * self._per_second)
        self._at = max(self._at, now)
        return self._level

    def take(self, now: float) -> None:
        """Use up one start."""
        self._level = self.level(now) - 1.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next start."""
        return max(0.0, (1.0 - self.level(now)) / self._per_second)


class Rates:
    """The buckets of one worker, by kind."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._buckets: dict[str, Bucket] = {}

    def _limited(self) -> dict[str, Bucket]:
        for kind in self._kinds.all():
            if kind.rate and kind.name not in self._buckets:
                self._buckets[kind.name] = Bucket(*kind.rate)
        return self._buckets

    def caps(self, now: float) -> dict[str, int]:
        """Return how many of each limited kind may start now."""
        return {name: max(0, int(bucket.level(now) + 1e-9)) for name, bucket in self._limited().items()}

    def started(self, kind: str, now: float) -> None:
        """Count a start."""
        if kind in self._buckets:
            self._buckets[kind].take(now)

    def wait(self, now: float) -> float | None:
        """Return the seconds until a kind that may not start now may start again; None where all may."""
        waits = [bucket.wait(now) for bucket in self._buckets.values() if bucket.level(now) < 1.0]
        return min(waits) if waits else None
