"""What a job sees of the shop while it runs: `JobContext`, and `track` for code that has no context at hand."""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextvars import ContextVar
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, overload

from jalebi.errors import JobStopped

T = TypeVar("T")

LEVELS: Final = ("debug", "info", "warning", "error")
MAX_MESSAGE: Final = 16 * 1024
#: A prefix of 26 characters of a UUID in hexadecimal and dashes, as `POST /v1/uploads` gives it.
UPLOAD_PATTERN: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_MEDIA_TYPE: Final = re.compile(r"[\w.+!#$&^-]{1,127}/[\w.+!#$&^-]{1,127}( *;[ -~]{0,200})?", re.ASCII)


class Link(Protocol):
    """How an attempt speaks with its supervisor; the loop, a thread and a child process each have their own."""

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""

    def progress(self, done: float, total: float | None, message: str | None, unit: str | None) -> None:
        """Hand on the latest position; never blocks."""

    def log(self, message: str, level: str) -> None:
        """Hand on a log line."""

    def attach(self, source: Path | bytes, name: str, media_type: str | None) -> None:
        """Take a file's content before returning."""

    def acknowledge(self) -> None:
        """Say that the code has heard that it is to stop; more than once is once."""

    def inputs(self) -> Path:
        """Return the folder that holds the files uploaded for this job."""


class JobContext:
    """The running attempt: who it is, and how it reports and is told to stop."""

    def __init__(self, job_id: str, attempt: int, kind: str, link: Link) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.kind = kind
        self._link = link

    def progress(
        self, done: float, total: float | None = None, message: str | None = None, unit: str | None = None
    ) -> None:
        """Say how far the job is: `done` of `total`, in `unit`s. Never blocks; only the newest position is kept."""
        if not isfinite(done) or (total is not None and not isfinite(total)):
            raise ValueError("progress needs finite numbers")
        self._link.progress(
            float(done),
            None if total is None else float(total),
            message if message is None else str(message),
            unit if unit is None else str(unit),
        )

    @overload
    def track(
        self, iterable: Iterable[T], total: float | None = None, unit: str | None = None, message: str | None = None
    ) -> Iterator[T]: ...
    @overload
    def track(
        self,
        iterable: AsyncIterable[T],
        total: float | None = None,
        unit: str | None = None,
        message: str | None = None,
    ) -> AsyncIterator[T]: ...
    def track(
        self, iterable: Any, total: float | None = None, unit: str | None = None, message: str | None = None
    ) -> Any:
        """Yield from a sync or async iterable and report each finished item; stops where the job is cancelled."""
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)
        if isinstance(iterable, AsyncIterable):
            return self._track_async(iterable, total, unit, message)
        return self._track_sync(iterable, total, unit, message)

    def _track_sync(
        self, iterable: Iterable[T], total: float | None, unit: str | None, message: str | None
    ) -> Iterator[T]:
        self.progress(0, total, message, unit)
        for done, item in enumerate(iterable, start=1):
            self.raise_if_cancelled()
            yield item
            self.progress(done, total, message, unit)

    async def _track_async(
        self, iterable: AsyncIterable[T], total: float | None, unit: str | None, message: str | None
    ) -> AsyncIterator[T]:
        self.progress(0, total, message, unit)
        done = 0
        async for item in iterable:
            self.raise_if_cancelled()
            yield item
            done += 1
            self.progress(done, total, message, unit)

    def log(self, message: str, level: str = "info") -> None:
        """Keep a line with the job; `level` is debug, info, warning or error."""
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}")
        text = clean_text(str(message))
        if len(text) > MAX_MESSAGE:
            text = f"{text[:MAX_MESSAGE]}… ({len(text) - MAX_MESSAGE} more characters)"
        self._link.log(text, level)

    def attach(self, path_or_bytes: str | PathLike[str] | bytes, name: str, media_type: str | None = None) -> None:
        """Keep a file with the job under `name`; its content is taken before the call returns.

        A file of the same name, from this or an earlier attempt, is replaced.
        """
        check_file_name(name)
        check_media_type(media_type)
        source = bytes(path_or_bytes) if isinstance(path_or_bytes, bytes | bytearray) else Path(path_or_bytes)
        self._link.attach(source, name, media_type)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the job to stop, or its time is up."""
        if self._link.cancelled:
            self._link.acknowledge()
            return True
        return False

    def raise_if_cancelled(self) -> None:
        """End the job here where it was asked to stop."""
        if self.cancelled:
            raise JobStopped("The job was asked to stop.")


class Upload(str):
    """A job's parameter that takes a file handed in by the caller: the id that `POST /v1/uploads` returned."""

    __slots__ = ()

    @property
    def path(self) -> Path:
        """The file's content on disk; only inside the job."""
        context = current.get()
        if context is None:
            raise RuntimeError("an uploaded file can be read inside its job only")
        return context._link.inputs() / str(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Validate as a string of the id's form; see `kinds.schema` for how it shows in JSON Schema."""
        from pydantic_core import core_schema

        plain = core_schema.str_schema(pattern=UPLOAD_PATTERN)
        return core_schema.no_info_after_validator_function(
            cls, plain, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Mark the field, so that a form offers a file."""
        return {**handler(schema), "format": "upload"}


current: ContextVar[JobContext | None] = ContextVar("jalebi_job", default=None)


@overload
def track(
    iterable: Iterable[T], total: float | None = None, unit: str | None = None, message: str | None = None
) -> Iterator[T]: ...
@overload
def track(
    iterable: AsyncIterable[T], total: float | None = None, unit: str | None = None, message: str | None = None
) -> AsyncIterator[T]: ...
def track(iterable: Any, total: float | None = None, unit: str | None = None, message: str | None = None) -> Any:
    """Track the iterable as the running job's progress; outside a job, it is just the iterable."""
    context = current.get()
    if context is None:
        return iterable
    return context.track(iterable, total, unit, message)


def clean_text(text: str) -> str:
    """Return text that every store and every JSON reader takes: no NUL, no lone surrogates."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return text


def check_file_name(name: str) -> None:
    """Raise ValueError where a name can't be a file's name in a link and in a folder of the reader's."""
    bad = not name or name in {".", ".."} or name != clean_text(name) or len(name.encode("utf-8", "replace")) > 255
    if bad or "/" in name or "\\" in name or any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name):
        raise ValueError(f"{name!r} can't be a file's name")


def check_media_type(media_type: str | None) -> None:
    """Raise ValueError where a media type can't stand in a header."""
    if media_type is not None and not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"{media_type!r} is not a media type like application/pdf")
