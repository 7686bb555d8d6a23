"""The folder where files are kept: those that jobs attach and those that callers upload for them."""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from jalebi.context import UPLOAD_PATTERN
from jalebi.errors import StorageError
from jalebi.ids import new_id

#: How long an upload waits for the job that uses it, in seconds.
UPLOAD_AGE: Final = 24 * 3600.0
_UPLOAD: Final = re.compile(UPLOAD_PATTERN)


class Files:
    """Files by job. Names on disk are the server's own; a caller's name is never part of a path."""

    def __init__(self, folder: Path | None) -> None:
        self._throwaway = folder is None
        self._folder = folder

    def open(self) -> None:
        """Make the folder. Raises StorageError where it can't be written."""
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="jalebi-"))
            for part in (self.staging, self.uploads):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Files can't be kept in {self._folder}: {error.strerror}.") from None

    def close(self) -> None:
        """Remove a throwaway folder."""
        if self._throwaway and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def root(self) -> Path:
        """The folder itself."""
        assert self._folder is not None, "the folder for files is not open"
        return self._folder

    @property
    def staging(self) -> Path:
        """Where content lies until its job has it."""
        return self.root / "staging"

    @property
    def uploads(self) -> Path:
        """Where uploads lie until a job uses them."""
        return self.root / "uploads"

    def of_job(self, job_id: str) -> Path:
        """Return the folder of one job; the last digits spread jobs evenly over 256 parents."""
        return self.root / "jobs" / job_id[-2:] / job_id

    def inputs(self, job_id: str) -> Path:
        """Return the folder of the uploads that one job uses."""
        return self.of_job(job_id) / "inputs"

    def adopt(self, staged: Path, job_id: str) -> str:
        """Move staged content to a job; return its path relative to the folder."""
        folder = self.of_job(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / staged.name
        if staged.exists() or not target.exists():  # else a try before this has adopted it
            os.replace(staged, target)
        return str(target.relative_to(self.root))

    def drop_job(self, job_id: str) -> None:
        """Remove all that belongs to a job."""
        shutil.rmtree(self.of_job(job_id), ignore_errors=True)

    def drop_jobs(self, job_ids: Sequence[str]) -> None:
        """Remove all that belongs to these jobs."""
        for job_id in job_ids:
            self.drop_job(job_id)

    def drop(self, path: str) -> None:
        """Remove one file of a job that another of the same name has replaced."""
        with suppress(OSError):
            (self.root / path).unlink()

    @contextmanager
    def receive(self) -> Iterator[tuple[str, BinaryIO]]:
        """Take an upload: yields its id and a file to write to; it is kept only if the block ends well."""
        upload_id = new_id()
        staged = self.staging / upload_id
        try:
            with staged.open("xb") as sink:
                yield upload_id, sink
            os.replace(staged, self.uploads / upload_id)
        finally:
            with suppress(FileNotFoundError):
                staged.unlink()

    def has_upload(self, upload_id: str) -> bool:
        """Whether an upload of that id waits."""
        return bool(_UPLOAD.fullmatch(upload_id)) and (self.uploads / upload_id).is_file()

    def give_upload(self, upload_id: str, job_id: str) -> None:
        """Let a job use an upload; other jobs may use the same one."""
        folder = self.inputs(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.uploads / upload_id, folder / upload_id)
        except OSError:  # a file system without hard links
            shutil.copyfile(self.uploads / upload_id, folder / upload_id)

    async def sweep(self) -> None:
        """Remove uploads that no job has used for a day, and content that was never adopted."""
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        oldest = time.time() - UPLOAD_AGE
        for folder in (self.uploads, self.staging):
            for entry in os.scandir(folder):
                with suppress(OSError):
                    if entry.stat().st_mtime < oldest:
                        os.unlink(entry.path)


def stage(source: Path | bytes, staging: Path) -> tuple[Path, int]:
    """Copy content into the staging folder; return its path there and its size in bytes."""
    staged = staging / new_id()
    if isinstance(source, bytes):
        staged.write_bytes(source)
    else:
        shutil.copyfile(source, staged)
    return staged, staged.stat().st_size


def etag(path: Path) -> str:
    """Return a strong validator of a file that is never changed in place."""
    found = path.stat()
    return '"' + hashlib.sha256(f"{path.name}-{found.st_size}-{found.st_mtime_ns}".encode()).hexdigest()[:24] + '"'


def folder_for(database_path: str | None, files_url: str | None) -> Path | None:
    """Return where files are kept: as set, else beside the database; None for a throwaway folder."""
    if files_url is not None:
        return Path(files_url.removeprefix("file://"))
    return None if database_path is None else Path(f"{database_path}-files")
