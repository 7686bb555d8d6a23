"""The page of the system: connections, lag, storage, versions, settings."""

import platform
import resource
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from jalebi.settings import Settings
from jalebi.web.rooms import Rooms, rooms_of
from jalebi.web.templating import cursor, page

_PACKAGES: Final = ("jalebi", "starlette", "uvicorn", "websockets", "pydantic", "sqlmodel", "jinja2")
_SECRET: Final = ("token", "secret", "password")


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
            found[name] = "-" if value in (None, (), []) else str(value)
    return found


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
        settings=shown_settings(rooms.settings), kinds=len(rooms.kinds.all()), **await values(rooms),
    )  # fmt: skip
