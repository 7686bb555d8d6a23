"""Share links: who has one may watch one job until a time, and nothing else. The link is the right; nothing is kept."""

import base64
import hashlib
import hmac
import re
from typing import Final
from uuid import UUID

from jalebi.errors import Forbidden
from jalebi.store import Store

#: Seconds for which a link holds: usually, and within what bounds.
USUAL: Final = 7 * 86400.0
LEAST: Final = 60.0
MOST: Final = 90 * 86400.0
_ABOUT: Final = b"jalebi share 1\n"
_MAC: Final = 16
#: 16 bytes of the job's id, 7 of the time in milliseconds, 16 of the signature: no bit is left over to be changed.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{52}")


class Shares:
    """Makes links and reads them, with a key of the installation's own (HMAC-SHA256, RFC 2104, cut to 128 bits)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key: bytes | None = None

    async def token(self, job_id: str, expires_at: float) -> str:
        """Return what gives a look at one job until then (Unix seconds)."""
        about = UUID(job_id).bytes + int(expires_at * 1000).to_bytes(7, "big")
        return base64.urlsafe_b64encode(about + await self._signature(about)).decode()

    async def read(self, token: str) -> tuple[str, float]:
        """Return the job's id, and until when a token holds (Unix seconds). Raises Forbidden."""
        if not _TOKEN.fullmatch(token):
            raise Forbidden("The link is not one of ours; it may have been cut off.")
        content = base64.urlsafe_b64decode(token)
        about, signature = content[:-_MAC], content[-_MAC:]
        if not hmac.compare_digest(signature, await self._signature(about)):
            raise Forbidden("The link is not one of ours; it may have been cut off.")
        expires_at = int.from_bytes(about[16:], "big") / 1000
        if expires_at <= self._store.clock():
            raise Forbidden("The link has expired; ask whoever gave it to you for a new one.")
        return str(UUID(bytes=about[:16])), expires_at

    async def _signature(self, about: bytes) -> bytes:
        if self._key is None:
            self._key = await self._store.own_key("share_key")
        return hmac.new(self._key, _ABOUT + about, hashlib.sha256).digest()[:_MAC]
