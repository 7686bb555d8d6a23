"""The runner: isolations, limits, faults."""
