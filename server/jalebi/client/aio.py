"""The client for code that runs in asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx2
from websockets.asyncio.client import ClientConnection, connect

from jalebi.client import asking, following
from jalebi.client.asking import Options, Values
from jalebi.client.connecting import (
    HTTP_ERRORS,
    SOCKET_ERRORS,
    Base,
    answer_of,
    is_stream,
    lost,
    socket_options,
)
from jalebi.client.effects import (
    Answer,
    Call,
    Closed,
    Command,
    Cut,
    Dial,
    Emit,
    Flow,
    HangUp,
    Hear,
    Message,
    Pause,
    Refused,
    Tune,
)
from jalebi.client.retrying import Policy
from jalebi.client.wire import Batch, Event, Job, Kind, LogLine, Outcome

T = TypeVar("T")


class AsyncClient:
    """Talks to a Jalebi server; belongs to one event loop, and is closed by `close` or an `async with`
    block.

    `url` is where the server is, the prefix under which it is mounted included. `timeout`: seconds without a byte of an
    answer; `patience`: seconds for all tries of one request, and for reaching a server again that was lost. Every
    method raises a ClientError where it can't do what it says.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout: float = 10.0,
        patience: float = 30.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = Base(url, token)
        self._policy = Policy(timeout, patience)
        self._http = httpx2.AsyncClient(headers=self._base.headers, timeout=timeout, transport=transport)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def submit(
        self,
        kind: str,
        args: Mapping[str, Any] | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Submit a job, once, however often the request has to be sent; see Options.

        With `wait`, return it as soon as it is over, and as it stands after so many seconds. The same
        `idempotency_key` and payload give the same job in other calls too.
        """
        return await self._run(
            asking.submit(self._policy, asking.submission(kind, args, options), idempotency_key, wait)
        )

    async def submit_batch(
        self,
        jobs: Iterable[Mapping[str, Any]],
        *,
        last: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        webhook: str | Mapping[str, Any] | None = None,
    ) -> Batch:
        """Submit jobs, all or none; each is a mapping with `kind`, `args` and what Options has.

        `last` runs when all of them are over, whatever became of them. What `after` of a job names may be an earlier
        one of them, by its place: `/jobs/0`.
        """
        return await self._run(asking.submit_batch(self._policy, jobs, last, idempotency_key, webhook))

    async def batch(self, batch_id: str) -> Batch:
        """Return a batch as it stands, without its jobs. Raises NotFound."""
        return await self._run(asking.batch(self._policy, batch_id))

    async def cancel_batch(self, batch_id: str, reason: str | None = None) -> Batch:
        """Cancel every job of a batch that is not over. Raises NotFound."""
        return await self._run(asking.cancel_batch(self._policy, batch_id, reason))

    def results(self, batch_id: str) -> AsyncGenerator[Outcome, None]:
        """Give what came of each job of a batch, in the order of submission. Raises NotFound."""
        return self._iterate(asking.results(self._policy, batch_id))

    async def get(self, job_id: str) -> Job:
        """Return a job as it stands. Raises NotFound."""
        return await self._run(asking.get(self._policy, job_id))

    async def wait(self, job_id: str, timeout: float | None = None, *, patience: float | None = None) -> Job:
        """Return a job once it is over, however it ended. Raises WaitTimeout after `timeout` seconds."""
        return await self._run(asking.wait(self._policy, job_id, timeout, patience))

    async def result(self, job_id: str) -> Any:
        """Return what a job returned. Raises JobNotFinished, JobFailed, JobCancelled."""
        return await self._run(asking.result(self._policy, job_id))

    async def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a job, or ask a running one to stop. Raises JobFinished."""
        return await self._run(asking.cancel(self._policy, job_id, reason))

    async def retry(self, job_id: str) -> Job:
        """Start a job over that is over. Raises JobActive."""
        return await self._run(asking.retry(self._policy, job_id))

    async def kinds(self) -> tuple[Kind, ...]:
        """Return what can be submitted."""
        return await self._run(asking.kinds(self._policy))

    def list(
        self,
        *,
        state: Values = None,
        kind: Values = None,
        queue: Values = None,
        tag: Values = None,
        batch: Values = None,
        q: str | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Give the jobs that match, newest first, `limit` at most; a page is asked for when it is needed."""
        query = asking.filters(
            state=state, kind=kind, queue=queue, tag=tag, batch=batch, q=q,
            created_after=created_after, created_before=created_before,
        )  # fmt: skip
        return self._iterate(asking.listed(self._policy, query, limit))

    def logs(
        self, job_id: str, after: int = 0, *, follow: bool = False, patience: float | None = None
    ) -> AsyncGenerator[LogLine, None]:
        """Give the lines of a job's log after line `after`; with `follow`, until the job is over."""
        return self._iterate(following.logs(self._policy, job_id, after, follow, patience))

    def events(
        self, job_id: str, after: int | None = None, *, patience: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Give the events of a job after event `after`, from the first where it is None, until the job is over.

        Every durable event comes exactly once and in order, with progress in between, through any number of cuts.
        """
        return self._iterate(following.events(self._policy, job_id, after, patience))

    def all_events(
        self,
        *,
        kind: Values = None,
        queue: Values = None,
        state: Values = None,
        tag: Values = None,
        batch: Values = None,
        after: str | None = None,
        patience: float | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Give the events of all jobs that match after the cursor `after`, or from now on, without end.

        Begins with `hello`; see Event for `reset`. Over pages, the last fallback, there is no progress.
        """
        query = asking.filters(kind=kind, queue=queue, state=state, tag=tag, batch=batch)
        return self._iterate(following.all_events(self._policy, query, after, patience))

    async def _run(self, flow: Flow[T]) -> T:
        step = partial(next, flow)
        async with _Line(self._base, self._http) as line:
            while True:
                try:
                    command = step()
                except StopIteration as stop:
                    found: T = stop.value
                    return found
                step = await line.done(flow, command)

    async def _iterate(self, flow: Flow[None]) -> AsyncGenerator[Any, None]:
        step = partial(next, flow)
        async with _Line(self._base, self._http) as line:
            while True:
                try:
                    command = step()
                except StopIteration:
                    return
                if isinstance(command, Emit):
                    yield command.item
                step = await line.done(flow, command)


class _Line:
    """Does what one flow wants done; closes what it has opened."""

    def __init__(self, base: Base, http: httpx2.AsyncClient) -> None:
        self._base = base
        self._http = http
        self._open = AsyncExitStack()
        self._heard: AsyncIterator[Message] = _nothing()

    async def __aenter__(self) -> "_Line":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def done(self, flow: Flow[Any], command: Command) -> "partial[Command]":
        """Do what is wanted; return how the flow goes on from what came of it."""
        try:
            return partial(flow.send, await self._do(command))
        except (Cut, Closed, Refused) as trouble:
            return partial(flow.throw, trouble)

    async def _do(self, command: Command) -> Answer | Message | None:
        try:
            match command:
                case Call():
                    return await self._call(command)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Dial(path, query, timeout):
                    options = socket_options(self._base.headers, timeout)
                    socket = await self._open.enter_async_context(connect(self._base.socket(path, query), **options))
                    self._heard = _said(socket)
                case Tune():
                    await self._tune(command)
                case Hear():
                    return await anext(self._heard)
                case HangUp():
                    await self._open.aclose()
        except StopAsyncIteration:
            raise Closed from None
        except (*HTTP_ERRORS, *SOCKET_ERRORS) as error:
            raise lost(error) from error
        return None

    async def _call(self, command: Call) -> Answer:
        asked = command.request
        response = await self._http.request(
            asked.method, self._base.http(asked), headers=asked.headers, content=asked.body, timeout=command.timeout
        )
        return answer_of(response, response.content)

    async def _tune(self, command: Tune) -> None:
        address, headers = self._base.http(command.request), command.request.headers
        response = await self._open.enter_async_context(
            self._http.stream("GET", address, headers=headers, timeout=command.timeout)
        )
        if not is_stream(response):
            raise Refused(answer_of(response, await response.aread()))
        self._heard = (Message(event.data, event.id) async for event in httpx2.EventSource(response))


async def _said(socket: ClientConnection) -> AsyncIterator[Message]:
    while True:
        yield Message(await socket.recv(decode=True))


async def _nothing() -> AsyncIterator[Message]:
    return
    yield
