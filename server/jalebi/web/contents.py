"""Groups of states, as tabs, figures and queues count them."""

from collections.abc import Mapping
from typing import Final

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "waiting": ("queued", "scheduled", "retrying", "blocked"),
    "running": ("running", "cancelling"),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}


def grouped(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by state as counts by group."""
    return {group: sum(counts.get(state, 0) for state in states) for group, states in GROUPS.items()}
