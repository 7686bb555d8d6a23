"""Every error that the client raises; those that carry a problem document are chosen by its `type`.

ClientError
├── Unreachable             the server did not answer in time
├── Unreadable              the server's answer is not what the contract says
├── WaitTimeout             the job was not over in time (a TimeoutError too); `job` is how it stood
└── ProblemError            the server said no: `problem`, `status`, `type`, `headers`
    ├── MalformedRequest, Unauthorized, Forbidden, NotFound
    ├── JobNotFinished, JobFailed, JobCancelled, JobFinished, JobActive
    ├── ValidationFailed    `errors` names each place
    │   └── UnknownKind
    ├── KeyReused, BodyTooLarge
    └── Unavailable         may be asked again later
        └── QueueFull, Draining, StorageUnavailable, RateLimited
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

if TYPE_CHECKING:
    from jalebi.client.wire import Job

PROBLEM_URN: Final = "urn:jalebi:problem:"


class ClientError(Exception):
    """The root of every error that the client raises."""


class Unreachable(ClientError):
    """The server did not answer in time, however often it was asked."""


class Unreadable(ClientError):
    """An answer is not what the contract says: there may be another server at the address."""


class WaitTimeout(ClientError, TimeoutError):
    """A job was not over in time; `job` is how it stood."""

    def __init__(self, job: "Job") -> None:
        super().__init__(f"The job {job.id} is still {job.state}.")
        self.job = job


class ProblemError(ClientError):
    """The server said no; `problem` is its problem document (RFC 9457), or what stands for it."""

    urns: ClassVar[tuple[str, ...]] = ()
    statuses: ClassVar[tuple[int, ...]] = ()

    def __init__(self, problem: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"The server answered {status}."))
        self.problem = dict(problem)
        self.status = status
        self.headers = dict(headers or {})

    @property
    def type(self) -> str:
        """The URN that says what kind of problem it is."""
        return str(self.problem.get("type", "about:blank"))


class MalformedRequest(ProblemError):
    """The request could not be read: a bad cursor, a bad filter."""

    urns, statuses = ("malformed-request",), (400,)


class Unauthorized(ProblemError):
    """A token is needed and is missing or wrong."""

    urns, statuses = ("unauthorized",), (401,)


class Forbidden(ProblemError):
    """The request is understood and refused."""

    urns, statuses = ("forbidden",), (403,)


class NotFound(ProblemError):
    """There is no such job, kind or address."""

    urns, statuses = ("not-found",), (404,)


class JobNotFinished(ProblemError):
    """The result was asked for before the job ended."""

    urns = ("job-not-finished",)


class JobFailed(ProblemError):
    """The result was asked for, but the job failed."""

    urns = ("job-failed",)

    @property
    def error(self) -> dict[str, Any]:
        """What made the last attempt fail: `type`, `message`, `traceback`, `attempt`."""
        found = self.problem.get("error")
        return found if isinstance(found, dict) else {}


class JobCancelled(ProblemError):
    """The result was asked for, but the job was cancelled."""

    urns = ("job-cancelled",)


class JobFinished(ProblemError):
    """A job that is over can't be cancelled."""

    urns = ("job-finished",)


class JobActive(ProblemError):
    """A job that is not over can't be started again."""

    urns = ("job-active",)


class ValidationFailed(ProblemError):
    """The request is well formed but wrong."""

    urns: ClassVar[tuple[str, ...]] = ("validation-failed",)
    statuses: ClassVar[tuple[int, ...]] = (422,)

    @property
    def errors(self) -> tuple[dict[str, Any], ...]:
        """Each fault: `pointer` (RFC 6901, into the request's body) and `detail`."""
        found = self.problem.get("errors")
        return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


class UnknownKind(ValidationFailed):
    """The server has no kind of that name."""

    urns, statuses = ("unknown-kind",), ()


class KeyReused(ProblemError):
    """The idempotency key was used before, for another request."""

    urns = ("idempotency-key-reused",)


class BodyTooLarge(ProblemError):
    """The request's body is over the server's limit."""

    urns, statuses = ("body-too-large",), (413,)


class Unavailable(ProblemError):
    """The server can't do it now; it was asked until the time was up."""

    statuses: ClassVar[tuple[int, ...]] = (502, 503, 504)


class QueueFull(Unavailable):
    """The queue holds as many waiting jobs as it may."""

    urns, statuses = ("queue-full",), ()


class Draining(Unavailable):
    """The server is shutting down and takes no new jobs."""

    urns, statuses = ("draining",), ()


class StorageUnavailable(Unavailable):
    """The database did not take the write; nothing was stored."""

    urns, statuses = ("storage-unavailable",), ()


class RateLimited(Unavailable):
    """There were too many requests."""

    urns, statuses = ("rate-limited",), (429,)


def _all(root: type[ProblemError]) -> list[type[ProblemError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all(child))]


_BY_URN: Final = {f"{PROBLEM_URN}{urn}": cls for cls in _all(ProblemError) for urn in cls.urns}
_BY_STATUS: Final = {status: cls for cls in _all(ProblemError) for status in cls.statuses}


def problem_error(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """Return the error that an answer stands for: by the `type` of its problem document, else by its status."""
    problem = _document(body)
    chosen = _BY_URN.get(str(problem.get("type"))) or _BY_STATUS.get(status, ProblemError)
    return chosen(problem, status, headers)


def is_ours(body: bytes) -> bool:
    """Whether a body is a problem document of Jalebi, and not of something that stands before it."""
    return str(_document(body).get("type", "")).startswith(PROBLEM_URN)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
