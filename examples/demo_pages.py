"""The demo's web pages: slow on purpose, some of them failing, and one that shows the mail that came in."""

import asyncio
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from demo_mailbox import HOST, Mailbox

SWEETS: Final = ("jalebi", "imarti", "gulab jamun", "rasgulla", "barfi", "kaju katli", "laddu", "rasmalai", "peda")
MAX_DELAY: Final = 30.0
#: Only the survey is meant to ask here, but every program on this machine could.
MAX_CONNECTIONS: Final = 100
MAX_HEAD_BYTES: Final = 8 * 1024
HEAD_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    title: str
    body: str = ""
    status: HTTPStatus = HTTPStatus.OK
    delay: float = 0.0
    location: str = ""

    def encoded(self) -> bytes:
        """Return the bytes of the whole response."""
        page = (
            f"<!doctype html><meta charset=utf-8><title>{self.title}</title><h1>{self.title}</h1>{self.body}".encode()
        )
        head = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", "Content-Type: text/html; charset=utf-8"]
        head += [f"Content-Length: {len(page)}", "Connection: close", "Cache-Control: no-store"]
        head += [f"Location: {self.location}"] if self.location else []
        return "\r\n".join([*head, "", ""]).encode() + page


def slow_pages(base: str) -> list[str]:
    """Return the addresses that are worth a survey, among them some that fail in the ways pages do."""
    pages = [
        f"{base}/sweets/{quote(sweet)}?delay={0.2 + 0.15 * ((7 * number) % 9):.2f}&round={number // len(SWEETS) + 1}"
        for number, sweet in enumerate(SWEETS * 4)
    ]
    pages[10:10] = [f"{base}/moved", f"{base}/nowhere"]
    pages[25:25] = [f"{base}/broken", f"{base}/sweets/nothing?delay=20"]
    return pages


def answer(target: str, mailbox: Mailbox) -> Answer:
    """Return what there is at a path."""
    address = urlsplit(target)
    kind, _, name = unquote(address.path).strip("/").partition("/")
    if kind == "sweets" and name:
        return Answer(html.escape(name.capitalize()), "<p>Fresh every morning.</p>" * 50, delay=_delay(address.query))
    if kind == "mailbox":
        return Answer(f"{mailbox.received} mails came in", _mails(mailbox))
    if kind == "moved":
        return Answer("The shop has moved", status=HTTPStatus.FOUND, location="/sweets/jalebi?delay=0.1")
    if kind == "broken":
        return Answer("The oven is broken", status=HTTPStatus.INTERNAL_SERVER_ERROR)
    if not kind:
        return Answer("The sweet shop", '<p><a href="/mailbox">The mail that came in</a></p>')
    return Answer("There is no such page", status=HTTPStatus.NOT_FOUND)


def _delay(query: str) -> float:
    try:
        delay = float(parse_qs(query)["delay"][0])
    except (KeyError, ValueError):
        return 0.0
    return min(delay, MAX_DELAY) if delay > 0 else 0.0


def _mails(mailbox: Mailbox) -> str:
    """Show the last mails, the newest first."""
    shown = (
        f"<h2>{html.escape(mail.subject)}</h2><p>to {html.escape(mail.recipient)}, {html.escape(mail.message_id)}</p>"
        f"<pre>{html.escape(mail.text)}</pre>"
        for mail in reversed(mailbox.last)
    )
    return "".join(shown)


@asynccontextmanager
async def web_server(mailbox: Mailbox) -> AsyncIterator[str]:
    """Serve the pages on a free port, and say where: "http://host:port"."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        task.add_done_callback(serving.discard)
        try:
            if len(serving) <= MAX_CONNECTIONS:
                await _respond(reader, writer, mailbox)
        except asyncio.CancelledError:
            pass  # only the end of the server cancels it; asyncio's streams would report it as an error
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0, limit=MAX_HEAD_BYTES)
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mailbox: Mailbox) -> None:
    """Answer one request: just enough of HTTP for one GET a connection."""
    with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
        if method == "GET":
            found = answer(target, mailbox)
        else:
            found = Answer("Only GET is answered here", status=HTTPStatus.METHOD_NOT_ALLOWED)
        await asyncio.sleep(found.delay)
        writer.write(found.encoded())
        async with asyncio.timeout(HEAD_SECONDS):
            await writer.drain()
