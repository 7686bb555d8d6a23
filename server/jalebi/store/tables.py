"""The tables. They are the schema that the migrations must arrive at, and what the reads select from."""

from sqlalchemy import Column, Index, Text, text
from sqlmodel import Field, SQLModel

_QUEUED = text("state = 'queued'")


class JobRow(SQLModel, table=True):
    """A job; times are Unix seconds, `tags`, `args`, `error`, `progress` and `ties` are JSON text.

    `fingerprint` names the group of errors to which the one belongs that a failed job has failed with.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("job_ready", text("priority DESC"), "id", sqlite_where=_QUEUED),
        Index("job_ready_kind", "kind", "queue", text("priority DESC"), "id", sqlite_where=_QUEUED),
        Index("job_line", "queue", text("priority DESC"), "id", sqlite_where=_QUEUED),
        Index("job_due", "run_at", sqlite_where=text("state IN ('scheduled', 'retrying')")),
        Index("job_active", "kind", "lease_until", sqlite_where=text("state IN ('running', 'cancelling')")),
        Index("job_state", "state", "id"),
        Index("job_kind", "kind", "id"),
        Index("job_queue", "queue", "id"),
        Index("job_done", "kind", "id", sqlite_where=text("state = 'completed'")),
        Index("job_fault", "fingerprint", "id", sqlite_where=text("fingerprint IS NOT NULL")),
        Index("job_expires", "expires_at", sqlite_where=text("expires_at IS NOT NULL")),
        Index("job_batch", "batch", "id", sqlite_where=text("batch IS NOT NULL")),
    )

    id: str = Field(primary_key=True)
    kind: str
    queue: str
    priority: int
    tags: str
    state: str
    attempt: int
    tries: int
    max_attempts: int
    timeout: float
    seq: int
    cursor: int
    created_at: float
    run_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    worker: str | None = None
    lease_until: float | None = None
    error: str | None = Field(default=None, sa_column=Column(Text))
    progress: str | None = Field(default=None, sa_column=Column(Text))
    args: str = Field(sa_column=Column(Text, nullable=False))
    cancellation: str | None = Field(default=None, sa_column=Column(Text))
    fingerprint: str | None = None
    batch: str | None = None
    ties: str | None = Field(default=None, sa_column=Column(Text))


class TagRow(SQLModel, table=True):
    """Which jobs carry a tag."""

    __tablename__ = "job_tag"
    __table_args__ = {"sqlite_with_rowid": False}

    tag: str = Field(primary_key=True)
    job_id: str = Field(primary_key=True)


class EventRow(SQLModel, table=True):
    """A durable event: `number` orders all, `seq` those of its job; `body` is JSON text of what changed."""

    __tablename__ = "event"
    __table_args__ = (
        Index("event_job", "job_id", "seq", unique=True),
        Index("event_line", "job_id", "line", sqlite_where=text("line IS NOT NULL")),
    )

    number: int = Field(primary_key=True)
    job_id: str
    seq: int
    type: str
    at: float
    line: int | None = None
    body: str | None = Field(default=None, sa_column=Column(Text))


class ResultRow(SQLModel, table=True):
    """What a completed job returned, as JSON text."""

    __tablename__ = "result"

    job_id: str = Field(primary_key=True)
    body: str = Field(sa_column=Column(Text, nullable=False))


class FileRow(SQLModel, table=True):
    """A file kept with a job; `path` is relative to the folder for files."""

    __tablename__ = "file"
    __table_args__ = {"sqlite_with_rowid": False}

    job_id: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    size: int
    media_type: str
    path: str
    at: float


class TallyRow(SQLModel, table=True):
    """How many jobs are in a state, by queue and kind; kept by the writer, so that nobody has to count."""

    __tablename__ = "tally"
    __table_args__ = (
        Index("tally_ready", "kind", "queue", sqlite_where=text("state = 'queued' AND n > 0")),
        {"sqlite_with_rowid": False},
    )

    queue: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    n: int


class QueueRow(SQLModel, table=True):
    """What was decided of a queue: whether it is paused, how many of its jobs may run at once (None: any number)."""

    __tablename__ = "queue"
    __table_args__ = {"sqlite_with_rowid": False}

    name: str = Field(primary_key=True)
    paused: bool
    max_running: int | None = None


class FaultRow(SQLModel, table=True):
    """A group of errors that are the same but for their particulars: how often, when, and in which jobs.

    `total` counts attempts, `failed` the jobs that stand failed with it now (kept by triggers); `message` and `sample`,
    a job's id, are of the newest.
    """

    __tablename__ = "fault"
    __table_args__ = (Index("fault_last", "last_at"), {"sqlite_with_rowid": False})

    fingerprint: str = Field(primary_key=True)
    kind: str
    type: str
    message: str
    first_at: float
    last_at: float
    total: int
    failed: int
    sample: str


class FaultHourRow(SQLModel, table=True):
    """How many attempts failed with an error of a group within an hour (Unix hours)."""

    __tablename__ = "fault_hour"
    __table_args__ = {"sqlite_with_rowid": False}

    fingerprint: str = Field(primary_key=True)
    hour: int = Field(primary_key=True)
    n: int


class TrendRow(SQLModel, table=True):
    """What came and ended within `step` seconds from `at` (Unix seconds), by queue and, as queue '', of all together.

    `waiting` and `running` are how many there were at its end; `waits` and `runs` are histograms as JSON.
    """

    __tablename__ = "trend"
    __table_args__ = {"sqlite_with_rowid": False}

    step: int = Field(primary_key=True)
    queue: str = Field(primary_key=True)
    at: int = Field(primary_key=True)
    created: int
    completed: int
    failed: int
    cancelled: int
    waiting: int
    running: int
    waits: str
    runs: str


class PulseRow(SQLModel, table=True):
    """How many jobs came and ended in one second (Unix time), for rates."""

    __tablename__ = "pulse"

    second: int = Field(primary_key=True)
    created: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class KeyRow(SQLModel, table=True):
    """What a caller's idempotency key has made: `fingerprint` is of the request's body, `jobs` a JSON list of ids."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("idempotency_at", "at"), {"sqlite_with_rowid": False})

    caller: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    jobs: str
    at: float


