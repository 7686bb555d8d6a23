"""`python -m benchmarks [--quick] [--only NAME] [--keep] [--write]`: measures this machine and prints ratios."""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from benchmarks import (
    browser,
    calls,
    draining,
    estimates,
    fanout,
    growth,
    pages,
    pickup,
    progress,
    purging,
    still,
    storing,
    submissions,
)
from benchmarks.figures import Table
from benchmarks.machine import Others, facts
from benchmarks.processes import CannotRun
from benchmarks.sizes import FULL, QUICK, Size

BENCHMARKS: Final[dict[str, Callable[[Size], Table]]] = {
    "submissions": submissions.run,
    "calls": calls.run,
    "drain": draining.run,
    "pickup": pickup.run,
    "progress": progress.run,
    "fanout": fanout.run,
    "purge": purging.run,
    "browser": browser.run,
    "pages": pages.run,
    "estimates": estimates.run,
    "size": storing.run,
    "still": still.run,
    "growth": growth.run,
}
RESULTS: Final = Path(__file__).parent / "RESULTS.md"
READING: Final = """\
# Results

Made by `make bench`, which measures the machine it runs on; `.venv/bin/python -m benchmarks --write` writes this file
anew, `--quick` takes a minute and is good for nothing but seeing that it works, `--only NAME` runs one part
(`submissions`, `calls`, `drain`, `pickup`, `progress`, `fanout`, `purge`, `browser`, `pages`,
`estimates`, `size`, `still`, `growth`); `--huge` lets `size` have ten million jobs.

How to read the figures:

- **Look at the ratios.** Every absolute number belongs to the machine named below and stands beside a plain reference
  that was measured in the same run, in turns (A B A B …). A ratio is the median of the ratios of the rounds.
- In brackets: the least and the greatest of the rounds. A difference smaller than that means nothing.
- The server has one core and the load client another; both are on loopback, where the receiver's TCP work is charged to
  the sender. The client is written on bare protocols; the share of its core that it used is given, so that it can be
  seen whether it was the limit.
- What depends on commits depends on the disk: on a slower one the ratios to a plain commit loop grow, because one
  commit carries many jobs.
"""


def main() -> int:
    """Measure, print, and write the file of results where that is asked for."""
    options = _options(sys.argv[1:])
    signal.signal(signal.SIGTERM, _terminated)
    place = os.environ.get("TMPDIR") or "."
    tables, broken = [], 0
    try:
        with tempfile.TemporaryDirectory(prefix=".benchmarks-", dir=place) as folder:
            size = replace(
                QUICK if options.quick else FULL, folder=Path(folder).resolve(), keep=options.keep, huge=options.huge
            )
            known = facts(size.folder)
            print("\n".join(["Jalebi's benchmarks on this machine", *known, ""]), flush=True)
            for name in options.only or BENCHMARKS:
                table, failed = _measure(name, size)
                broken += failed
                tables.append(table)
                print(table.text(), flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    if options.write:
        _write(known, tables)
    return 1 if broken else 0


def _measure(name: str, size: Size) -> tuple[Table, bool]:
    others, began = Others(), time.monotonic()
    try:
        table, failed = BENCHMARKS[name](size), False
    except (CannotRun, OSError) as error:
        table, failed = Table(name, (), notes=[f"It did not run: {error}"]), True
    table.notes.append(f"{others.note()} It took {time.monotonic() - began:.0f} s.")
    return table, failed


def _write(known: Sequence[str], tables: Sequence[Table]) -> None:
    machine = "\n".join(["## The machine", "", *(f"- {fact}" for fact in known)])
    RESULTS.write_text("\n".join([READING, machine, "", *(table.markdown() for table in tables)]))
    print(f"{RESULTS.name} is written.")


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt  # what runs below ends its processes on its way out


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute: to see that it works, not to quote")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} anew")
    parser.add_argument("--keep", action="store_true", help="keep the large databases for the next run")
    parser.add_argument("--huge", action="store_true", help="ten million jobs in `size`: some minutes, 6 GB")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    options = parser.parse_args(arguments)
    if options.write and (options.quick or options.only):
        parser.error("--write needs the whole run: the file is not to hold half of it, or a smoke test")
    return options


if __name__ == "__main__":
    sys.exit(main())
