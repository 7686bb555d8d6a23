"""The `Jalebi` class: settings and kinds of one shop, and the ASGI application that serves them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

from jalebi.background import log
from jalebi.errors import UsageError
from jalebi.kinds import Isolation, OnStall, Shop
from jalebi.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from jalebi.files import Files
    from jalebi.jobs import Job
    from jalebi.runner.worker import Worker
    from jalebi.store import Store
    from jalebi.web.rooms import Rooms

F = TypeVar("F", bound=Callable[..., Any])
#: Seconds between two writings of what the charts show.
TREND_EVERY = 10.0
#: Seconds between two looks for kinds that run and whose earlier durations are not known yet.
FILL_EVERY = 1.0
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Lifespan = Callable[["Jalebi"], AbstractAsyncContextManager[Any]]


class Jalebi(Shop):
    """A shop: register kinds with `@shop.job`, submit with `shop.submit`, serve it as an ASGI application.

    Keyword arguments override the settings from JALEBI_* variables (see `jalebi.settings.Settings`). `lifespan`, an
    async context manager function, is entered when the server starts and left when it stops. Two instances in one
    process share nothing.
    """

    def __init__(self, *, lifespan: Lifespan | None = None, **settings: Any) -> None:
        super().__init__()
        self.target: str | None = None  # what child processes import; the command line sets it
        self._overrides = settings
        self._user_lifespan = lifespan
        self._rooms: Rooms | None = None
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        if settings:
            Settings(**settings)  # a wrong name is told here, not at the first request

    @cached_property
    def settings(self) -> Settings:
        """The settings in force."""
        return Settings(**self._overrides)

    def configure(self, **settings: Any) -> None:
        """Override settings before the shop is opened."""
        self._overrides |= settings
        self.__dict__.pop("settings", None)

    @overload
    def job(self, function: F, /) -> F: ...
    @overload
    def job(
        self,
        *,
        name: str | None = None,
        queue: str = "default",
        priority: int = 0,
        timeout: float = 900.0,
        max_attempts: int = 3,
        backoff: float | Callable[[int], float] = 2.0,
        isolation: Isolation | None = None,
        max_running: int | None = None,
        rate_limit: str | None = None,
        capture: bool = False,
        on_stall: OnStall = "mark",
    ) -> Callable[[F], F]: ...
    def job(self, function: Any = None, **options: Any) -> Any:
        """Make a function a kind of job, bare or with options; the function itself stays as it is.

        Raises KindError where the name is taken or an option is wrong.
        """

        def register(wrapped: F) -> F:
            self.kinds.register(wrapped, options)
            return wrapped

        return register if function is None else register(function)

    async def submit(
        self, kind: Callable[..., Any] | str, args: dict[str, Any] | None = None, /, **kwargs: Any
    ) -> "Job":
        """Store a job of a kind (the function, or its name) with its args; it is on disk when this returns.

        Raises ValidationFailed, UnknownKind, QueueFull, Draining, StorageUnavailable.
        """
        from jalebi.queue import Order

        rooms = await self.open()
        return await rooms.queue.submit(Order(kind=self.kinds.of(kind).name, args={**(args or {}), **kwargs}))

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Open the shop and close it; give this to an application that mounts the shop, as part of its lifespan."""
        await self.open()
        try:
            yield
        finally:
            await self.close()

    async def open(self) -> "Rooms":
        """Open the rooms in order, once; a mounted shop that nobody opened opens at its first use.

        Raises StorageError, and UsageError where the shop is open in another event loop.
        """
        if self._loop is not asyncio.get_running_loop():
            self._change_loop(asyncio.get_running_loop())
        if self._rooms is not None:
            return self._rooms
        async with self._opening:
            return self._rooms or await self._open_all()

    def _change_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._rooms is not None and self._loop is not None:
            if not self._loop.is_closed():
                raise UsageError("The shop is open in another event loop; use it from there only.")
            log.warning("The event loop ended before the shop was closed; `async with shop.lifespan()` closes it")
            if self._worker is not None:
                self._worker.abandon()
            self._rooms.files.close()
            self._rooms.store.abandon()
            self._rooms = self._worker = self._stack = None
        self._loop, self._opening = loop, asyncio.Lock()

    async def _open_all(self) -> "Rooms":
        try:
            async with AsyncExitStack() as stack:
                rooms = await self._open(stack)
                self._stack = stack.pop_all()
        except BaseException:
            self._rooms = self._worker = None
            raise
        return rooms

    async def _open(self, stack: AsyncExitStack) -> "Rooms":
        # Imported here and not above: child processes import this module for their kinds only.
        from jalebi.background import every
        from jalebi.batches import Batches
        from jalebi.bulk import Bulk
        from jalebi.feed import Feed
        from jalebi.hub import Hub
        from jalebi.queue import Queue
        from jalebi.retention import EVERY as RETENTION_EVERY
        from jalebi.retention import Retention
        from jalebi.runner.rescue import rescuing
        from jalebi.runner.worker import Worker
        from jalebi.shares import Shares
        from jalebi.web.frames import Frames
        from jalebi.web.rooms import Rooms
        from jalebi.webhooks.connecting import Resolver
        from jalebi.webhooks.deliveries import Deliveries
        from jalebi.webhooks.desk import Desk

        settings = self.settings
        store, files = await self._open_storage(stack)
        hub = Hub(settings.max_backlog, settings.max_backlog_bytes)
        stack.callback(hub.close)
        queue = Queue(store, hub, self.kinds, settings, files)
        feed = await stack.enter_async_context(Feed(store, hub))
        await stack.enter_async_context(queue.forecast)
        await stack.enter_async_context(every(FILL_EVERY, queue.forecast.fill, "reading durations"))
        await stack.enter_async_context(every(3600.0, lambda: files.sweep(store.existing), "sweeping uploads"))
        await stack.enter_async_context(rescuing(queue))
        await stack.enter_async_context(every(RETENTION_EVERY, Retention(queue).sweep, "purging old jobs"))
        stack.push_async_callback(store.record_trends, everything=True)
        await stack.enter_async_context(every(TREND_EVERY, store.record_trends, "writing trends"))
        resolver = Resolver()
        stack.callback(resolver.close)
        await stack.enter_async_context(Deliveries(store, settings, resolver))
        frames = Frames(store.epoch)
        # Before the shop's own lifespan, which may submit jobs; they run once it is entered.
        self._rooms = rooms = Rooms(
            settings, store, hub, queue, files, self.kinds, frames, Bulk(queue), Batches(queue),
            Desk(store, settings, resolver), Shares(store), feed, opened_at=store.clock(),
        )  # fmt: skip
        if self._user_lifespan is not None:
            await stack.enter_async_context(self._user_lifespan(self))
        if settings.workers:
            rooms.worker = self._worker = await stack.enter_async_context(Worker(queue, self.target).running())
        return rooms

    async def _open_storage(self, stack: AsyncExitStack) -> "tuple[Store, Files]":
        from jalebi.files import Files, folder_for
        from jalebi.store import Store

        settings = self.settings
        store = Store(settings.database_url, reserve=settings.reserve)
        store.keep = settings.retention_age
        store.root = (settings.public_url or "").rstrip("/")
        await stack.enter_async_context(store)
        files = Files(folder_for(store.path, settings.files_url))
        files.trouble = lambda: store.trouble
        files.open()
        stack.callback(files.close)
        return store, files

    async def drain(self) -> None:
        """Take no new jobs, tell subscribers, and let running jobs end within the grace time."""
        rooms = self._rooms
        if rooms is None or rooms.queue.draining:
            return
        rooms.queue.draining = True
        rooms.hub.close()
        if self._worker is not None:
            await self._worker.drain(rooms.settings.grace)

    async def close(self) -> None:
        """Drain and close the rooms in reverse. Closing twice, or before opening, is safe."""
        stack, self._stack = self._stack, None
        if stack is None:
            return
        try:
            await self.drain()
        finally:
            try:
                await stack.aclose()
            finally:  # not sooner: whoever comes meanwhile is told of the drain, and opens no second store
                self._rooms = self._worker = None

    @cached_property
    def _application(self) -> "ASGIApp":
        from jalebi.web import application
        from jalebi.web.door import Door

        return Door(application(self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "lifespan":
            scope.setdefault("state", {})["rooms"] = await self.open()
        await self._application(scope, receive, send)
