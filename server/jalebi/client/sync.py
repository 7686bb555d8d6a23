"""The client for code that blocks."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx2
from websockets.sync.client import ClientConnection, connect

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


class Client:
    """Talks to a Jalebi server; may be shared by threads, and is closed by `close` or a `with` block.

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
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._base = Base(url, token)
        self._policy = Policy(timeout, patience)
        self._http = httpx2.Client(headers=self._base.headers, timeout=timeout, transport=transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def submit(
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
        return self._run(asking.submit(self._policy, asking.submission(kind, args, options), idempotency_key, wait))

    def submit_batch(
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
        return self._run(asking.submit_batch(self._policy, jobs, last, idempotency_key, webhook))

    def batch(self, batch_id: str) -> Batch:
        """Return a batch as it stands, without its jobs. Raises NotFound."""
        return self._run(asking.batch(self._policy, batch_id))

    def cancel_batch(self, batch_id: str, reason: str | None = None) -> Batch:
        """Cancel every job of a batch that is not over. Raises NotFound."""
        return self._run(asking.cancel_batch(self._policy, batch_id, reason))

    def results(self, batch_id: str) -> Generator[Outcome, None, None]:
        """Give what came of each job of a batch, in the order of submission. Raises NotFound."""
        return self._iterate(asking.results(self._policy, batch_id))

    def get(self, job_id: str) -> Job:
        """Return a job as it stands. Raises NotFound."""
        return self._run(asking.get(self._policy, job_id))

    def wait(self, job_id: str, timeout: float | None = None, *, patience: float | None = None) -> Job:
        """Return a job once it is over, however it ended. Raises WaitTimeout after `timeout` seconds."""
        return self._run(asking.wait(self._policy, job_id, timeout, patience))

    def result(self, job_id: str) -> Any:
        """Return what a job returned. Raises JobNotFinished, JobFailed, JobCancelled."""
        return self._run(asking.result(self._policy, job_id))

    def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a job, or ask a running one to stop. Raises JobFinished."""
        return self._run(asking.cancel(self._policy, job_id, reason))

    def retry(self, job_id: str) -> Job:
        """Start a job over that is over. Raises JobActive."""
        return self._run(asking.retry(self._policy, job_id))

    def kinds(self) -> tuple[Kind, ...]:
        """Return what can be submitted."""
        return self._run(asking.kinds(self._policy))

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
    ) -> Generator[Job, None, None]:
        """Give the jobs that match, newest first, `limit` at most; a page is asked for when it is needed."""
        query = asking.filters(
            state=state, kind=kind, queue=queue, tag=tag, batch=batch, q=q,
            created_after=created_after, created_before=created_before,
        )  # fmt: skip
        return self._iterate(asking.listed(self._policy, query, limit))

    def logs(
        self, job_id: str, after: int = 0, *, follow: bool = False, patience: float | None = None
    ) -> Generator[LogLine, None, None]:
        """Give the lines of a job's log after line `after`; with `follow`, until the job is over."""
        return self._iterate(following.logs(self._policy, job_id, after, follow, patience))

    def events(
        self, job_id: str, after: int | None = None, *, patience: float | None = None
    ) -> Generator[Event, None, None]:
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
    ) -> Generator[Event, None, None]:
        """Give the events of all jobs that match after the cursor `after`, or from now on, without end.

        Begins with `hello`; see Event for `reset`. Over pages, the last fallback, there is no progress.
        """
        query = asking.filters(kind=kind, queue=queue, state=state, tag=tag, batch=batch)
        return self._iterate(following.all_events(self._policy, query, after, patience))

    def _run(self, flow: Flow[T]) -> T:
        step = partial(next, flow)
        with _Line(self._base, self._http) as line:
            while True:
                try:
                    command = step()
                except StopIteration as stop:
                    found: T = stop.value
                    return found
                step = line.done(flow, command)

    def _iterate(self, flow: Flow[None]) -> Generator[Any, None, None]:
        step = partial(next, flow)
        with _Line(self._base, self._http) as line:
            while True:
                try:
                    command = step()
                except StopIteration:
                    return
                if isinstance(command, Emit):
                    yield command.item
                step = line.done(flow, command)


class _Line:
    """Does what one flow wants done; closes what it has opened."""

    def __init__(self, base: Base, http: httpx2.Client) -> None:
        self._base = base
        self._http = http
        self._open = ExitStack()
        self._heard: Iterator[Message] = iter(())

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def done(self, flow: Flow[Any], command: Command) -> "partial[Command]":
        """Do what is wanted; return how the flow goes on from what came of it."""
        try:
            return partial(flow.send, self._do(command))
        except (Cut, Closed, Refused) as trouble:
            return partial(flow.throw, trouble)

    def _do(self, command: Command) -> Answer | Message | None:
        try:
            match command:
                case Call():
                    return self._call(command)
                case Pause(seconds):
                    time.sleep(seconds)
                case Dial(path, query, timeout):
                    options = socket_options(self._base.headers, timeout)
                    socket = self._open.enter_context(connect(self._base.socket(path, query), **options))
                    self._heard = _said(socket)
                case Tune():
                    self._tune(command)
                case Hear():
                    return next(self._heard)
                case HangUp():
                    self._open.close()
        except StopIteration:
            raise Closed from None
        except (*HTTP_ERRORS, *SOCKET_ERRORS) as error:
            raise lost(error) from error
        return None

    def _call(self, command: Call) -> Answer:
        asked = command.request
        response = self._http.request(
            asked.method, self._base.http(asked), headers=asked.headers, content=asked.body, timeout=command.timeout
        )
        return answer_of(response, response.content)

    def _tune(self, command: Tune) -> None:
        address, headers = self._base.http(command.request), command.request.headers
        response = self._open.enter_context(self._http.stream("GET", address, headers=headers, timeout=command.timeout))
        if not is_stream(response):
            raise Refused(answer_of(response, response.read()))
        self._heard = (Message(event.data, event.id) for event in httpx2.EventSource(response))


def _said(socket: ClientConnection) -> Iterator[Message]:
    while True:
        yield Message(socket.recv(decode=True))
