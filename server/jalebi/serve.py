"""Runs one shop in uvicorn: binds, drains on SIGTERM or SIGINT, and leaves with exit code 0."""

import asyncio
import gc
import ipaddress
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from jalebi.app import Jalebi
from jalebi.background import spawn
from jalebi.errors import UsageError
from jalebi.settings import Settings

log = logging.getLogger("jalebi")
#: Seconds for which the server waits for threads that jobs have left behind.
LINGER: Final = 0.5
#: Seconds between two looks at what is due where nobody asks the server to end.
TICK: Final = 1.0


class Socket(WebSocketsSansIOProtocol):
    """A WebSocket connection that the application may abort, and write to directly (it is a `fanout.Outlet`).

    None of what it overrides is a documented interface of uvicorn; where it is missing, the application sends by ASGI.
    """

    full = False

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.left: Callable[[], object] = lambda: None

    async def run_asgi(self) -> None:
        """Serve the connection."""
        from jalebi.web.channels import ABORT, OUTLET  # not above: a command that serves nothing needs no web

        offered = {ABORT: self.transport.abort} if self.conn.extensions else {ABORT: self.transport.abort, OUTLET: self}
        extensions: dict[str, Any] = {**(self.scope["extensions"] or {}), **offered}
        self.scope["extensions"] = extensions
        await super().run_asgi()

    @property
    def ready(self) -> bool:
        """Whether it is open and not full."""
        return not (self.full or self.close_sent or self.conn.state is not OPEN or self.transport.is_closing())

    def write(self, data: bytes) -> None:
        """Send framed messages; safe between those of ASGI, each of which is written whole."""
        self.transport.write(data)

    def pause_writing(self) -> None:
        """Take no more until what was written has left."""
        super().pause_writing()
        self.full = True
        self.left()

    def resume_writing(self) -> None:
        """Take more."""
        super().resume_writing()
        self.full = False

    def handle_close(self, event: Any) -> None:
        """Write nothing after a close frame."""
        self.left()
        super().handle_close(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Write nothing into what is gone."""
        self.left()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Write nothing after the close frame of a server that stops."""
        self.left()
        super().shutdown()

    def keepalive_timeout(self) -> None:
        """Drop a reader that answers no ping: to close would wait for what it does not read."""
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


class Http(HttpToolsProtocol):
    """An HTTP connection that the application may abort: an endless answer waits for what is not read."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        from jalebi.web.channels import ABORT

        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        self.scope["extensions"] = extensions


class Server(uvicorn.Server):
    """A uvicorn server that drains the shop first: uvicorn's own shutdown ends requests, then runs the lifespan."""

    def __init__(self, config: uvicorn.Config, shop: Jalebi) -> None:
        super().__init__(config)
        self._shop = shop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = 0
        self._ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if not self.should_exit and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(f"Jalebi's dashboard is at http://{shown}:{port}/ (Ctrl-C stops it)", flush=True)

    async def main_loop(self) -> None:
        """Do once a second what uvicorn does, ten times less often than it looks: a server at rest is to rest."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TICK)

    def _end(self) -> None:
        self.should_exit = True
        self._ending.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, stop at once at the second.

        uvicorn would raise the signal again after its shutdown; a drained server has nothing to complain of.
        """
        self._signals += 1
        if self._signals == 1 and self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_drain)
        else:
            self.should_exit = self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end)

    def _begin_drain(self) -> None:
        spawn(self._drain(), "draining")

    async def _drain(self) -> None:
        log.info("Stopping: running jobs get %g s", self._shop.settings.grace)
        draining = spawn(self._shop.drain(), "draining the shop")
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=0.05)
        self._end()


def serve(shop: Jalebi) -> None:
    """Serve a shop until a signal. Raises UsageError or StorageError with one sentence where it can't start."""
    settings = shop.settings
    listening = bind(settings)
    config = uvicorn.Config(
        shop,
        log_level="warning",
        access_log=False,
        lifespan="on",
        http=Http,
        ws=Socket,
        ws_max_size=64 * 1024,
        ws_per_message_deflate=False,  # it halves the fan-out and doubles the memory of a connection
        timeout_graceful_shutdown=2,  # uvicorn's own default waits for ever while a socket is open
        server_header=False,
        proxy_headers=False,
    )
    runner = asyncio.Runner(loop_factory=_loop_factory())
    threads = ThreadPoolExecutor(thread_name_prefix="asyncio")
    try:
        with runner:
            runner.get_loop().set_default_executor(threads)
            runner.run(_run(Server(config, shop), shop, listening))
            _leave(threads)
    finally:
        listening.close()


async def _run(server: Server, shop: Jalebi, listening: socket.socket) -> None:
    # Opened here and not by the lifespan, whose errors uvicorn turns into tracebacks.
    await shop.open()
    # What is here now stays: the collector need not look through it again, nor look as often as in a small program.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        await server.serve(sockets=[listening])
    finally:
        await shop.close()


def _leave(threads: ThreadPoolExecutor) -> None:
    """End the process here where a job has left a thread behind: the loop and the interpreter would wait for it."""
    threads.shutdown(wait=False, cancel_futures=True)
    until = time.monotonic() + LINGER
    ours = {threading.current_thread(), threading.main_thread()}
    others = [thread for thread in threading.enumerate() if not thread.daemon and thread not in ours]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        log.warning("A job has left a thread running; the server does not wait for it")
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)  # all is stored and closed


def bind(settings: Settings) -> socket.socket:
    """Return the listening socket. Raises UsageError where the address is taken, wrong, or open without a token."""
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise UsageError(f"The host {host} is not an address: {error.strerror}.") from None
    if settings.token is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise UsageError(f"Jalebi listens on {host} only with a token; set JALEBI_TOKEN.")
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno in {98, 48, 10048}:
            raise UsageError(f"The port {port} on {host} is taken; choose another with --port.") from None
        raise UsageError(f"Jalebi can't listen on {host}:{port}: {error.strerror}.") from None
    listening.setblocking(False)
    return listening


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
