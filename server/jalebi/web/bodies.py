"""Reads requests: bodies within their limit, query parameters, and what callers may write in them."""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import ClientDisconnect, Request

from jalebi.errors import BodyTooLarge, MalformedRequest, UnsupportedMediaType, ValidationFailed
from jalebi.jobs import State, Webhook
from jalebi.kinds import fault
from jalebi.queue import Keyed, Order
from jalebi.store.reads import Filter
from jalebi.web import json
from jalebi.web.rooms import rooms_of

M = TypeVar("M", bound=BaseModel)

MAX_PAGE: Final = 200
DEFAULT_PAGE: Final = 50
#: The filters of events.
MATCHES: Final = ("kind", "queue", "state", "tag", "batch")
#: Bytes from which on a body is large.
_LARGE: Final = 64 << 10
#: Values that a repeatable parameter may have, and characters of one: the database must not choke on a query.
MAX_VALUES: Final = 50
MAX_VALUE: Final = 1000


def _plain(text: str) -> str:
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise ValueError("control characters are not allowed")
    return text


def _instant(value: Any) -> Any:
    # The lax reading of a time would take numbers too, and dates.
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("must be a time with its zone, like 2026-01-31T09:30:00Z")
    if not isinstance(value, str | None):
        raise ValueError("must be a text like 2026-01-31T09:30:00Z")
    return value


def _within_calendar(time: datetime) -> datetime:
    # With its zone a time may lie outside of what UTC can show.
    if not 1 < time.year < 9999:
        raise ValueError("must be a year from 2 to 9998")
    return time


_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
Instant = Annotated[datetime, BeforeValidator(_instant), Field(strict=False), AfterValidator(_within_calendar)]
#: Whose idempotency keys they are: with one token or none, all callers are one.
CALLER: Final = ""
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
Id = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
Tag = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]


class WebhookBody(BaseModel):
    """Who is to be told of the end, and of which ends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_plain)]
    events: Annotated[list[Literal["completed", "failed", "cancelled"]], Field(min_length=1)] = [
        "completed", "failed", "cancelled",
    ]  # fmt: skip

    def webhook(self) -> Webhook:
        """Return it as it is kept with a job."""
        return Webhook(self.url, tuple(dict.fromkeys(self.events)))


class Submission(BaseModel):
    """The body of `POST /v1/jobs`; times in RFC 3339, `delay` and `timeout` in seconds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Annotated[str, Field(min_length=1, max_length=200)]
    args: Annotated[dict[str, Any], Field(default_factory=dict)]
    queue: Name | None = None
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    tags: Annotated[list[Tag], Field(max_length=20, default_factory=list)]
    run_at: Instant | None = None
    delay: Annotated[float, Field(ge=0, le=10 * 365 * 86400)] | None = None
    timeout: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    after: Annotated[list[Id], Field(max_length=1000, default_factory=list)]
    after_failure: Literal["cancel", "run"] = "cancel"
    webhook: WebhookBody | None = None

    @model_validator(mode="after")
    def _one_time(self) -> "Submission":
        if self.run_at is not None and self.delay is not None:
            raise ValueError("run_at and delay can't both be given")
        if self.after and (self.run_at is not None or self.delay is not None):
            raise ValueError("a job that waits for others can't wait for a time too")
        return self

    def order(self, now: float) -> Order:
        """Return what is ordered; a delay counts from `now`."""
        run_at = None if self.run_at is None else self.run_at.timestamp()
        return Order(
            kind=self.kind,
            args=self.args,
            queue=self.queue,
            priority=self.priority,
            tags=self.tags,
            run_at=run_at if self.delay is None else now + self.delay,
            timeout=self.timeout,
            max_attempts=self.max_attempts,
            after=self.after,
            after_failure=self.after_failure,
            webhook=self.webhook.webhook() if self.webhook else None,
        )


class BatchSubmission(BaseModel):
    """The body of `POST /v1/jobs/batch`; what `after` of a job names may be an earlier one, as `/jobs/0`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: Annotated[list[Submission], Field(min_length=1, max_length=10_000)]
    webhook: WebhookBody | None = None
    last: Annotated[Submission | None, Field(alias="finally")] = None


async def check_hooks(request: Request, body: Submission | BatchSubmission, keyed: Keyed | None) -> None:
    """Look at a submission's webhooks, unless its key has made its jobs before. Raises ValidationFailed, KeyReused."""
    hooks, rooms = _hooks_of(body), rooms_of(request)
    if hooks and (keyed is None or await rooms.queue.made_before(keyed) is None):
        await rooms.webhooks.check(hooks)


def _hooks_of(body: Submission | BatchSubmission) -> dict[str, str]:
    """Return the URLs of a submission's webhooks, each by its place in the body (RFC 6901)."""
    hooks = {"": body.webhook}
    if isinstance(body, BatchSubmission):
        hooks |= {f"/jobs/{index}": job.webhook for index, job in enumerate(body.jobs)}
        hooks["/finally"] = None if body.last is None else body.last.webhook
    return {f"{pointer}/webhook": hook.url for pointer, hook in hooks.items() if hook is not None}


