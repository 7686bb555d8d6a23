"""What messages are signed with: the secret of the endpoint that a URL belongs to, else those of the settings."""

import base64
import os
from urllib.parse import urlsplit

from jalebi.settings import SECRET_PREFIX, Settings
from jalebi.store import Store, deliveries
from jalebi.store.deliveries import Endpoint


def new_secret() -> str:
    """Return a secret of 256 bits, as Standard Webhooks writes it."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(32)).decode()


def belongs(url: str, to: str) -> bool:
    """Whether a URL is that of an endpoint, or lies below it: the same origin, and the path up to a boundary."""
    mine, its = urlsplit(url), urlsplit(to)
    if (mine.scheme, mine.hostname, mine.port) != (its.scheme, its.hostname, its.port):
        return False
    base = its.path.rstrip("/")
    return mine.path == its.path or mine.path.rstrip("/") == base or mine.path.startswith(f"{base}/")


class Secrets:
    """Finds what signs a message."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._usual = settings.webhook_secret

    async def of(self, url: str) -> list[str]:
        """Return the secrets that sign a message to a URL, the newest first; none where there is none."""
        found = await self._store.read(deliveries.endpoints)
        mine = max((one for one in found if belongs(url, one.url)), key=lambda one: len(one.url), default=None)
        return list(self._usual) if mine is None else _of(mine, self._store.clock())


def _of(endpoint: Endpoint, now: float) -> list[str]:
    previous = endpoint.previous
    rotated = previous is not None and endpoint.previous_until is not None and now < endpoint.previous_until
    return [endpoint.secret, *([previous] if rotated and previous is not None else [])]
