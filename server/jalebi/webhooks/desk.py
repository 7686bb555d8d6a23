"""Takes webhooks in: whether they can be honoured, the endpoints with secrets of their own, and what was delivered."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from jalebi.errors import ValidationFailed
from jalebi.ids import new_id
from jalebi.settings import Settings
from jalebi.store import Store, deliveries
from jalebi.store.deliveries import Delivery, Endpoint
from jalebi.webhooks.addresses import Place, Refused, may_reach, networks, place
from jalebi.webhooks.connecting import Resolve, checked
from jalebi.webhooks.secrets import Secrets, new_secret

#: Seconds for which a submission waits to hear where a name leads; what is not known by then is seen at the delivery.
PATIENCE: Final = 2.0
#: Hosts that are looked up for one submission.
MOST_HOSTS: Final = 20


class Desk:
    """What callers and pages may ask of webhooks."""

    def __init__(self, store: Store, settings: Settings, resolve: Resolve) -> None:
        self._store = store
        self._secrets = Secrets(store, settings)
        self._allowed = networks(settings.webhook_allow)
        self._resolve = resolve

    async def check(self, urls: Mapping[str, str]) -> None:
        """Look at the URLs of webhooks, by their places in a request: what can't be honoured is not taken.

        Raises ValidationFailed for a URL that can't be, that leads where webhooks must not go or certainly nowhere, or
        for which there is no secret.
        """
        if not urls:
            return
        faults: dict[str, tuple[str, str]] = {}  # by URL: the member, and what is wrong with it
        places: dict[str, Place] = {}
        for url in dict.fromkeys(urls.values()):
            try:
                places[url] = self._place(url)
            except Refused as refused:
                faults[url] = "/url", str(refused)
                continue
            if not await self._secrets.of(url):
                detail = "There is no secret to sign it with: set JALEBI_WEBHOOK_SECRET, or POST /v1/webhooks."
                faults[url] = "", detail
        faults |= {url: ("/url", why) for url, why in (await self._looked_up(places)).items() if url not in faults}
        if faults:
            found = [(pointer, *faults[url]) for pointer, url in urls.items() if url in faults]
            raise ValidationFailed([{"pointer": at + member, "detail": why} for at, member, why in found])

    def _place(self, url: str) -> Place:
        found = place(url)
        if found.address is not None and not may_reach(found.address, self._allowed):
            raise Refused("The URL leads to an address that webhooks may not reach (JALEBI_WEBHOOK_ALLOW).")
        return found

    async def _looked_up(self, places: Mapping[str, Place]) -> dict[str, str]:
        """Return what is wrong with the hosts of URLs, as far as that is known in time."""
        named = {url: one for url, one in places.items() if one.address is None}
        hosts = list(dict.fromkeys((one.host, one.port) for one in named.values()))[:MOST_HOSTS]
        answers = dict(zip(hosts, await asyncio.gather(*(self._wrong(*one) for one in hosts)), strict=True))
        return {url: why for url, one in named.items() if (why := answers.get((one.host, one.port))) is not None}

    async def _wrong(self, host: str, port: int) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE):
                await checked(host, port, self._allowed, self._resolve)
        except Refused as refused:
            return str(refused)
        except (TimeoutError, OSError):
            return None  # nobody knows now
        return None

    async def endpoints(self) -> list[Endpoint]:
        """Return the endpoints with secrets of their own."""
        return await self._store.read(deliveries.endpoints)

    async def add(self, url: str, secret: str | None) -> Endpoint:
        """Keep a secret for all URLs that begin with one; a new one where none is given. Raises ValidationFailed."""
        try:
            self._place(url)
        except Refused as refused:
            raise ValidationFailed([{"pointer": "/url", "detail": str(refused)}]) from None
        now = self._store.clock()
        endpoint = Endpoint(new_id(now), url, secret or new_secret(), None, None, now)
        await self._store.add_endpoint(endpoint)
        return endpoint

    async def rotate(self, endpoint_id: str, overlap: float) -> Endpoint:
        """Give an endpoint a new secret; the old one signs too for `overlap` seconds. Raises NotFound."""
        return await self._store.rotate_endpoint(endpoint_id, new_secret(), overlap)

    async def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint. Raises NotFound."""
        await self._store.remove_endpoint(endpoint_id)

    async def history(self, about: str) -> list[Delivery]:
        """Return the messages about a job or a batch, with all their tries."""
        return await self._store.read(partial(deliveries.of, about=about))

    async def redeliver(self, about: str, delivery_id: str) -> None:
        """Hand a message about a job or a batch in again; it is sent at once. Raises NotFound."""
        await self._store.redeliver(about, delivery_id)
