"""Connects to where a webhook goes: resolves once, looks at every address, and connects to one that was looked at."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import httpcore2

from jalebi.webhooks.addresses import Network, Refused, may_reach

#: Turns a host and a port into addresses.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
#: Names that are looked up at once.
THREADS: Final = 8
_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Unknown(Refused):
    """There is no such host."""


class Resolver:
    """Finds addresses as the system does, in threads of its own: a resolver that does not answer is in nobody's way."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jalebi-names")

    def close(self) -> None:
        """Stop; nobody waits for what is still being asked."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host. Raises Unknown where there is none, or OSError where that can't be said."""
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                raise Unknown(f"There is no host {host}.") from None
            raise
        except UnicodeError:
            raise Unknown(f"There is no host {host}.") from None
        return list(dict.fromkeys(str(one[4][0]) for one in found))


async def checked(host: str, port: int, allowed: Sequence[Network], resolve: Resolve) -> Sequence[str]:
    """Return the addresses of a host. Raises Refused where one of them may not be reached, Unknown, OSError."""
    found = await resolve(host, port)
    for address in found:
        if not may_reach(address, allowed):
            raise Refused(f"The host {host} is at an address that webhooks may not reach (JALEBI_WEBHOOK_ALLOW).")
    if not found:
        raise Unknown(f"There is no host {host}.")
    return found


class Guarded(httpcore2.AsyncNetworkBackend):
    """Opens connections for an HTTP client; what the name leads to later, or elsewhere, makes no difference."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._plain: Any = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers."""
        addresses = await checked(host, port, self._allowed, self._resolve)
        for address in addresses[:-1]:
            try:
                return await self._connect(address, port, timeout)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._connect(addresses[-1], port, timeout)

    async def _connect(self, address: str, port: int, timeout: float | None) -> httpcore2.AsyncNetworkStream:
        stream: httpcore2.AsyncNetworkStream = await self._plain.connect_tcp(address, port, timeout)
        return stream

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: a webhook goes over the network."""
        raise Refused("Webhooks go over the network.")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
