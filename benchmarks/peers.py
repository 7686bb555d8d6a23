"""Other job servers, run beside: each in an environment of its own, with its own database server, ended by its id."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import CannotRun

HERE: Final = Path(__file__).resolve().parent
PATIENCE: Final = 180.0


@contextlib.contextmanager
def pgqueuer(folder: Path) -> Iterator[Any]:
    """Give a function that drains so many jobs in batches of a size. Raises CannotRun where something is missing."""
    python = environment(folder / "pgqueuer", ["pgqueuer", "asyncpg", "uvloop"])
    with postgresql(folder) as host:

        def drain(jobs: int, batch: int) -> dict[str, Any]:
            _run([_program("psql"), "-h", host, "-U", "postgres", "-qc",
                  "DROP SCHEMA public CASCADE; CREATE SCHEMA public"])  # fmt: skip
            output = _run([str(python), str(HERE / "pgqueuer_peer.py"), host, str(jobs), str(batch)])
            found: dict[str, Any] = json.loads(output.splitlines()[-1])
            return found

        yield drain


def environment(place: Path, packages: list[str]) -> Path:
    """Make an environment with some packages and return its interpreter."""
    _run([sys.executable, "-m", "venv", str(place)])
    python = place / "bin" / "python"
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    return python


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Run PostgreSQL as it comes (fsync and synchronous_commit on), on a socket in a folder, which is given."""
    place = folder / "postgresql"
    place.mkdir()
    user = _other_user(place)
    _run([_program("initdb"), "-D", str(place / "data"), "-U", "postgres", "-A", "trust"], user=user)
    server = subprocess.Popen(
        [_program("postgres"), "-D", str(place / "data"), "-k", str(place), "-c", "listen_addresses="],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=place, user=user,
    )  # fmt: skip
    try:
        until = time.monotonic() + 20
        while not (place / ".s.PGSQL.5432").exists():
            if server.poll() is not None or time.monotonic() > until:
                raise CannotRun("PostgreSQL did not start")
            time.sleep(0.05)
        yield str(place)
    finally:
        server.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        if server.poll() is None:
            server.kill()


def _other_user(place: Path) -> str | None:
    """Give a folder to a user whom PostgreSQL accepts: it does not run as root."""
    if os.geteuid() != 0:
        return None
    shutil.chown(place, "nobody")
    for parent in (place.parent, *place.parent.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return pwd.getpwnam("nobody").pw_name


def _program(name: str) -> str:
    found = shutil.which(name) or next((str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    if found is None:
        raise CannotRun(f"{name} is not on this machine")
    return found


def _run(command: list[str], user: str | None = None) -> str:
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, user=user, cwd="/", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"{command[0]}: {error}") from None
    if found.returncode != 0:
        raise CannotRun(f"{Path(command[0]).name} ended with code {found.returncode}: {found.stderr.strip()[-300:]}")
    return found.stdout
