"""The route table: everything the server answers, in one list."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from jalebi.assets import STATIC
from jalebi.errors import NotFound, Problem
from jalebi.web import (
    actions,
    api,
    badge,
    batch_api,
    bulk_api,
    bulk_pages,
    channels,
    charts,
    error_pages,
    files,
    help_page,
    history,
    job_page,
    kind_pages,
    live,
    log_page,
    openapi,
    overview,
    pages,
    probes,
    queue_api,
    queue_pages,
    schedule_pages,
    share,
    submitting,
    system_page,
    watching,
    webhook_api,
    worker_pages,
)
from jalebi.web.guard import Guard
from jalebi.web.pages import on_problem
from jalebi.web.templating import Static

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
    Route("/v1/jobs/bulk", bulk_api.bulk, methods=["POST"]),
    Route("/v1/jobs/batch", batch_api.submit, methods=["POST"]),
    Route("/v1/jobs/{id}", api.job, methods=["GET"]),
    Route("/v1/jobs/{id}", api.delete, methods=["DELETE"]),
    Route("/v1/jobs/{id}/status", api.status, methods=["GET"]),
    Route("/v1/jobs/{id}/status", api.cancel, methods=["DELETE"]),
    Route("/v1/jobs/{id}/result", api.result, methods=["GET"]),
    Route("/v1/jobs/{id}/cancel", api.cancel, methods=["POST"]),
    Route("/v1/jobs/{id}/retry", api.retry, methods=["POST"]),
    Route("/v1/jobs/{id}/events", history.events, methods=["GET"]),
    Route("/v1/jobs/{id}/watch", watching.watch, methods=["GET"]),
    Route("/v1/jobs/{id}/badge.svg", badge.badge, methods=["GET"]),
    Route("/v1/jobs/{id}/share", share.share, methods=["POST"]),
    Route("/v1/jobs/{id}/webhooks", webhook_api.of_job, methods=["GET"]),
    Route("/v1/jobs/{id}/webhooks/{delivery}/redeliver", webhook_api.redeliver, methods=["POST"]),
    Route("/v1/jobs/{id}/logs", files.logs, methods=["GET"]),
    Route("/v1/jobs/{id}/files", files.files, methods=["GET"]),
    Route("/v1/jobs/{id}/files/{name}", files.file, methods=["GET"]),
    Route("/v1/batches/{id}", batch_api.batch, methods=["GET"]),
    Route("/v1/batches/{id}/events", batch_api.events, methods=["GET"]),
    Route("/v1/batches/{id}/results", batch_api.results, methods=["GET"]),
    Route("/v1/batches/{id}/cancel", batch_api.cancel, methods=["POST"]),
    Route("/v1/batches/{id}/webhooks", webhook_api.of_batch, methods=["GET"]),
    Route("/v1/batches/{id}/webhooks/{delivery}/redeliver", webhook_api.redeliver, methods=["POST"]),
    Route("/v1/webhooks", webhook_api.endpoints, methods=["GET"]),
    Route("/v1/webhooks", webhook_api.add, methods=["POST"]),
    Route("/v1/webhooks/{id}", webhook_api.remove, methods=["DELETE"]),
    Route("/v1/webhooks/{id}/rotate", webhook_api.rotate, methods=["POST"]),
    Route("/v1/events", history.all_events, methods=["GET"]),
    Route("/v1/uploads", files.upload, methods=["POST"]),
    Route("/v1/kinds", api.kinds, methods=["GET"]),
    Route("/v1/kinds/{name}", api.kind, methods=["GET"]),
    Route("/v1/queues", queue_api.queues, methods=["GET"]),
    Route("/v1/queues/{name}/pause", queue_api.pause, methods=["POST"]),
    Route("/v1/queues/{name}/resume", queue_api.resume, methods=["POST"]),
    Route("/v1/stats", probes.stats, methods=["GET"]),
    Route("/livez", probes.livez, methods=["GET"]),
    Route("/readyz", probes.readyz, methods=["GET"]),
    Route("/openapi.json", openapi.document, methods=["GET"]),
    WebSocketRoute("/ws/jobs/{id}", channels.job),
    WebSocketRoute("/ws/events", channels.events),
    Mount("/static", Static(directory=STATIC), name="static"),
    Route("/", overview.overview, methods=["GET"]),
    Route("/charts", charts.data, methods=["GET"]),
    Route("/jobs", pages.jobs, methods=["GET"]),
    Route("/jobs/bulk", bulk_pages.confirm, methods=["GET"]),
    Route("/jobs/bulk", bulk_pages.act, methods=["POST"]),
    Route("/jobs/{id}", job_page.job, methods=["GET"]),
    Route("/jobs/{id}/log", log_page.log, methods=["GET"]),
    Route("/jobs/{id}/cancel", actions.cancel, methods=["POST"]),
    Route("/jobs/{id}/retry", actions.retry, methods=["POST"]),
    Route("/jobs/{id}/share", share.shared, methods=["POST"]),
    Route("/jobs/{id}/webhooks/{delivery}/redeliver", actions.redeliver, methods=["POST"]),
    Route("/jobs/{id}/delete", job_page.confirm_delete, methods=["GET"]),
    Route("/jobs/{id}/delete", actions.delete, methods=["POST"]),
    Route("/kinds", kind_pages.kinds, methods=["GET"]),
    Route("/kinds/{name}", kind_pages.kind, methods=["GET"]),
    Route("/kinds/{name}", submitting.submit, methods=["POST"]),
    Route("/queues", queue_pages.queues, methods=["GET"]),
    Route("/queues/{name:path}/pause", queue_pages.pause, methods=["POST"]),
    Route("/queues/{name:path}/resume", queue_pages.resume, methods=["POST"]),
    Route("/queues/{name:path}/limit", queue_pages.limit, methods=["POST"]),
    Route("/queues/{name:path}", queue_pages.queue, methods=["GET"]),
    Route("/workers", worker_pages.workers, methods=["GET"]),
    Route("/workers/{id}/drain", worker_pages.confirm_drain, methods=["GET"]),
    Route("/workers/{id}/drain", worker_pages.drain, methods=["POST"]),
    Route("/workers/{id}/resume", worker_pages.resume, methods=["POST"]),
    Route("/schedules", schedule_pages.schedules, methods=["GET"]),
    Route("/errors", error_pages.errors, methods=["GET"]),
    Route("/errors/{fingerprint}", error_pages.error, methods=["GET"]),
    Route("/system", system_page.system, methods=["GET"]),
    Route("/help", help_page.help_page, methods=["GET"]),
    Route("/share/{token}", share.watch, methods=["GET"]),
    Route("/share/{token}/status", share.status, methods=["GET"]),
    Route("/share/{token}/events", share.events, methods=["GET"]),
    Route("/share/{token}/badge.svg", share.picture, methods=["GET"]),
    Route("/login", pages.login, methods=["GET"]),
    Route("/login", actions.login, methods=["POST"]),
    WebSocketRoute("/ws/live", live.live),
]


def application(shop: "Opened") -> Starlette:
    """Return the ASGI application that serves a shop."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with shop.lifespan():
            yield

    handlers: dict[Any, Any] = dict.fromkeys((HTTPException, Problem, Exception), on_problem)
    handlers[NotFound] = job_page.gone
    return Starlette(routes=ROUTES, middleware=[Middleware(Guard)], exception_handlers=handlers, lifespan=lifespan)
