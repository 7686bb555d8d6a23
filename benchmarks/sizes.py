"""How long and how often everything is measured: a few minutes, or half a minute to see that it works."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Size:
    """The sizes of one run; `folder` holds the databases."""

    folder: Path = Path()
    rounds: int = 3
    submit_seconds: float = 2.5
    connections: Sequence[int] = (1, 50, 500)
    drain_jobs: int = 20_000
    batch_jobs: int = 50_000
    drain_commits: int = 1500
    process_jobs: int = 400
    pick_ups: int = 200
    calls: int = 60_000
    items: int = 2000
    sockets: int = 1000
    lines: int = 200
    tick_seconds: float = 4.0
    old_jobs: int = 10_000
    stored_jobs: int = 1_000_000
    page_views: int = 30
    keep: bool = False  # the database of `pages`, for the next run
    bars: Sequence[int] = (24, 50, 200)
    watch_seconds: float = 3.0
    foretold: int = 2500
    real_jobs: int = 96
    huge: bool = False  # ten million jobs in `size`
    real_stored: int = 50_000
    idle_seconds: float = 30.0
    through_jobs: int = 200_000


QUICK: Final = Size(
    rounds=1, submit_seconds=0.6, drain_jobs=1000, batch_jobs=2000, drain_commits=300, process_jobs=60, pick_ups=60,
    calls=20_000, items=400, sockets=300, lines=50, tick_seconds=1.5, old_jobs=2000, stored_jobs=50_000, page_views=5,
    bars=(24,), watch_seconds=1.5, foretold=600, real_jobs=48, real_stored=2000,
    idle_seconds=3.0, through_jobs=10_000,
)  # fmt: skip
FULL: Final = Size()
