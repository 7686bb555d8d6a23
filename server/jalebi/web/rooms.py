"""What a request may reach of the server: the rooms below the web."""

from dataclasses import dataclass, field
from typing import Protocol

from starlette.requests import HTTPConnection

from jalebi.batches import Batches
from jalebi.bulk import Bulk
from jalebi.feed import Feed
from jalebi.files import Files
from jalebi.hub import Hub
from jalebi.kinds import Kinds
from jalebi.queue import Queue
from jalebi.settings import Settings
from jalebi.shares import Shares
from jalebi.store import Store
from jalebi.web.figures import Figures
from jalebi.web.frames import Frames
from jalebi.web.traffic import Sizes, Traffic
from jalebi.webhooks.desk import Desk


class Crew(Protocol):
    """What the pages show of this server's worker, and what they do with it."""

    id: str
    concurrency: int
    started_at: float

    @property
    def busy(self) -> int:
        """How many attempts it runs."""

    @property
    def draining(self) -> bool:
        """Whether it starts nothing more."""

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that it runs."""

    def children(self) -> list[tuple[int, int | None, str | None]]:
        """Return its child processes: pid, resident bytes where they are known, and the id of the job in it."""

    async def pause(self) -> None:
        """Start nothing more."""

    def resume(self) -> None:
        """Go on starting jobs."""


@dataclass(slots=True)
class Rooms:
    """One opened shop."""

    settings: Settings
    store: Store
    hub: Hub
    queue: Queue
    files: Files
    kinds: Kinds
    frames: Frames
    bulk: Bulk
    batches: Batches
    webhooks: Desk
    shares: Shares
    feed: Feed
    opened_at: float  # Unix seconds
    worker: Crew | None = None
    traffic: Traffic = field(default_factory=Traffic)
    sizes: Sizes = field(default_factory=Sizes)
    figures: Figures = field(default_factory=Figures)


def rooms_of(connection: HTTPConnection) -> Rooms:
    """Return the rooms of the shop that serves a request or a WebSocket."""
    rooms: Rooms = connection.scope["state"]["rooms"]
    return rooms


def root_of(connection: HTTPConnection) -> str:
    """Return the path under which the application is served, without a slash at its end."""
    return str(connection.scope.get("root_path", "")).rstrip("/")
