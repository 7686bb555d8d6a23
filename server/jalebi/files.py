"""The folder where files are kept: those that jobs attach and those that callers upload for them."""

import asyncio
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from jalebi.context import UPLOAD_PATTERN
from jalebi.errors import StorageError, StorageUnavailable
from jalebi.ids import new_id

#: How long an upload waits for the job that uses it, in seconds.
UPLOAD_AGE: Final = 24 * 3600.0
#: How old the folder of a job that does not exist must be before it goes: a job's uploads come before the job.
ORPHAN_AGE: Final = 3600.0
THREADS: Final = 4
#: Folders below the root down to this depth belong to many jobs: `jobs` and its 256 parts.
SHARED: Final = 2
_UPLOAD: Final = re.compile(UPLOAD_PATTERN)
#: What a disk says that is full, or has an error, or was made read-only by one.
_STORAGE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP}
T = TypeVar("T")


class Files:
    """Files by job. Names on disk are the server's own; a caller's name is never part of a path.

    Whatever is kept, its content and its place in the folders are on disk before anybody is told of it. That is waited
    for in threads of our own: those of the event loop may all be held by jobs.
    """

    def __init__(self, folder: Path | None) -> None:
        self._throwaway = folder is None
        self._folder = folder
        self._threads: ThreadPoolExecutor | None = None
        self._durable: set[Path] = set()  # folders that stay after a power loss
        #: Why the disk takes nothing new, None while it does: what it has left is for ending what is under way.
        self.trouble: Callable[[], str | None] = lambda: None

    def open(self) -> None:
        """Make the folder. Raises StorageError where it can't be written."""
        try:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="jalebi-"))
            for part in (self.staging, self.uploads):
                part.mkdir(parents=True, exist_ok=True)
            sync(self._folder.parent)
            sync(self._folder)
        except OSError as error:
            raise StorageError(f"Files can't be kept in {self._folder}: {error.strerror}.") from None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jalebi-files")

    def close(self) -> None:
        """End what goes on, and remove a throwaway folder."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
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

    async def adopt(self, staged: Path, job_id: str) -> str:
        """Move staged content to a job; return its path relative to the folder.

        Raises StorageUnavailable where the disk is full, and OSError where the content may not have reached it: it
        must not be taken for kept then, nor be asked for again.
        """
        return await self._in_thread(self._adopt, staged, job_id)

    def _adopt(self, staged: Path, job_id: str) -> str:
        self._check()
        folder = self.of_job(job_id)
        target = folder / staged.name
        fresh = staged.exists() or not target.exists()  # else a try before this has adopted it
        if fresh:
            sync(staged)
        with _refused():
            self._make(folder)
            if fresh:
                os.replace(staged, target)
            sync(folder)
        return str(target.relative_to(self.root))

    def _make(self, folder: Path) -> None:
        """Make a folder below the root, with those above it, so that a power loss leaves it there."""
        parts = folder.relative_to(self.root).parts
        for depth in range(1, len(parts) + 1):
            part = self.root.joinpath(*parts[:depth])
            part.mkdir(exist_ok=True)
            if part not in self._durable:  # that it is there does not say that whoever made it has synced it
                sync(part.parent)
                if depth <= SHARED:
                    self._durable.add(part)

    def _check(self) -> None:
        if (trouble := self.trouble()) is not None:
            raise _unavailable(trouble)

    async def _in_thread(self, work: Callable[..., T], *given: Any) -> T:
        assert self._threads is not None, "the folder for files is not open"
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

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

    @asynccontextmanager
    async def receive(self) -> AsyncIterator[tuple[str, BinaryIO]]:
        """Take an upload: yields its id and a file to write to; it is kept only if the block ends well.

        Raises StorageUnavailable where the disk does not take it.
        """
        self._check()
        upload_id = new_id()
        staged = self.staging / upload_id
        try:
            with _refused():
                with staged.open("xb") as sink:
                    yield upload_id, sink
                await self._in_thread(self._keep, staged, self.uploads / upload_id)
        finally:
            with suppress(FileNotFoundError):
                staged.unlink()

    def _keep(self, staged: Path, target: Path) -> None:
        sync(staged)
        os.replace(staged, target)
        sync(target.parent)

    def has_upload(self, upload_id: str) -> bool:
        """Whether an upload of that id waits."""
        return bool(_UPLOAD.fullmatch(upload_id)) and (self.uploads / upload_id).is_file()

    async def give_upload(self, upload_id: str, job_id: str) -> None:
        """Let a job use an upload; other jobs may use the same one. Raises StorageUnavailable."""
        await self._in_thread(self._give, upload_id, job_id)

    def _give(self, upload_id: str, job_id: str) -> None:
        folder = self.inputs(job_id)
        with _refused():
            self._make(folder)
            try:
                os.link(self.uploads / upload_id, folder / upload_id)
            except OSError:  # a file system without hard links
                shutil.copyfile(self.uploads / upload_id, folder / upload_id)
                sync(folder / upload_id)
            sync(folder)

    async def sweep(self, existing: Callable[[Sequence[str]], Awaitable[set[str]]]) -> None:
        """Remove uploads that no job has used for a day, content that was never adopted, and what deleted jobs left.

        `existing` returns those of the ids that jobs have: a server that dies between the deletion of a job and that of
        its files leaves a folder that nothing else would ever remove.
        """
        await self._in_thread(self._sweep)
        for part in await self._in_thread(_folders, self.root / "jobs"):
            old = await self._in_thread(self._old, part)
            for start in range(0, len(old), 500):
                asked = old[start : start + 500]
                known = await existing(asked)
                await self._in_thread(self.drop_jobs, [job_id for job_id in asked if job_id not in known])

    def _old(self, part: Path) -> list[str]:
        oldest = time.time() - ORPHAN_AGE
        return [
            folder.name
            for folder in _folders(part)
            if _UPLOAD.fullmatch(folder.name) and folder.stat().st_mtime < oldest and folder == self.of_job(folder.name)
        ]

    def _sweep(self) -> None:
        oldest = time.time() - UPLOAD_AGE
        for folder in (self.uploads, self.staging):
            for entry in os.scandir(folder):
                with suppress(OSError):
                    if entry.stat().st_mtime < oldest:
                        os.unlink(entry.path)


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's list of names, to the disk. Raises OSError where that failed."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return
    file = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(file)
    except OSError as error:
        if not folder or error.errno not in _NO_SYNC:  # some file systems sync no folders
            raise
    finally:
        os.close(file)


@contextmanager
def _refused() -> Iterator[None]:
    """Turn what a disk says that is full or broken into the answer that callers get."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        raise _unavailable(str(error.strerror)) from error


def _unavailable(reason: str) -> StorageUnavailable:
    return StorageUnavailable(f"The file was not stored: {reason}.", headers={"Retry-After": "5"})


def _folders(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


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
