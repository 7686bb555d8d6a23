"""What the server says, with types: jobs, progress, events, log lines, kinds, batches.

Members that are not known are ignored, and states and types are texts, so that a newer server can be read too. `wire`
holds the whole object as it was sent.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from jalebi.client.errors import Unreadable

T = TypeVar("T")
Wire = Mapping[str, Any]

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
#: What a stream says beside durable events.
_PASSING: Final = frozenset({"progress", "hello", "reset", "snapshot"})


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The latest position of an attempt; `fraction` is None where the total is unknown, `rate` is units a second."""

    done: int | float = 0
    total: int | float | None = None
    fraction: float | None = None
    unit: str | None = None
    message: str | None = None
    rate: float | None = None
    eta_seconds: float | None = None
    updated_at: datetime | None = None
    stalled: bool = False


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """What made an attempt fail."""

    type: str = ""
    message: str = ""
    traceback: str | None = None
    attempt: int | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as of its event `seq`; `timeout` in seconds."""

    id: str
    kind: str
    state: str
    args: dict[str, Any] = {}
    queue: str = "default"
    priority: int = 0
    tags: tuple[str, ...] = ()
    attempt: int = 0
    max_attempts: int = 1
    timeout: int | float | None = None
    seq: int = 0
    cursor: str | None = None
    created_at: datetime | None = None
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    progress: Progress | None = None
    position: int | None = None
    estimated_start_at: datetime | None = None
    estimated_finish_at: datetime | None = None
    error: JobError | None = None
    stalled: bool = False
    links: dict[str, str] = {}
    wire: dict[str, Any] = {}

    @property
    def terminal(self) -> bool:
        """Whether the job is over."""
        return self.state in TERMINAL

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, kind={self.kind!r}, state={self.state!r}, seq={self.seq})"


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's log; lines are numbered from 1."""

    line: int
    at: datetime | None = None
    level: str = "info"
    message: str = ""
    wire: dict[str, Any] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream tells.

    A durable event has the next `seq` of its job, and a `cursor`; `log` events have `log`, the others `job`. `progress`
    has the `seq` of the durable event before it. Only streams of all jobs have `hello` (what follows comes after
    `cursor`), `reset` (events after the cursor were purged: forget what you know) and `snapshot` (a `job` that matters
    since a reset; `hello` comes after the last).
    """

    type: str
    job_id: str = ""
    seq: int = 0
    cursor: str | None = None
    at: datetime | None = None
    job: Job | None = None
    progress: Progress | None = None
    log: LogLine | None = None
    reason: str | None = None
    wire: dict[str, Any] = {}

    @property
    def durable(self) -> bool:
        """Whether it is a fact that is told exactly once."""
        return self.type not in _PASSING

    @property
    def terminal(self) -> bool:
        """Whether it says that the job is over."""
        return self.type in TERMINAL

    def __repr__(self) -> str:
        return f"Event(type={self.type!r}, job_id={self.job_id!r}, seq={self.seq})"


class Duration(msgspec.Struct, frozen=True, kw_only=True):
    """How long jobs of a kind took, in seconds; None where none is known."""

    p50: float | None = None
    p95: float | None = None


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job; `args_schema` is the JSON Schema of its args."""

    name: str
    description: str | None = None
    options: dict[str, Any] = {}
    args_schema: dict[str, Any] = {}
    duration: Duration = Duration()
    wire: dict[str, Any] = {}


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that were submitted together; `counts` by state."""

    id: str
    state: str = ""
    counts: dict[str, int] = {}
    progress: Progress | None = None
    jobs: tuple[Job, ...] = ()
    links: dict[str, str] = {}
    wire: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one job of a batch: its result where it completed, its error where it failed or was cancelled."""

    job_id: str
    state: str
    result: Any = None
    error: dict[str, Any] | None = None
    wire: dict[str, Any] = {}


def parse(body: bytes | str) -> Any:
    """Return the JSON in a body. Raises Unreadable."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"The server's answer is not JSON: {error}") from None


def member(body: bytes, name: str) -> Any:
    """Return a member of the object in a body. Raises Unreadable where it has none."""
    found = parse(body)
    if not isinstance(found, dict) or name not in found:
        raise Unreadable(f"The server's answer has no {name!r}.")
    return found[name]


def read(raw: Any, as_type: type[T], **more: Any) -> T:
    """Return an object as its type, with `wire`. Raises Unreadable."""
    if not isinstance(raw, Mapping):
        raise Unreadable(f"The server's answer is no {as_type.__name__}.")
    try:
        return msgspec.convert({**raw, **more, "wire": raw}, as_type)
    except msgspec.ValidationError as error:
        raise Unreadable(f"The server's answer is no {as_type.__name__}: {error}") from None


def job_of(raw: Any) -> Job:
    """Return a job."""
    return read(raw, Job)


def event_of(raw: Any) -> Event:
    """Return an event."""
    more: dict[str, Any] = {}
    if isinstance(raw, Mapping):
        if isinstance(raw.get("job"), Mapping):
            more["job"] = {**raw["job"], "wire": raw["job"]}
        if isinstance(raw.get("log"), Mapping):
            line = {"line": raw["log"].get("line"), "at": raw.get("at"), **raw["log"]}
            more["log"] = {**line, "wire": line}
    return read(raw, Event, **more)
