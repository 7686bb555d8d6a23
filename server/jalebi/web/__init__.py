"""The route table: everything the server answers, in one list."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from jalebi.assets import STATIC
from jalebi.errors import Problem
from jalebi.web import api, channels, files, openapi, probes
from jalebi.web.answers import on_problem
from jalebi.web.guard import Guard

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from typing import Protocol

    class Opened(Protocol):
        """What opens and closes the rooms."""

        def lifespan(self, _app: object = None) -> AbstractAsyncContextManager[None]:
            """Open the rooms and close them."""


ROUTES: list[BaseRoute] = [
    Route("/v1/jobs", api.jobs, methods=["GET"]),
    Route("/v1/jobs", api.submit, methods=["POST"]),
    Route("/v1/jobs/{id}", api.job, methods=["GET"]),
    Route("/v1/jobs/{id}", api.delete, methods=["DELETE"]),
    Route("/v1/jobs/{id}/status", api.status, methods=["GET"]),
    Route("/v1/jobs/{id}/status", api.cancel, methods=["DELETE"]),
    Route("/v1/jobs/{id}/result", api.result, methods=["GET"]),
    Route("/v1/jobs/{id}/cancel", api.cancel, methods=["POST"]),
    Route("/v1/jobs/{id}/retry", api.retry, methods=["POST"]),
    Route("/v1/jobs/{id}/logs", files.logs, methods=["GET"]),
    Route("/v1/jobs/{id}/files", files.files, methods=["GET"]),
    Route("/v1/jobs/{id}/files/{name}", files.file, methods=["GET"]),
    Route("/v1/uploads", files.upload, methods=["POST"]),
    Route("/v1/kinds", api.kinds, methods=["GET"]),
    Route("/v1/kinds/{name}", api.kind, methods=["GET"]),
    Route("/v1/stats", probes.stats, methods=["GET"]),
    Route("/livez", probes.livez, methods=["GET"]),
    Route("/readyz", probes.readyz, methods=["GET"]),
    Route("/openapi.json", openapi.document, methods=["GET"]),
    WebSocketRoute("/ws/jobs/{id}", channels.job),
    WebSocketRoute("/ws/events", channels.events),
    Mount("/static", StaticFiles(directory=STATIC), name="static"),
]


def application(shop: "Opened") -> Starlette:
    """Return the ASGI application that serves a shop."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with shop.lifespan():
            yield

    handlers: dict[Any, Any] = {HTTPException: on_problem, Problem: on_problem, Exception: on_problem}
    return Starlette(routes=ROUTES, middleware=[Middleware(Guard)], exception_handlers=handlers, lifespan=lifespan)
