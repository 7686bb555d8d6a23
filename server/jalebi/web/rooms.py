"""What a request may reach of the server: the rooms below the web."""

from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from jalebi.files import Files
from jalebi.hub import Hub
from jalebi.kinds import Kinds
from jalebi.queue import Queue
from jalebi.settings import Settings
from jalebi.store import Store
from jalebi.web.figures import Figures
from jalebi.web.frames import Frames


@dataclass(frozen=True, slots=True)
class Rooms:
    """One opened shop."""

    settings: Settings
    store: Store
    hub: Hub
    queue: Queue
    files: Files
    kinds: Kinds
    frames: Frames
    figures: Figures = field(default_factory=Figures)


def rooms_of(connection: HTTPConnection) -> Rooms:
    """Return the rooms of the shop that serves a request or a WebSocket."""
    rooms: Rooms = connection.scope["state"]["rooms"]
    return rooms


def root_of(connection: HTTPConnection) -> str:
    """Return the path under which the application is served, without a slash at its end."""
    return str(connection.scope.get("root_path", "")).rstrip("/")
