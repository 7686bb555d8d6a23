"""The page's WebSocket: pushes what has changed on one page, at most five times a second, no faster than it paints."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import msgspec
from starlette.websockets import WebSocket

from jalebi.errors import MalformedRequest, Problem
from jalebi.events import encode
from jalebi.mailbox import Lagged, Mailbox, Message
from jalebi.web import words
from jalebi.web.channels import DONE, DRAINING, refuse, send, serve
from jalebi.web.templating import patch
from jalebi.web.views import VIEWS, View, Word

TICK: Final = 0.2
#: Seconds between two counts of the jobs that are new to a list.
COUNTED: Final = 1.0
#: Seconds without a frame after which one is sent for its own sake; the page counts on it.
HEARTBEAT: Final = 5.0
#: Frames that may be on their way; while so many are not painted, changes wait and are conflated.
UNSEEN: Final = 2
#: Seconds that a page has to say what it shows.
FIRST_WORD: Final = 10.0
SILENT: Final = 1008

_word = msgspec.json.Decoder(Word)


async def live(socket: WebSocket) -> None:
    """`/ws/live?view=…`: one page's news, from when it says what it shows until it is closed."""
    try:
        view = _view_of(socket)
    except Problem as problem:
        await refuse(socket, problem)
        return
    await socket.accept()
    page = Page(socket, view)
    await serve(socket, page.talk(), page.hear)


def _view_of(socket: WebSocket) -> View:
    name = socket.query_params.get("view", "")
    if name not in VIEWS:
        raise MalformedRequest(f"There is no view {name!r}.", parameter="view")
    return VIEWS[name](socket)


class Page:
    """One open page."""

    def __init__(self, socket: WebSocket, view: View) -> None:
        self._socket = socket
        self._view = view
        self._hub = view.rooms.hub
        self._first: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        self._sent = self._seen = 0
        self._held = False  # whether something waits until the page has painted
        self._traffic = view.rooms.traffic
        self._spoke = 0.0
        self._counted = 0.0
        self._trouble = ""  # what the page says of the storage

    def hear(self, text: str) -> None:
        """Take what the page says; what can't be read is let pass."""
        try:
            word = _word.decode(text)
        except msgspec.MsgspecError:
            return
        if word.seen is not None:
            self._seen = max(self._seen, min(word.seen, self._sent))
        elif not self._first.done():
            self._first.set_result(word)

    async def talk(self) -> int:
        """Send news until the server drains or the page must be fetched again; return the close code."""
        if self._hub.closed:
            return DRAINING
        self._traffic.pages += 1
        try:
            return await self._talk()
        finally:
            self._traffic.pages -= 1

    async def _talk(self) -> int:
        try:
            async with asyncio.timeout(FIRST_WORD):
                word = await self._first
        except TimeoutError:
            return SILENT
        await self._say({"k": "hello", "beat": HEARTBEAT})
        self._trouble = word.trouble
        whole = self._view.begin(word)
        while whole:
            with self._view.mailbox() as mailbox:  # first, so that nothing falls between it and what was missed
                whole = await self._view.catch_up()
                with suppress(Lagged):  # the store knows what the mailbox has lost
                    whole = whole and await self._follow(mailbox)
            if self._hub.closed:
                return DRAINING
        await self._say({"k": "resync"})
        return DONE

    async def _follow(self, mailbox: Mailbox) -> bool:
        """Send news until there are no more; always False, as what the page shows is gone then."""
        await self._flush()
        while True:
            try:
                batch = await self._next(mailbox)
            except StopAsyncIteration:
                return False
            number = self._hub.number  # with no await in between: all of it is in this batch or before it
            for message in batch:
                self._view.take(message)
            self._view.known = max(self._view.known, number)
            await self._flush()
            await asyncio.sleep(TICK)

    async def _next(self, mailbox: Mailbox) -> list[Message]:
        """Return the news, or none after a while in which others may have changed the counts."""
        try:
            async with asyncio.timeout(TICK if self._view.progress or self._held else self._view.patience()):
                return await anext(mailbox)
        except TimeoutError:
            return []

    async def _flush(self) -> None:
        view = self._view
        self._held = not self._may_send
        if self._held:
            self._traffic.held += 1
        else:
            cursor = view.cursor()  # before the fragments: what happens while they are made may not be in them
            if html := await view.fragments() + self._news_of_trouble():
                await self._frame({"k": "html", "cursor": cursor, "content": html, "swap": "none"})
            if view.news is not None and self._may_send and self._may_count():
                news, view.news = view.news, None
                await self._frame({"k": "new", "n": news, "more": view.more})
            if view.progress and self._may_send:
                await self._frame({"k": "bars", "bars": view.advances()})
        if asyncio.get_running_loop().time() - self._spoke >= HEARTBEAT:
            await self._say({"k": "beat"})

    @property
    def _may_send(self) -> bool:
        return self._sent - self._seen < UNSEEN

    def _may_count(self) -> bool:
        now = asyncio.get_running_loop().time()
        ready = now - self._counted >= COUNTED
        self._counted = now if ready else self._counted
        return ready

    async def _frame(self, message: dict[str, Any]) -> None:
        """Send a frame that the page says it has painted."""
        self._sent += 1
        self._traffic.frames += 1
        await self._say({**message, "f": self._sent})

    def _news_of_trouble(self) -> str:
        trouble = words.trouble(self._view.rooms.store.trouble)
        if trouble == self._trouble:
            return ""
        self._trouble = trouble
        return patch("_trouble.html", self._view.root, trouble=trouble)

    async def _say(self, message: dict[str, Any]) -> None:
        self._spoke = asyncio.get_running_loop().time()
        await send(self._socket, encode(message).decode())
