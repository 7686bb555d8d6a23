"""How long a running job will still take, from how its kind took before and from its bar: no I/O, no clock.

A guess is a `Spread`: what may be, as values of equal weight. Nothing is assumed of how durations are distributed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist, fmean, pvariance
from typing import Final, Literal

#: Values of a spread; its second, middle and second last are the quantiles of 10, 50 and 90 %.
WIDTH: Final = 15
LEVELS: Final = tuple((index + 0.5) / WIDTH for index in range(WIDTH))
NORMAL: Final = tuple(NormalDist().inv_cdf(level) for level in LEVELS)
LOW, MIDDLE, HIGH = 1, 7, 13
#: Finished jobs of a kind before anything is said of the next one; of those, longer ones than the one that runs.
ENOUGH: Final = 5
SURVIVORS: Final = 3
#: The newest jobs of a kind that count: what was long ago may have been another version of the code.
RECENT: Final = 100
#: Where on a bar its times are kept.
MARKS: Final = tuple(step / 50 for step in range(1, 51))
#: How much of a bar must be done before it says something by itself.
_BEGUN: Final = 0.02
#: Seconds in which a bar may be anywhere: positions come about as often.
_TICK: Final = 0.2
#: The least that anything is believed to spread, as a standard deviation of the logarithm.
_EXACT: Final = 0.05
_SOON: Final = 1e-3  # seconds

Basis = Literal["history", "progress", "both"]
#: What may be, in seconds, least first: `WIDTH` values of equal weight.
Spread = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A guess with its range, in Unix seconds or in seconds: in 8 of 10 cases it is from `earliest` to `latest`."""

    earliest: float
    median: float
    latest: float

    @classmethod
    def of(cls, spread: Spread, since: float = 0.0) -> "Span":
        """Return the span of a spread that counts from `since`."""
        return cls(since + spread[LOW], since + spread[MIDDLE], since + spread[HIGH])


@dataclass(frozen=True, slots=True)
class Left:
    """How many seconds a running job still takes; `samples` finished jobs of its kind were looked at."""

    spread: Spread
    samples: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class Shape:
    """How the bar of a finished job went: it took `seconds`, and reached each of `MARKS` at that share of them."""

    seconds: float
    shares: Sequence[float]

    def share(self, fraction: float) -> float:
        """Return the share of its time after which the bar was at `fraction`, straight on between two marks."""
        place = fraction * len(MARKS)
        before = min(int(place), len(MARKS) - 1)
        start = self.shares[before - 1] if before else 0.0
        return start + (self.shares[before] - start) * min(1.0, place - before)


@dataclass(frozen=True, slots=True)
class Bar:
    """Where a running job's bar is: it came to `fraction` after `elapsed` seconds and has not moved for `silent` ones.

    `rest` is how long the rest takes at the newest rate, where there is one; `stalled`: it should have moved.
    """

    fraction: float
    elapsed: float
    silent: float = 0.0
    rest: float | None = None
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Takes:
    """How long jobs of a kind take, in seconds, as far as the newest of them tell."""

    spread: Spread
    mean: float
    variance: float
    samples: int


def takes(durations: Sequence[float]) -> Takes | None:
    """Return how long the next job takes, from how long others took (oldest first); None where too few did."""
    recent = durations[-RECENT:]
    if len(recent) < ENOUGH:
        return None
    mean = fmean(recent)
    return Takes(spread_of(recent), mean, pvariance(recent, mean), len(durations))


def spread_of(values: Iterable[float]) -> Spread:
    """Return where the next value may lie after these; a little wider than they do, the fewer they are.

    The quantiles are those for a new value (position p·(n + 1); Hyndman and Fan 1996, definition 6).
    """
    ordered = sorted(values)
    count = len(ordered)
    wider = 1.0 + 2.0 / count
    found = [_at(ordered, level * (count + 1) - 1.0) for level in LEVELS]
    middle = found[MIDDLE]
    if middle >= _SOON:
        found = [middle * (value / middle) ** wider if value > 0.0 else 0.0 for value in found]
    return tuple(found)


def _at(ordered: Sequence[float], place: float) -> float:
    place = min(max(place, 0.0), len(ordered) - 1.0)
    before = int(place)
    after = min(before + 1, len(ordered) - 1)
    return ordered[before] + (ordered[after] - ordered[before]) * (place - before)


