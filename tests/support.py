"""What tests share: shops that run in the test's own loop, served on real sockets or in a process of their own."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import uvicorn

from jalebi import Jalebi
from jalebi.jobs import TERMINAL, Job, State
from jalebi.serve import Http, Socket

T = TypeVar("T")

PATIENCE = 20.0


@dataclass
class Live:
    """A shop served on a real socket of loopback; `client` talks to it."""

    shop: Jalebi
    url: str
    client: httpx2.AsyncClient

    @property
    def ws(self) -> str:
        """The address for WebSockets."""
        return self.url.replace("http://", "ws://")

    async def submit(self, kind: str, **body: Any) -> dict[str, Any]:
        """Submit a job and return the answer's body."""
        answer = await self.client.post("/v1/jobs", json={"kind": kind, **body})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        answer = await self.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(self, job_id: str, *states: str) -> dict[str, Any]:
        """Return the job once it is in one of the states; in a terminal one where none is named."""
        wanted = states or tuple(TERMINAL)

        async def there() -> dict[str, Any] | None:
            found = await self.job(job_id)
            assert states or found["state"] not in TERMINAL or found["state"] in wanted, found
            return found if found["state"] in wanted else None

        return await eventually(there)


async def eventually(look: Callable[[], Awaitable[T | None]]) -> T:
    """Return the first answer that is not None; the test fails where there is none in time."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await look()
            if found is not None:
                return found
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(shop: Jalebi) -> AsyncIterator[Jalebi]:
    """Open a shop in the test's loop, and close it."""
    async with shop.lifespan():
        yield shop


@asynccontextmanager
async def serving(app: Any, shop: Jalebi, prefix: str = "") -> AsyncIterator[Live]:
    """Serve an application on a free port of loopback in the test's loop."""
    config = uvicorn.Config(
        app, port=0, log_level="error", lifespan="on", http=Http, ws=Socket, ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), task
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}{prefix}"
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            yield Live(shop, url, client)
    finally:
        server.should_exit = True
        await task


async def finished(shop: Jalebi, job: Job) -> Job:
    """Return a job of an opened shop once it is over."""
    rooms = await shop.open()

    async def over() -> Job | None:
        found = await rooms.queue.get(job.id)
        return found if found.terminal else None

    return await eventually(over)


async def reached(shop: Jalebi, job: Job, state: State) -> Job:
    """Return a job of an opened shop once it is in a state."""
    rooms = await shop.open()

    async def there() -> Job | None:
        found = await rooms.queue.get(job.id)
        assert found.state is state or not found.terminal, found
        return found if found.state is state else None

    return await eventually(there)


def start(
    *arguments: str, cwd: Path, stderr: Any, life: float, prefix: Sequence[str] = (), env: dict[str, str] | None = None
) -> tuple["subprocess.Popen[str]", threading.Timer]:
    """Start a command of `jalebi`, behind another command if need be; the timer kills it after `life` seconds."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JALEBI_")}
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "jalebi", *arguments],
        cwd=cwd,
        env=clean | (env or {}),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    watchdog = threading.Timer(life, process.kill)
    watchdog.daemon = True
    watchdog.start()
    return process, watchdog


class ServerProcess:
    """A `jalebi serve` (or another command of it) in a process of its own."""

    def __init__(self, *arguments: str, cwd: Path, env: dict[str, str] | None = None) -> None:
        self.process, self._watchdog = start(*arguments, cwd=cwd, env=env, stderr=subprocess.PIPE, life=120)
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        self.url = ""

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def ready(self) -> str:
        """Wait until the server says where it is; return its address without a slash at the end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"(http://[^ ]+)/", line)
        if found is None:
            self.process.wait(10)
            self._reader.join(5)
            raise AssertionError(f"the server did not start: {line!r} {''.join(self.errors)}")
        self.url = found[1]
        return self.url

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(40)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(5)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def server(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """Start a server process and end it with the block."""
    process = ServerProcess(*arguments, cwd=cwd, env=env)
    try:
        yield process
    finally:
        process.close()
