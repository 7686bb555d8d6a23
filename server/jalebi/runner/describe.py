"""How an exception becomes a job's error document."""

import traceback as tracebacks
from pathlib import Path
from typing import Any, Final

from jalebi.context import clean_text
from jalebi.errors import JobStopped
from jalebi.jobs import failure

MAX_MESSAGE: Final = 16 * 1024
MAX_TRACEBACK: Final = 64 * 1024
_OURS: Final = str(Path(__file__).resolve().parents[1])


def describe(error: BaseException) -> dict[str, Any]:
    """Return an exception as an error document; our own frames are left out of its traceback."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    try:
        message = str(error)
    except Exception:
        message = "(the exception can't be shown)"
    if not message and isinstance(error, MemoryError):
        message = "Memory ran out."
    text = "".join(tracebacks.format_exception(type(error), error, frames or error.__traceback__))
    return failure(type(error).__name__, clean_text(message)[:MAX_MESSAGE], clean_text(text)[-MAX_TRACEBACK:])


def stopped(error: BaseException) -> bool:
    """Whether a job ended because it was asked to, also where a task group has wrapped that up."""
    if isinstance(error, BaseExceptionGroup):
        return all(stopped(inner) for inner in error.exceptions)
    return isinstance(error, JobStopped)
