"""The plainest servers that could stand in for Jalebi: one stores nothing, one sends to a list of sockets."""

import asyncio
import time
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from jalebi import Jalebi

sockets: list[WebSocket] = []
running: set["asyncio.Task[None]"] = set()


class Args(BaseModel):
    """The args of the job that is submitted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str
    pages: int


class Order(BaseModel):
    """What a body may say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Annotated[str, Field(min_length=1, max_length=200)]
    args: Args
    queue: Annotated[str, Field(max_length=100)] | None = None
    priority: int | None = None
    delay: Annotated[float, Field(ge=0)] | None = None


async def submit(request: Request) -> Response:
    """Read, parse and validate the body; store nothing."""
    order = Order.model_validate(await request.json())
    return JSONResponse({"kind": order.kind}, 202)


async def subscribe(socket: WebSocket) -> None:
    """Keep the socket in the list until its reader goes."""
    await socket.accept()
    sockets.append(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        sockets.remove(socket)


async def publish(request: Request) -> Response:
    """Start a publisher: `count` messages one after the other, or `rate` a second for `seconds`."""
    order = await request.json()
    work = _burst(order) if "count" in order else _ticks(order)
    task = asyncio.create_task(work)
    running.add(task)
    task.add_done_callback(running.discard)
    return JSONResponse({}, 202)


def _text(type_: str, size: int) -> str:
    head = f'{{"type":"{type_}","message":"{time.monotonic_ns()}","padding":"'
    return head + "x" * (size - len(head) - 2) + '"}'


async def _send(text: str) -> None:
    for socket in sockets:
        await socket.send_text(text)


async def _burst(order: dict[str, Any]) -> None:
    for _ in range(order["count"]):
        await _send(_text("log", order["size"]))


async def _ticks(order: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    ends = due + order["seconds"]
    while due < ends:
        await _send(_text("progress", order["size"]))
        due = max(loop.time(), due + 1 / order["rate"])
        await asyncio.sleep(due - loop.time())


class Bare(Jalebi):
    """The plain application in the place of a shop, so that the very same code runs both in uvicorn."""

    def __init__(self) -> None:
        super().__init__()
        self._app = Starlette(
            routes=[
                Route("/v1/jobs", submit, methods=["POST"]),
                Route("/publish", publish, methods=["POST"]),
                WebSocketRoute("/ws", subscribe),
            ]
        )

    async def open(self) -> Any:
        """Open nothing."""

    async def drain(self) -> None:
        """Wait for nothing."""

    async def close(self) -> None:
        """Close nothing."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI connection."""
        await self._app(scope, receive, send)
