"""What the client wants done, as values: the logic asks, a shell does it, with threads or with asyncio.

The logic is written once, as generators that do no I/O: they yield what they want and are sent what came of it. What
goes wrong is thrown into them as Cut, Closed or Refused.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from jalebi.client.errors import ProblemError, problem_error

T = TypeVar("T")
Query: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request under the base address.

    `again`: it does no harm to send it once more where the first may have arrived.
    """

    method: str
    path: str
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    again: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; the names of its headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def retry_after(self) -> float:
        """Seconds after which it is worth asking again (RFC 9110, section 10.2.3); 0 where it does not say."""
        text = self.headers.get("retry-after", "").strip()
        return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0

    @property
    def held(self) -> bool:
        """Whether the server has waited as it was asked to (RFC 7240)."""
        return "wait" in self.headers.get("preference-applied", "")

    def problem(self) -> ProblemError:
        """Return the error that the answer stands for."""
        return problem_error(self.status, self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Call:
    """Send a request and give its whole Answer; `timeout` seconds without a byte cut it. Throws Cut."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Give an item to the caller."""

    item: Any


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a WebSocket. Throws Cut, Refused."""

    path: str
    query: Query
    timeout: float


@dataclass(frozen=True, slots=True)
class Tune:
    """Open a stream of server-sent events; gives nothing. Throws Cut, Refused where the answer is no such stream."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Hear:
    """Give the next message of what was opened: text, and the event's id where it has one. Throws Cut, Closed."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close what was opened."""


Command: TypeAlias = Call | Pause | Emit | Dial | Tune | Hear | HangUp
Flow: TypeAlias = Generator[Command, Any, T]


@dataclass(frozen=True, slots=True)
class Message:
    """What a stream said: the text is empty where only an id was given."""

    text: str
    id: str = ""


class Cut(Exception):
    """A connection broke or could not be made; `sent` is False where nothing can have arrived."""

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.sent = sent


class Closed(Exception):
    """The other side ended a stream properly; `code` is that of a WebSocket (RFC 6455, section 7.4)."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(code)
        self.code = code


class Refused(Exception):
    """A stream was not opened; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer
