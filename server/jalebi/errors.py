"""Every error raised on purpose.

JalebiError
├── UsageError              a program or an operator asked for something that can't be (no HTTP answer)
│   ├── TargetError         the command line's TARGET can't be loaded
│   ├── KindError           a function can't be made a kind
│   └── StorageError        the database can't be opened or is from a newer version
├── JobFailed               raised by a job to fail, for good or with a retry
├── JobStopped              raised inside a job that was asked to stop (a BaseException)
└── Problem                 an answer to a caller: problem+json (RFC 9457)
    ├── MalformedRequest    400
    ├── Unauthorized        401
    ├── Forbidden           403
    ├── NotFound            404
    ├── MethodNotAllowed    405
    ├── JobNotFinished, JobFailedProblem, JobCancelledProblem, JobFinished, JobActive, BulkGrew    409
    ├── BodyTooLarge        413
    ├── UnsupportedMediaType  415
    ├── RangeTooFar         416
    ├── ValidationFailed, UnknownKind, KeyReused  422
    ├── InternalError       500
    └── QueueFull, Draining, StorageUnavailable  503
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

PROBLEM_URN = "urn:jalebi:problem:"
#: Faults that one answer lists; a body of ten thousand has no reader.
MOST_ERRORS = 100


class JalebiError(Exception):
    """The root of every error that Jalebi raises on purpose."""


class UsageError(JalebiError):
    """Something was asked for that can't be; the message is one sentence for a person."""


class TargetError(UsageError):
    """The TARGET of a command names no loadable `Jalebi`."""


class KindError(UsageError):
    """A function can't be registered as a kind."""


class StorageError(UsageError):
    """The database can't be opened, read, or is from a newer version."""


class JobFailed(JalebiError):
    """Raise inside a job to fail its attempt; `retry=False` fails the job for good."""

    def __init__(self, message: str = "The job failed.", *, retry: bool = True) -> None:
        super().__init__(message)
        self.retry = retry


class JobStopped(BaseException):
    """Raised inside a job that was asked to stop; a BaseException, so that `except Exception` lets it pass."""


class Problem(JalebiError):
    """An answer that is not what the caller hoped for, rendered as problem+json (RFC 9457)."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    type: ClassVar[str] = "about:blank"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def document(self) -> dict[str, Any]:
        """Return the problem document's members."""
        kind = f"{PROBLEM_URN}{self.type}" if self.type != "about:blank" else self.type
        return {"type": kind, "title": self.title, "status": int(self.status), "detail": self.detail, **self.members}


class MalformedRequest(Problem):
    """The request can't be read: broken JSON, a bad query parameter, a bad cursor."""

    status, type, title = HTTPStatus.BAD_REQUEST, "malformed-request", "The request is malformed"


class Unauthorized(Problem):
    """A token is needed and is missing or wrong."""

    status, type, title = HTTPStatus.UNAUTHORIZED, "unauthorized", "A valid token is required"


class Forbidden(Problem):
    """The request is understood and refused: a foreign Origin, a read-only view."""

    status, type, title = HTTPStatus.FORBIDDEN, "forbidden", "The request is not allowed"


class NotFound(Problem):
    """There is no such resource."""

    status, type, title = HTTPStatus.NOT_FOUND, "not-found", "There is no such resource"


class MethodNotAllowed(Problem):
    """The resource exists but does not know the method."""

    status, type, title = HTTPStatus.METHOD_NOT_ALLOWED, "about:blank", "Method Not Allowed"


class JobNotFinished(Problem):
    """The result was asked for before the job ended."""

    status, type, title = HTTPStatus.CONFLICT, "job-not-finished", "The job has not finished"


class JobFailedProblem(Problem):
    """The result was asked for, but the job failed; carries its error."""

    status, type, title = HTTPStatus.CONFLICT, "job-failed", "The job failed"


class JobCancelledProblem(Problem):
    """The result was asked for, but the job was cancelled."""

    status, type, title = HTTPStatus.CONFLICT, "job-cancelled", "The job was cancelled"


class JobFinished(Problem):
    """A job that is over can't be cancelled."""

    status, type, title = HTTPStatus.CONFLICT, "job-finished", "The job has finished"


class JobActive(Problem):
    """The job is not over, so it can't be retried or deleted."""

    status, type, title = HTTPStatus.CONFLICT, "job-active", "The job is active"


class BulkGrew(Problem):
    """A bulk action would touch more jobs than its caller expects; carries how many."""

    status, type, title = HTTPStatus.CONFLICT, "bulk-grew", "More jobs match than expected"


class BodyTooLarge(Problem):
    """The request's body is over the limit."""

    status, type, title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"


class UnsupportedMediaType(Problem):
    """The request's body is not in a media type that the resource reads."""

    status, type, title = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type"


class RangeTooFar(Problem):
    """The part of a file that was asked for begins after its end."""

    status, type = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "about:blank"
    title = status.phrase


class ValidationFailed(Problem):
    """The request is well formed but wrong; `errors` names each place by JSON Pointer (RFC 6901)."""

    status, type, title = HTTPStatus.UNPROCESSABLE_ENTITY, "validation-failed", "The request is not valid"

    def __init__(self, errors: Sequence[Mapping[str, str]], detail: str | None = None) -> None:
        listed = [dict(error) for error in errors[:MOST_ERRORS]]
        super().__init__(detail or _sentence(listed), errors=listed)
        self.errors = listed


class UnknownKind(Problem):
    """No kind of that name is registered."""

    status, type, title = HTTPStatus.UNPROCESSABLE_ENTITY, "unknown-kind", "There is no such kind"


class KeyReused(Problem):
    """The idempotency key was used before, for another request."""

    status, type = HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused"
    title = "The idempotency key was used for another request"


class InternalError(Problem):
    """A bug of ours; the log has the traceback."""

    status, type, title = HTTPStatus.INTERNAL_SERVER_ERROR, "about:blank", "Internal Server Error"


class QueueFull(Problem):
    """The queue holds as many waiting jobs as it may."""

    status, type, title = HTTPStatus.SERVICE_UNAVAILABLE, "queue-full", "The queue is full"


class Draining(Problem):
    """The server is shutting down and takes no new jobs."""

    status, type, title = HTTPStatus.SERVICE_UNAVAILABLE, "draining", "The server is draining"


class StorageUnavailable(Problem):
    """The database did not take the write; nothing was stored."""

    status, type, title = HTTPStatus.SERVICE_UNAVAILABLE, "storage-unavailable", "The storage is unavailable"


def _sentence(errors: list[dict[str, str]]) -> str:
    if not errors:
        return "The request is not valid."
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{first['pointer'] or 'The body'}: {first['detail']}{more}"
