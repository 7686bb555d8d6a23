"""The room that delivers: it wakes when messages are due, keeps within each host's room, and writes down every try."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import httpcore2

from jalebi.background import cancel, log, spawn
from jalebi.errors import StorageUnavailable
from jalebi.settings import Settings
from jalebi.store import Store, deliveries
from jalebi.store.deliveries import Delivery
from jalebi.webhooks.addresses import networks
from jalebi.webhooks.connecting import Guarded, Resolve
from jalebi.webhooks.hosts import Hosts, wait
from jalebi.webhooks.secrets import Secrets
from jalebi.webhooks.sending import DEADLINE, Try, send, signed

#: Messages that are under way at once, to all hosts and to one.
MOST: Final = 50
MOST_TO_ONE: Final = 4
#: Seconds after which the room looks again, whatever it was told, and after a storage that gave no answer.
LOOK_AGAIN: Final = 30.0
TROUBLE: Final = 2.0


class Deliveries:
    """Delivers the messages of one installation while its context is open.

    A message is pending in the store until it was taken or given up, so whatever ends the process, the next one goes
    on; it may then come twice, with the same `webhook-id`.
    """

    def __init__(self, store: Store, settings: Settings, resolve: Resolve, *, deadline: float = DEADLINE) -> None:
        self._store = store
        self._secrets = Secrets(store, settings)
        self._deadline = deadline
        self._hosts = Hosts()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._steady: Callable[[], float] = time.monotonic
        self._client = httpcore2.AsyncConnectionPool(
            max_connections=MOST,
            max_keepalive_connections=0,  # each connection is to an address that was looked at for it
            network_backend=Guarded(networks(settings.webhook_allow), resolve),
        )

    async def __aenter__(self) -> "Deliveries":
        """Begin."""
        loop = asyncio.get_running_loop()
        self._store.posted = partial(_call, loop, self._wake.set)
        self._task = spawn(self._run(), "delivering webhooks")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; what is under way is tried again by the next process."""
        self._store.posted = lambda: None
        await cancel(self._task)
        for task in list(self._under_way.values()):
            await cancel(task)
        await self._client.aclose()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                seconds = await self._begin_what_is_due()
            except StorageUnavailable:  # the store has said so
                seconds = TROUBLE
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    async def _begin_what_is_due(self) -> float:
        """Begin the tries for which there is room; return the seconds after which there may be more."""
        now, steady = self._store.clock(), self._steady()
        until = LOOK_AGAIN
        pending = await self._store.read(deliveries.hosts)
        if len(pending) < deliveries.MOST_HOSTS:  # else they are some of them only
            self._hosts.forget(steady, {name for name, _ in pending})
        for name, first in pending:
            host = self._hosts[name]
            if first > now or host.until > steady:
                until = min(until, max(first - now, host.until - steady))
                continue
            # What there is no room for begins when something has ended, which wakes.
            room = min(host.room(steady, MOST_TO_ONE), MOST - len(self._under_way))
            query = partial(deliveries.due, host=name, now=now, most=room, without=list(self._under_way))
            for delivery in await self._store.read(query) if room > 0 else ():
                host.busy += 1
                self._under_way[delivery.id] = spawn(self._deliver(name, delivery), f"delivering {delivery.id}")
        return until

    async def _deliver(self, name: str, delivery: Delivery) -> None:
        try:
            secrets = await self._secrets.of(delivery.url)
            headers = signed(delivery.id, delivery.body, secrets, self._store.clock()) if secrets else {}
            tried = (
                await send(self._client, delivery.url, headers, delivery.body, self._deadline)
                if secrets
                else Try(0.0, error="There is no secret to sign it with.")
            )
            self._hosts[name].note(self._steady(), answered=tried.status is not None and tried.status < 500)
            await self._note(delivery, tried)
        except StorageUnavailable:  # it may come twice: nobody knows that it was delivered
            await asyncio.sleep(TROUBLE)
        finally:
            self._hosts[name].busy -= 1
            self._under_way.pop(delivery.id, None)
            self._wake.set()

    async def _note(self, delivery: Delivery, tried: Try) -> None:
        seconds = None if tried.delivered or tried.gone else wait(delivery.tries + 1, tried.retry_after)
        state = "delivered" if tried.delivered else "abandoned" if seconds is None else "pending"
        became = await self._store.record_try(
            delivery, seconds=tried.seconds, status=tried.status, error=tried.error, answer=tried.answer,
            state=state, next_at=self._store.clock() + (seconds or 0.0),
        )  # fmt: skip
        if became and state == "abandoned":
            why = tried.error or f"it was answered with {tried.status}"
            where = urlsplit(delivery.url).hostname
            left = delivery.tries + 1
            log.warning("The webhook %s to %s is given up after %d tries: %s", delivery.id, where, left, why)


def _call(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(what)
