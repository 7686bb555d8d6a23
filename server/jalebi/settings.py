"""What an operator can set: JALEBI_* variables, a `.env` file, or keyword arguments of `Jalebi`."""

import base64
import ipaddress
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jalebi.errors import UsageError


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


#: A list whose variable holds its parts with commas between them.
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


#: How a secret of Standard Webhooks begins.
SECRET_PREFIX: Final = "whsec_"


def is_secret(text: str) -> bool:
    """Whether a text is a secret as Standard Webhooks has it: `whsec_` and 24 to 64 bytes in base64."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        return False
    return text.startswith(SECRET_PREFIX) and 24 <= len(key) <= 64


def _secrets(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(is_secret(text) for text in texts):
        raise ValueError("a secret is whsec_ and 24 to 64 bytes in base64")
    return texts


def _address(text: str | None) -> str | None:
    if text is not None and not text.startswith(("https://", "http://")):
        raise ValueError("it begins with https:// or http://")
    return text


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        ipaddress.ip_network(text)
    return texts


class Settings(BaseSettings):
    """Every setting with its default; the variable is `JALEBI_` and the name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="JALEBI_", env_file=".env", env_ignore_empty=True, extra="forbid", frozen=True, populate_by_name=True
    )

    database_url: str = "sqlite:///jalebi.db"
    """Where jobs are kept: `sqlite:///file.db`, or `sqlite://` for a throwaway database in memory."""
    reserve: int = Field(16 << 20, ge=0)
    """Bytes beside the database that a full disk gets back, so that running jobs can still be ended; 0 for none."""
    files_url: str | None = None
    """A folder for files attached to jobs; beside the database where it is not set."""
    host: str = "127.0.0.1"
    """The address to listen on. Any other than loopback needs a token."""
    port: int = Field(8000, ge=0, le=65535)
    """The port to listen on; 0 takes any free one."""
    url: str | None = None
    """Where the client's commands find a server; the server itself takes no notice of it."""
    token: str | None = None
    """Where set, every request needs `Authorization: Bearer TOKEN`; the dashboard asks for it once."""
    origins: CommaSeparated = ()
    """Origins of other sites whose pages may open WebSockets, comma-separated."""
    public_url: Annotated[str | None, AfterValidator(_address)] = None
    """Where callers reach the server, `https://jobs.example.com`, for links that leave it; where not set, as asked."""
    webhook_secret: Annotated[CommaSeparated, AfterValidator(_secrets)] = ()
    """What webhooks are signed with: `whsec_` and base64. Of more, the newest first, all sign."""
    webhook_allow: Annotated[CommaSeparated, AfterValidator(_networks)] = ()
    """Networks that webhooks may reach although they are not public: `127.0.0.0/8,10.1.0.0/16`."""
    workers: bool = True
    """Whether the server runs jobs itself."""
    concurrency: int = Field(10, ge=1, le=10_000)
    """How many jobs run at once in one worker."""
    lease: float = Field(30.0, gt=0)
    """Seconds for which an attempt is safe without a heartbeat."""
    grace: float = Field(25.0, ge=0)
    """Seconds for which running attempts may go on after SIGTERM."""
    cancel_grace: float = Field(5.0, ge=0)
    """Seconds for which a cancelled or timed-out attempt may go on before its process is killed."""
    max_body: int = Field(1 << 20, ge=1024)
    """Bytes of a request's body."""
    max_upload: int = Field(256 << 20, ge=1024)
    """Bytes of an uploaded file."""
    max_result: int = Field(1 << 20, ge=1024)
    """Bytes of a job's result as JSON."""
    max_waiting: int = Field(100_000, ge=1)
    """Waiting jobs in one queue."""
    retention_age: float = Field(30 * 86400.0, gt=0)
    """Seconds for which a job that is over is kept, with its events, logs, result and files."""
    retention_count: int = Field(1_000_000, ge=0)
    """Jobs that are over and kept; beyond that the oldest go."""
    retention_bytes: int = Field(20 << 30, ge=1 << 20)
    """Bytes that the database and the files of jobs may take up before the oldest jobs that are over go."""
    idempotency_age: float = Field(86400.0, ge=86400.0)
    """Seconds for which an Idempotency-Key is remembered."""
    stall_after: float = Field(10.0, gt=0)
    """Seconds without progress, at the least, before a running job is marked as stalled."""
    max_log_lines: int = Field(10_000, ge=10)
    """Log lines kept with one job; the oldest are dropped."""
    max_backlog: int = Field(1024, ge=1)
    """Events that wait for one subscriber before it is cut off."""
    max_backlog_bytes: int = Field(1 << 20, ge=1024)
    """Bytes of the events that wait for one subscriber before it is cut off."""
    subscriber_timeout: float = Field(10.0, gt=0)
    """Seconds for which a subscriber may take nothing of what it is sent."""
    job_memory: int | None = Field(None, ge=1 << 20)
    """Bytes of address space of a job's process."""
    job_cpu: float | None = Field(None, gt=0)
    """Seconds of CPU that an attempt may use in its process."""
    job_file_size: int | None = Field(None, ge=1024)
    """Bytes of any one file that a job's process writes, the one behind standard error included."""
    job_env: CommaSeparated | None = None
    """Variables that a job's process sees beside those that Python needs; all where it is not set, and never ours."""
    block_warning: float = Field(0.25, gt=0)
    """Seconds for which an `async def` job may hold the event loop before it is named in the log."""

    def __init__(self, **overrides: Any) -> None:
        if "database" in overrides:  # named as the command line's flag
            overrides["database_url"] = overrides.pop("database")
        try:
            super().__init__(**overrides)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]).removeprefix("jalebi_")
            raise UsageError(f"The setting {name} is not valid: {first['msg']}.") from None
