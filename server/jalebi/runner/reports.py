"""What a child process may say of the job that it runs. A job can write to its pipe too: nothing is believed unread."""

import os
from math import isfinite
from typing import Any, Final, Literal

import msgspec

from jalebi.context import MAX_MESSAGE, check_file_name, check_media_type, clean_text


class Position(msgspec.Struct, tag_field="t", tag="progress"):
    """The newest progress: done, total, message, unit."""

    p: tuple[float, float | None, str | None, str | None]

    def __post_init__(self) -> None:
        if not all(isfinite(number) for number in self.p[:2] if number is not None):
            raise ValueError("progress needs finite numbers")


class Line(msgspec.Struct, tag_field="t", tag="log"):
    """A log line."""

    message: str
    level: Literal["debug", "info", "warning", "error"]

    def __post_init__(self) -> None:
        self.message = clean_text(self.message)[: 2 * MAX_MESSAGE]  # a note of what was cut off may stand at its end


class File(msgspec.Struct, tag_field="t", tag="file"):
    """A file whose content is in the staging folder."""

    path: str
    size: int
    name: str
    media_type: str | None

    def __post_init__(self) -> None:
        check_file_name(self.name)
        check_media_type(self.media_type)


class Delivered(msgspec.Struct, tag_field="t", tag="delivered"):
    """The cancellation has reached the process."""


class Acknowledged(msgspec.Struct, tag_field="t", tag="acknowledged"):
    """The code has heard that it is to stop."""


class Returned(msgspec.Struct, tag_field="t", tag="completed"):
    """The function has returned; `clean`: the process can run another job."""

    result: str
    clean: bool


class Heeded(msgspec.Struct, tag_field="t", tag="stopped"):
    """The function has ended because it was asked to."""

    clean: bool


class Error(msgspec.Struct):
    """An error document."""

    type: str
    message: str
    traceback: str | None


class Raised(msgspec.Struct, tag_field="t", tag="failed"):
    """The function has raised."""

    error: Error
    retry: bool
    clean: bool


Report = Position | Line | File | Delivered | Acknowledged | Returned | Heeded | Raised
_ANY: Final[Any] = Report


def understood(message: dict[str, Any], staging: str) -> Report | None:
    """Return a message as what it says, None where that is nothing that a child process would say.

    A file that is not in the staging folder is nothing that it could give away.
    """
    try:
        report: Report = msgspec.convert(message, _ANY)
    except (msgspec.MsgspecError, ValueError):
        return None
    return None if isinstance(report, File) and os.path.dirname(report.path) != staging else report
