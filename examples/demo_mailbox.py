"""The demo's mail server: listens on loopback, really takes mail, and keeps the last of it in memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any, Final

HOST: Final = "127.0.0.1"
KEPT_MAILS: Final = 100
KEPT_CHARACTERS: Final = 2000
MAX_MAIL_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Mail:
    """One mail that was taken, its text perhaps shortened."""

    recipient: str
    subject: str
    message_id: str
    text: str


@dataclass
class Mailbox:
    """All that came in: how many, and the last of them."""

    received: int = 0
    last: deque[Mail] = field(default_factory=lambda: deque(maxlen=KEPT_MAILS))

    def take(self, recipients: list[str], content: bytes) -> None:
        """Keep a mail for each of its recipients."""
        message = message_from_bytes(content, policy=policy.default)
        body = message.get_body(("plain",))
        text = str(body.get_content()) if body is not None else ""
        for recipient in recipients:
            self.received += 1
            self.last.append(
                Mail(recipient, str(message["Subject"]), str(message["Message-ID"]).strip(), text[:KEPT_CHARACTERS])
            )


class Handler:
    """What aiosmtpd asks about each mail; it finds these methods by their names."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """Refuse the addresses of those who are gone, so that a mailing has something to report."""
        if address.startswith("gone."):
            return "550 5.1.1 There is nobody of that name here any more"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take a mail."""
        self._mailbox.take(envelope.rcpt_tos, envelope.content)
        return "250 OK"


@asynccontextmanager
async def mail_server(mailbox: Mailbox) -> AsyncIterator[str]:
    """Take mail on a free port, and say where: "host:port"."""
    # Here and not above: only the server's own process needs it.
    from aiosmtpd.smtp import SMTP

    connected: set[asyncio.BaseTransport] = set()

    class Connection(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connected.add(transport)

        def connection_lost(self, error: Exception | None) -> None:
            connected.discard(self.transport)
            super().connection_lost(error)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(Handler(mailbox), hostname="localhost", data_size_limit=MAX_MAIL_BYTES, loop=loop), HOST, 0
    )
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        # A client may hold its connection open for minutes; the server's end does not wait for that.
        for transport in list(connected):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
