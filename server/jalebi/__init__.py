"""Jalebi: hand in a slow job over HTTP, get a token at once, watch it being made, fetch the result."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jalebi.app import Jalebi
    from jalebi.context import JobContext, Upload, track
    from jalebi.errors import JobFailed

__version__ = "0.1.0"

__all__ = ["Jalebi", "JobContext", "JobFailed", "Upload", "__version__", "track"]

#: Where the public names live. They come when they are asked for: `jalebi.client` works without the server.
_HOMES: Final = {
    "Jalebi": "jalebi.app",
    "JobContext": "jalebi.context",
    "JobFailed": "jalebi.errors",
    "Upload": "jalebi.context",
    "track": "jalebi.context",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