class DependencyRow(SQLModel, table=True):
    """What a blocked job waits for: the id of a job or a batch that is not over."""

    __tablename__ = "dependency"
    __table_args__ = (Index("dependency_job", "job_id"), {"sqlite_with_rowid": False})

    after_id: str = Field(primary_key=True)
    job_id: str = Field(primary_key=True)


class BatchRow(SQLModel, table=True):
    """Jobs that were submitted together; `webhook` is JSON text, `last` the job that runs when all are over."""

    __tablename__ = "batch"
    __table_args__ = {"sqlite_with_rowid": False}

    id: str = Field(primary_key=True)
    created_at: float
    number: int  # of the last event before its first
    webhook: str | None = None
    last: str | None = None


class BatchTallyRow(SQLModel, table=True):
    """How many jobs of a batch are in a state; kept by the writer."""

    __tablename__ = "batch_tally"
    __table_args__ = {"sqlite_with_rowid": False}

    batch: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    n: int


class DeliveryRow(SQLModel, table=True):
    """A message of a webhook: of the end of a job, or of a batch. `body` is what is sent, byte for byte.

    `state` is `pending`, `delivered` or `abandoned`; a pending one is tried again at `next_at` (Unix seconds).
    """

    __tablename__ = "delivery"
    __table_args__ = (
        Index("delivery_due", "host", "next_at", sqlite_where=text("state = 'pending'")),
        Index("delivery_job", "job_id", sqlite_where=text("job_id IS NOT NULL")),
        Index("delivery_batch", "batch", sqlite_where=text("batch IS NOT NULL")),
        {"sqlite_with_rowid": False},
    )

    id: str = Field(primary_key=True)
    job_id: str | None = None
    batch: str | None = None
    event: str
    url: str
    host: str
    body: str = Field(sa_column=Column(Text, nullable=False))
    state: str
    tries: int
    next_at: float
    created_at: float
    ended_at: float | None = None


class DeliveryTryRow(SQLModel, table=True):
    """One try to deliver: the answer's status and how it began, or the error; `seconds` is how long it took."""

    __tablename__ = "delivery_try"
    __table_args__ = {"sqlite_with_rowid": False}

    delivery_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    at: float
    seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None


class EndpointRow(SQLModel, table=True):
    """Where webhooks go that are signed with a secret of their own: all URLs that begin with `url`.

    The `previous` secret signs too until `previous_until` (Unix seconds).
    """

    __tablename__ = "endpoint"
    __table_args__ = {"sqlite_with_rowid": False}

    id: str = Field(primary_key=True)
    url: str
    secret: str
    previous: str | None = None
    previous_until: float | None = None
    created_at: float


class MetaRow(SQLModel, table=True):
    """Facts about the installation.

    `epoch` names it in cursors, `number` was the last event's when jobs were last purged, and `floor` is the highest
    that retention has purged.
    """

    __tablename__ = "meta"
    __table_args__ = {"sqlite_with_rowid": False}

    name: str = Field(primary_key=True)
    value: str