class Cancellation(BaseModel):
    """The body of `POST …/cancel`; it may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[str, Field(max_length=1000)] | None = None


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises BodyTooLarge as soon as it is known to be over `limit` bytes."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
    except ClientDisconnect:
        raise MalformedRequest("The body ended before its length.") from None
    return b"".join(parts)


async def read_json(request: Request, *, empty: Any = None, most: int = json.MAX_NODES) -> Any:
    """Return the JSON in the body, of at most so many values; `empty` where it has none.

    Raises UnsupportedMediaType, MalformedRequest.
    """
    body = await read_body(request, rooms_of(request).settings.max_body)
    if not body and empty is not None:
        return empty
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("Send the body as application/json.", headers={"Accept-Post": "application/json"})
    # A large body is looked at in a thread: others are not to wait for that.
    return await asyncio.to_thread(json.parse, body, most) if len(body) > _LARGE else json.parse(body, most)


async def read_object(request: Request, *, empty: Any = None, most: int = json.MAX_NODES) -> dict[str, Any]:
    """Return the JSON object in the body, read as `read_json` does. Raises ValidationFailed for anything else, too."""
    return object_of(await read_json(request, empty=empty, most=most))


def object_of(body: Any) -> dict[str, Any]:
    """Return a body that is an object. Raises ValidationFailed for anything else."""
    if not isinstance(body, dict):
        raise ValidationFailed([{"pointer": "", "detail": "The body must be an object."}])
    return body


def keyed_of(request: Request, body: Any) -> Keyed | None:
    """Return the request's Idempotency-Key with what it stands for: the path and the body's meaning as JSON.

    Raises MalformedRequest for a key that is not 1 to 255 printable ASCII characters.
    """
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise MalformedRequest("The Idempotency-Key must be one of 1 to 255 printable ASCII characters.")
    about = request.scope["path"].encode() + b"\n" + json.canonical(body)
    return Keyed(CALLER, keys[0], hashlib.sha256(about).hexdigest())


def checked(model: type[M], value: Any) -> M:
    """Return the body as the model that describes it. Raises ValidationFailed with a pointer for each fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ValidationFailed(
            [fault(item, value) for item in error.errors(include_url=False, include_context=False, include_input=False)]
        ) from None


def filter_of(query: Mapping[str, Any], multi: Any) -> Filter:
    """Return the filter in a query; `multi` gives all values of a repeatable name. Raises MalformedRequest."""
    for name in ("state", "kind", "queue", "tag", "q", "error", "batch"):
        _sane(name, multi(name))
    states = tuple(multi("state"))
    known = {state.value for state in State}
    wrong = next((state for state in states if state not in known), None)
    if wrong is not None:
        raise _bad("state", f"{wrong!r} is not a state; the states are {', '.join(sorted(known))}")
    return Filter(
        states=states,
        kinds=tuple(multi("kind")),
        queues=tuple(multi("queue")),
        tags=tuple(multi("tag")),
        text=query.get("q") or None,
        created_after=_time(query, "created_after"),
        created_before=_time(query, "created_before"),
        errors=tuple(multi("error")),
        batches=tuple(multi("batch")),
    )


def _sane(name: str, values: Sequence[str]) -> None:
    if len(values) > MAX_VALUES:
        raise _bad(name, f"it may be given {MAX_VALUES} times at most")
    if any(len(value) > MAX_VALUE for value in values):
        raise _bad(name, f"it may have {MAX_VALUE} characters at most")
    if any("\0" in value for value in values):
        raise _bad(name, "it has a NUL character")


def flag(query: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Return a parameter that is `true` or `false`. Raises MalformedRequest."""
    text = query.get(name)
    if text not in {None, "true", "false"}:
        raise _bad(name, "must be true or false")
    return default if text is None else text == "true"


def limit_of(query: Mapping[str, Any]) -> int:
    """Return the page size. Raises ValidationFailed where it is no number from 1 to 200."""
    text = query.get("limit", str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= MAX_PAGE:
        detail = f"limit must be a whole number from 1 to {MAX_PAGE}"
        raise ValidationFailed([{"pointer": "", "parameter": "limit", "detail": detail}], f"The {detail}.")
    return int(text)


def whole(query: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    """Return a whole number that is not negative. Raises MalformedRequest."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise _bad(name, "must be a whole number")
    return int(text)


def known_parameters(query: Mapping[str, Any], *names: str) -> None:
    """Raise ValidationFailed for a parameter that the resource does not know: a misspelt filter must not match all."""
    wrong = [name for name in query if name not in names]
    if wrong:
        errors = [{"pointer": "", "parameter": name, "detail": "There is no such parameter."} for name in wrong]
        raise ValidationFailed(errors, f"There is no parameter {wrong[0]!r}; there are {', '.join(names)}.")


def _time(query: Mapping[str, Any], name: str) -> float | None:
    text = query.get(name)
    if not text:
        return None
    try:
        # A plus sign that was not escaped arrives as a space.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise _bad(name, "must be a time like 2026-01-31T09:30:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _bad(name: str, detail: str) -> MalformedRequest:
    return MalformedRequest(f"The parameter {name} is wrong: {detail}.", parameter=name)


def _too_large(limit: int) -> BodyTooLarge:
    # The connection stays open and the server throws away what still comes: most callers read no answer before they
    # have sent everything, and a connection that is closed under them resets.
    return BodyTooLarge(f"The body may have {limit} bytes at most.")
