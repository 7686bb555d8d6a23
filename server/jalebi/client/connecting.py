"""What both shells share: addresses, headers, and what the libraries' errors mean."""

import re
import socket
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx2
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from jalebi.client.effects import Answer, Closed, Cut, Query, Refused, Request

#: Bytes of one message of a WebSocket; a job's args and error are within.
MOST_MESSAGE: Final = 16 << 20
#: What may come of a connection attempt, and of an open connection.
HTTP_ERRORS: Final = (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError)
SOCKET_ERRORS: Final = (OSError, WebSocketException)
_UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_NOBODY: Final = (ConnectionRefusedError, socket.gaierror)


class Base:
    """The address of a server, its path prefix included, and who asks."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not an address like http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def http(self, request: Request) -> str:
        """Return the address of a request."""
        return f"{self.url}{request.path}{_written(request.query)}"

    def socket(self, path: str, query: Query) -> str:
        """Return the address of a WebSocket."""
        return f"ws{self.url.removeprefix('http')}{path}{_written(query)}"


def _written(query: Query) -> str:
    return f"?{urlencode(query)}" if query else ""


def socket_options(headers: dict[str, str], timeout: float) -> dict[str, Any]:
    """Return how a WebSocket is opened."""
    return {
        "additional_headers": headers,
        "open_timeout": timeout,
        "close_timeout": 1.0,
        "compression": None,
        "max_size": MOST_MESSAGE,
    }


def answer_of(response: httpx2.Response, body: bytes) -> Answer:
    """Return an answer."""
    return Answer(response.status_code, dict(response.headers), body)


def is_stream(response: httpx2.Response) -> bool:
    """Whether an answer is a stream of server-sent events."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == 200 and media_type == "text/event-stream"


def lost(error: Exception) -> Cut | Closed | Refused:
    """Return what an error of a library means."""
    match error:
        case InvalidStatus(response=response):
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            return Refused(Answer(response.status_code, headers, bytes(response.body or b"")))
        case ConnectionClosed(rcvd=frame) if frame is not None:
            return Closed(frame.code)
        case ConnectionClosed():
            return Cut("the connection broke")
        case _:
            said = re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            return Cut(said, sent=not isinstance(error, (*_UNSENT, *_NOBODY)))
