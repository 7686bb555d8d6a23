"""Medians, percentiles, ratios and the tables that show them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def number(value: float) -> str:
    """Return a number with as many digits as are worth reading."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """Return the median with the least and the greatest of the rounds."""
    middle = number(statistics.median(values))
    return middle if len(values) < 2 else f"{middle} ({number(min(values))}..{number(max(values))})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each round; both were measured one right after the other."""
    return [a / b for a, b in zip(ours, theirs, strict=True) if b]


@dataclass
class Table:
    """What one benchmark found: rows of texts, and what must be known to read them."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the table for a terminal."""
        lines = [self.title, "=" * len(self.title)]
        if self.rows:
            cells = [self.columns, *self.rows]
            widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
            for row in [self.columns, ["-" * width for width in widths], *self.rows]:
                padded = [text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in
                          enumerate(zip(row, widths, strict=True))]  # fmt: skip
                lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, *(f"* {note}" for note in self.notes)]) + "\n"

    def markdown(self) -> str:
        """Return the table for the file of results."""
        lines = [f"## {self.title}", ""]
        if self.rows:
            lines += [_line(self.columns), _line(["---", *["--:"] * (len(self.columns) - 1)])]
            lines += [*(_line(row) for row in self.rows), ""]
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)]).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
