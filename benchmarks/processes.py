"""Starts the processes that a benchmark needs, and ends each by its own id, whatever happens."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: Seconds after which a child ends by itself, should nobody be left to end it.
LIFE: Final = 300
START: Final = 20.0


class CannotRun(Exception):
    """A benchmark could not be carried out; the message says why."""


@dataclass(frozen=True)
class Served:
    """A server process that answers."""

    pid: int
    port: int


@contextlib.contextmanager
def serving(which: str, folder: Path, **settings: Any) -> Iterator[Served]:
    """Run `jalebi` or `bare` in a process of its own, on a database of its own."""
    place = folder / f"{which}-{os.urandom(4).hex()}"
    place.mkdir()
    with (place / "errors").open("w+") as errors, _started("server", place, errors, which, settings) as process:
        line = _first_line(process)
        found = re.search(r"http://\S*:(\d+)/", line)
        if found is None:
            raise CannotRun(f"The {which} server did not start: {line}{_tail(errors)}")
        yield Served(process.pid, int(found[1]))


def measured(module: str, folder: Path, timeout: float = 120.0, **order: Any) -> Any:
    """Run a measuring module in a process of its own with its order; return what it found."""
    place = folder / f"{module}-{os.urandom(4).hex()}"
    place.mkdir()
    with (place / "errors").open("w+") as errors, _started(module, place, errors, json.dumps(order), {}) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CannotRun(f"{module} was not done after {timeout:g} s.{_tail(errors)}") from None
        if process.returncode != 0:
            raise CannotRun(f"{module} ended with code {process.returncode}.{_tail(errors)}")
        return json.loads(output.splitlines()[-1])


@contextlib.contextmanager
def _started(
    module: str, place: Path, errors: IO[str], order: str, settings: dict[str, Any]
) -> Iterator["subprocess.Popen[str]"]:
    # The settings of whoever runs this must not reach the servers: no variables, and no .env of the folder.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JALEBI_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "server"), str(ROOT)])
    command = [sys.executable, "-m", f"benchmarks.{module}", order]
    if settings:
        command.append(json.dumps(settings))
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    for stop, patience in ((signal.SIGTERM, 8.0), (signal.SIGKILL, 8.0)):
        if process.poll() is None:
            process.send_signal(stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
    if process.stdout is not None:
        process.stdout.close()


def _first_line(process: "subprocess.Popen[str]") -> str:
    found: list[str] = []
    assert process.stdout is not None
    reading = threading.Thread(target=lambda stream: found.append(stream.readline()), args=(process.stdout,))
    reading.daemon = True
    reading.start()
    reading.join(START)
    return found[0].strip() if found else f"it said nothing in {START:g} s"


def _tail(errors: IO[str]) -> str:
    errors.seek(0)
    lines = errors.read().strip().splitlines()[-15:]
    return "\n    " + "\n    ".join(lines) if lines else ""
