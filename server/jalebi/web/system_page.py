"""The page of the system: connections, lag, storage, versions, settings."""

import os
import platform
import resource
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from jalebi.retention import EVERY as RETENTION_EVERY
from jalebi.settings import Settings
from jalebi.web import words
from jalebi.web.rooms import Rooms, rooms_of
from jalebi.web.templating import cursor, page

_PACKAGES: Final = ("jalebi", "starlette", "uvicorn", "websockets", "pydantic", "sqlmodel", "jinja2")
_SECRET: Final = ("token", "secret", "password")
#: Settings that are bytes and seconds.
_BYTES: Final = {
    "max_body", "max_result", "max_upload", "max_backlog_bytes", "reserve", "retention_bytes", "job_memory",
    "job_file_size",
}  # fmt: skip
_SECONDS: Final = {
    "retention_age", "idempotency_age", "lease", "grace", "cancel_grace", "stall_after", "subscriber_timeout",
    "block_warning", "job_cpu",
}  # fmt: skip


@cache
def versions() -> dict[str, str]:
    """Return the versions of what the server is made of."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "htmx": "4.0.1", "uPlot": "1.6.32"}


def shown_settings(settings: Settings) -> dict[str, str]:
    """Return the settings in force, secrets left out."""
    found: dict[str, str] = {}
    for name, value in sorted(settings.model_dump().items()):
        if value is not None and any(part in name for part in _SECRET):
            found[name] = "set"
        elif name.endswith("_url") and "@" in str(value):
            found[name] = f"{str(value).partition('://')[0]}://…@{str(value).rpartition('@')[2]}"
        else:
            found[name] = _readable(name, value)
    return found


def _readable(name: str, value: Any) -> str:
    if value in (None, (), [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if name in _BYTES:
            return words.size(int(value))
        if name in _SECONDS:
            return f"{value:g} s" if value < 120 else words.seconds(value)
        return str(value) if name == "port" else words.number(value)
    return str(value)


def memory() -> int | None:
    """Return the bytes of memory that the server takes up now; None where that can't be known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def sqlite_version(connection: Connection) -> str:
    """Return the version of the database."""
    return str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())


async def values(rooms: Rooms) -> dict[str, Any]:
    """Return what the template's region shows."""
    database, files = await rooms.sizes.read(rooms.store)
    lag = rooms.feed.lag
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "hub": rooms.hub,
        "traffic": rooms.traffic,
        "lag": (lag.quantile(0.5), lag.quantile(0.95)),
        "transactions": rooms.store.transactions,
        "events": rooms.feed.number,
        "database": database,
        "files": files,
        "peak": peak,
        "memory": memory(),
        "sweep": RETENTION_EVERY,
        "up_since": rooms.opened_at,
        "path": rooms.store.path,
        "retention": rooms.settings,
        "storage_trouble": rooms.store.trouble,
    }


async def system(request: Request) -> Response:
    """`GET /system`: how the server itself is."""
    rooms = rooms_of(request)
    sqlite = await rooms.store.read(sqlite_version)
    return page(
        request, "system.html", view="system", cursor=cursor(rooms, 0), versions={**versions(), "SQLite": sqlite},
        settings=shown_settings(rooms.settings), kinds=[kind.name for kind in rooms.kinds.all()], **await values(rooms),
    )  # fmt: skip
