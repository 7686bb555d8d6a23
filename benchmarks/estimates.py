"""How far the predicted finish and start of jobs are from what came, beside the plain rules that are used otherwise."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.figures import Table, ratios, spread
from benchmarks.mixed_load import LOOKS, SLOTS, SORTS, Look, Play
from benchmarks.processes import measured
from benchmarks.sizes import Size

#: Which loads are played; nothing was fitted to them.
SEEDS: Final = (11, 22, 33)


def run(size: Size) -> Table:
    """Play a mixed load, with a seed for each round, and run a small one in real time."""
    rounds = [Play(seed, size.foretold).run() for seed in SEEDS[: size.rounds]]
    found = measured("foretelling", size.folder, jobs=size.real_jobs)
    real = [Look(**{**look, "span": look["span"] and tuple(look["span"])}) for look in found]
    table = Table("Predicted finish and start of jobs", ("asked", "error", "plain error", "ratio", "in range", "known"))
    for share in LOOKS:
        at = [[look for look in looks if look.at == share] for looks in rounds]
        table.rows.append(_row(f"{share:.0%} of the run, bar", [[one for one in some if one.barred] for some in at]))
    honest = [[look for look in looks if look.at == 0.5 and look.sort.endswith("honest bar")] for looks in rounds]
    table.rows.append(_row("50% of the run, honest bars only", honest))
    for share in LOOKS:
        at = [[look for look in looks if look.at == share] for looks in rounds]
        table.rows.append(
            _row(f"{share:.0%} of the run, no bar", [[one for one in some if not one.barred] for some in at])
        )
    table.rows.append(_row("start, as it comes into line", [[one for one in some if one.at < 0] for some in rounds]))
    for share in LOOKS[1:]:
        table.rows.append(
            _row(f"really run: {share:.0%}, bar", [[look for look in real if look.at == share and look.barred]])
        )
    table.rows.append(_row("really run: start", [[look for look in real if look.at < 0]]))
    table.notes += [
        "error: the median of |predicted - real| of the finish, by the real duration of the run, where both have "
        "something to say; of the start, by the real wait. plain: started + elapsed / fraction; of the start, place * "
        "mean duration of all / slots. in range: the share of what was known whose real time lay between `earliest` "
        "and `latest`, which should be 80%. known: how often anything was said.",
        f"{size.foretold:,} jobs a round in simulated time, by the server's own arithmetic and memory, from an empty "
        f"history on: {len(SORTS)} kinds ({', '.join(sort.name for sort in SORTS)}), {SLOTS} slots, bursts, a queue of "
        "which two run at once. A bar that slows down or jumps does so each time in the same way, which is what can be "
        "learned; the whimsical one does not.",
        f"really run: {size.real_jobs} jobs of some seconds in a server with 12 slots, asked as a GET does. They come "
        "all at once and are asked for their start at almost the same moment: hardly more than one observation.",
    ]
    return table


def _row(name: str, rounds: Sequence[Sequence[Look]]) -> list[str]:
    ours, plain, inside, known = [], [], [], []
    for looks in rounds:
        told = [(look, look.span) for look in looks if look.span is not None]
        if not told:
            return [name, "nothing was asked", "-", "-", "-", "-"]
        both = [(look, span) for look, span in told if look.plain is not None]
        ours.append(median(abs(span[1] - look.real) / look.by for look, span in both or told))
        if both:
            plain.append(median(abs((look.plain or 0.0) - look.real) / look.by for look, _ in both))
        inside.append(sum(span[0] <= look.real <= span[2] for look, span in told) / len(told))
        known.append(len(told) / len(looks))
    shares = [f"{100 * median(found):.0f}%" for found in (inside, known)]
    beside = [spread(plain), spread(ratios(ours, plain))] if plain else ["says nothing", "-"]
    return [name, spread(ours), *beside, *shares]
