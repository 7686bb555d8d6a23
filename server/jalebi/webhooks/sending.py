"""One try to deliver a message: signed as Standard Webhooks 1.0 has it, within a deadline, and no redirect followed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import httpcore2
from standardwebhooks import Webhook

from jalebi.webhooks.addresses import Refused

#: Seconds for all of a try: the name, the connection, the question and the answer.
DEADLINE: Final = 15.0
#: Bytes of an answer that are read, and characters that are kept.
MOST_READ: Final = 64 << 10
MOST_KEPT: Final = 1000
_OWN: Final = {"content-type": "application/json", "user-agent": "Jalebi", "connection": "close"}


@dataclass(frozen=True, slots=True)
class Try:
    """What came of a try: the status and the beginning of the answer, or why there was none; `seconds` it took.

    `retry_after` is for how many seconds the receiver asks to be left alone.
    """

    seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken the message."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more of it (410, as the standard has it), or may not be reached at all."""
        return self.status == HTTPStatus.GONE


def signed(message_id: str, body: str, secrets: Sequence[str], at: float) -> dict[str, str]:
    """Return the headers of a message; each secret signs, so that a new one can take the place of an old one."""
    moment = datetime.fromtimestamp(int(at), UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, moment, body) for secret in secrets),
    }


@dataclass(slots=True)
class _Heard:
    """What has come of an answer so far."""

    status: int | None = None
    retry_after: float | None = None
    body: bytes = b""


async def send(
    client: httpcore2.AsyncConnectionPool, url: str, headers: dict[str, str], body: str, deadline: float = DEADLINE
) -> Try:
    """Post a message. Once there is a status it decides, even where the rest of the answer breaks off or drips."""
    began = time.monotonic()
    heard, error = _Heard(), ""
    try:
        async with asyncio.timeout(deadline):
            await _post(client, url, headers, body.encode(), heard)
    except TimeoutError:
        error = f"There was no answer within {deadline:g} seconds."
    except Refused as refused:
        error = str(refused)
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as failed:
        error = _sentence(failed)
    seconds = time.monotonic() - began
    if heard.status is None:
        return Try(seconds, error=error)
    answer = heard.body[: MOST_KEPT * 4].decode("utf-8", "replace")[:MOST_KEPT]
    return Try(seconds, heard.status, None, answer, heard.retry_after)


async def _post(
    client: httpcore2.AsyncConnectionPool, url: str, headers: dict[str, str], body: bytes, heard: _Heard
) -> None:
    sent: list[tuple[bytes | str, bytes | str]] = [*(_OWN | headers).items(), ("content-length", str(len(body)))]
    async with client.stream("POST", url, headers=sent, content=body) as response:
        after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        heard.retry_after = float(after) if after.isdigit() and len(after) < 7 else None
        heard.status = response.status
        async for part in response.aiter_stream():
            heard.body += part[: MOST_READ - len(heard.body)]
            if len(heard.body) >= MOST_READ:
                break


def _sentence(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return f"The message could not be sent: {text or type(error).__name__}."[:MOST_KEPT]