def left(durations: Sequence[float], shapes: Sequence[Shape], elapsed: float, bar: Bar | None = None) -> Left | None:
    """Return how long a job goes on that has run for `elapsed` seconds; None where nothing is known of that.

    `durations` are those of finished jobs of its kind and `shapes` their bars, oldest first.
    """
    recent = durations[-RECENT:]
    past = _beyond((seconds for seconds in recent), elapsed) if len(recent) >= ENOUGH else None
    samples = len(durations)
    if bar is not None:
        if len(shapes) >= ENOUGH:
            learned = _learned(shapes, bar)
            if learned:
                return Left(pooled(learned), samples, "both")
        elif (told := _told(bar)) is not None:
            return Left(told, samples, "progress") if past is None else Left(pooled([past, told]), samples, "both")
    return None if past is None else Left(past, samples, "history")


def _beyond(values: Iterable[float], bound: float) -> Spread | None:
    """Return how far values are over a bound, of those that are; this is why a late job is not expected at once."""
    over = [value - bound for value in values if value > bound]
    return spread_of(over) if len(over) >= SURVIVORS else None


def _learned(shapes: Sequence[Shape], bar: Bar) -> list[Spread]:
    """Return what the bars of earlier jobs say at this place, as far as those were not over by now.

    Once by how long they still took, which is right where all are alike, and once in proportion to the time so far,
    which is right where they are of different sizes.
    """
    shares = [shape.share(bar.fraction) for shape in shapes]
    elapsed = bar.elapsed + bar.silent
    alike = [(shape, share) for shape, share in zip(shapes, shares, strict=True) if shape.seconds > elapsed]
    rests = (shape.seconds * (1.0 - share) for shape, share in alike)
    begun = [share for share in shares if share > _SOON] if bar.fraction >= _BEGUN else []
    sizes = (bar.elapsed * (1.0 - share) / share for share in begun)
    return [spread for spread in (_beyond(rests, bar.silent), _beyond(sizes, bar.silent)) if spread is not None]


def _told(bar: Bar) -> Spread | None:
    """Return what a bar says by itself: by the average so far and by the newest rate, wide while little is done."""
    if not _BEGUN <= bar.fraction < 1.0 or bar.elapsed < _TICK or bar.stalled:
        return None
    rests = [max(bar.elapsed * (1.0 - bar.fraction) / bar.fraction, _SOON)]
    if bar.rest is not None:
        rests.append(max(bar.rest, _SOON))
    middle = exp(fmean(map(log, rests)))
    doubt = 0.25 + 0.75 * (1.0 - bar.fraction) + _TICK / bar.elapsed + abs(log(rests[0] / rests[-1])) / 2
    # A bar that has been silent for longer than it had to go is late by more than nothing.
    middle = max(middle - bar.silent, (1.0 - bar.fraction) * bar.silent, _SOON)
    return tuple(middle * exp(doubt * normal) for normal in NORMAL)


def pooled(spreads: Sequence[Spread]) -> Spread:
    """Return one spread for several opinions: each counts the more, the narrower it is; wider where they disagree.

    Quantiles are averaged, in logarithms. The opinions are not independent, so the answer is no narrower than they are.
    """
    if len(spreads) == 1:
        return spreads[0]
    logs = [[log(max(value, _SOON)) for value in spread] for spread in spreads]
    doubts = [max(_EXACT, (one[HIGH] - one[LOW]) / (NORMAL[HIGH] - NORMAL[LOW])) for one in logs]
    total = sum(doubt**-2 for doubt in doubts)
    weights = [doubt**-2 / total for doubt in doubts]
    mixed = [sum(weight * one[index] for weight, one in zip(weights, logs, strict=True)) for index in range(WIDTH)]
    middle = mixed[MIDDLE]
    parted = sum(weight * (one[MIDDLE] - middle) ** 2 for weight, one in zip(weights, logs, strict=True))
    doubt = max(_EXACT, (mixed[HIGH] - mixed[LOW]) / (NORMAL[HIGH] - NORMAL[LOW]))
    wider = sqrt(1.0 + parted / doubt**2)
    return tuple(exp(middle + (value - middle) * wider) for value in mixed)


def passed(spread: Spread, seconds: float) -> Spread:
    """Return what is left of a spread after some seconds."""
    return tuple(max(0.0, value - seconds) for value in spread)


def overdue(elapsed: float) -> Spread:
    """Return what is left of a job that runs longer than all before it, for those who wait behind it.

    Of such a job itself nothing is said. That it takes up to as long again is a bet, and a wide one.
    """
    return tuple(elapsed * level for level in LEVELS)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value below which that share of the ordered values lies; None of nothing."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
