"""Remembers on disk which mails of a job were sent, so that another attempt does not send them again."""

import os
import time
from pathlib import Path
from typing import Final, Self

KEPT_SECONDS: Final = 30 * 24 * 3600


def state_folder() -> Path:
    """Return the folder for what must outlive a restart, as the XDG base directories have it."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "jalebi-demo" / "mailing"


class Journal:
    """One file per job that only grows: a line for each mail that the mail server took.

    A line is written right after the server's answer and before anything else happens, and it outlives the death
    of the process. What is left is the moment between the two: a mail that was taken just when the process died is
    sent once more, under the same Message-ID. After a power failure the last lines may be missing too.
    Attempts of a job that run on different machines need a state folder that they share.
    """

    def __init__(self, job_id: str) -> None:
        folder = state_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_old(folder)
        self._path = folder / f"{job_id}.sent"
        known = self._path.read_bytes() if self._path.exists() else b""
        # A line without its end was cut off by a crash: it counts as not sent.
        whole, _, torn = known.rpartition(b"\n")
        self.sent = set(whole.decode("ascii", "replace").split("\n")) - {""}
        self._file = self._path.open("ab", buffering=0)
        if torn:
            self._file.write(b"\n")

    def add(self, message_id: str) -> None:
        """Note a mail as sent."""
        self._file.write(f"{message_id}\n".encode("ascii"))
        self.sent.add(message_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _forget_old(folder: Path) -> None:
    """Remove the journals of jobs that nobody will retry any more."""
    for path in folder.glob("*.sent"):
        if path.stat().st_mtime < time.time() - KEPT_SECONDS:
            path.unlink(missing_ok=True)
