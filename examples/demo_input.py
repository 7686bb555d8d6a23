"""Opens what a caller names (a CSV, an upload, a list in text) or says in one sentence why it can't."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jalebi import JobFailed

#: The samples that are shipped, found beside this file in a checkout and in an installed package alike.
DATA: Final = Path(__file__).parent / "data"
MAX_BYTES: Final = 20 * 1024 * 1024
MAX_ROWS: Final = 100_000


@dataclass(frozen=True)
class Table:
    """A CSV file in memory: its header, and rows that are all as long as the header."""

    columns: list[str]
    rows: list[list[str]]

    def records(self) -> list[dict[str, str]]:
        """Return the rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def existing_file(named: str, sample: str) -> Path:
    """Return the file that the caller named, or the shipped sample where nothing was named."""
    path = Path(named).expanduser() if named else DATA / sample
    if not path.is_file():
        raise JobFailed(f"There is no file {named or sample!r} on the server.", retry=False)
    return path


def read_text(path: Path) -> str:
    """Return a text file that is not too large; bytes that are not UTF-8 become replacement characters."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise JobFailed(f"The file {path.name!r} can't be read: {error.strerror}.", retry=False) from error
    if len(content) > MAX_BYTES:
        raise JobFailed(f"The file {path.name!r} is larger than {MAX_BYTES // 1024 // 1024} MiB.", retry=False)
    return content.decode("utf-8-sig", "replace")


def read_table(path: Path) -> Table:
    """Read any CSV that has a header; commas, semicolons, tabs and bars separate alike."""
    lines = read_text(path).splitlines(keepends=True)
    separator = max(",;\t|", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=separator)
    try:
        columns = _unique([name.strip() for name in next(reader, [])])
        rows = [_fitted(row, len(columns)) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise JobFailed(f"The file {path.name!r} is not a CSV: {error}.", retry=False) from error
    if not columns or not rows:
        raise JobFailed(f"The file {path.name!r} needs a header line and at least one row.", retry=False)
    if len(rows) > MAX_ROWS:
        raise JobFailed(f"The file {path.name!r} has more than {MAX_ROWS} rows.", retry=False)
    return Table(columns, rows)


def _unique(names: list[str]) -> list[str]:
    """Give every column a name of its own."""
    seen: dict[str, int] = {}
    result = []
    for position, name in enumerate(names, start=1):
        plain = name or f"column {position}"
        seen[plain] = seen.get(plain, 0) + 1
        result.append(plain if seen[plain] == 1 else f"{plain} {seen[plain]}")
    return result


def _fitted(row: list[str], length: int) -> list[str]:
    return [field.strip() for field in row[:length]] + [""] * (length - len(row))
