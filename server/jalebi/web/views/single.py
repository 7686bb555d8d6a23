"""One job, as an open page: its bar, its log, and everything else that is known of it."""

import asyncio
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from starlette.websockets import WebSocket

from jalebi.errors import NotFound
from jalebi.events import Event
from jalebi.jobs import WAITING, Job, State
from jalebi.mailbox import Advance, Mailbox
from jalebi.store import logs, reads
from jalebi.store.ahead import Ahead
from jalebi.store.deliveries import Delivery
from jalebi.web import job_page, log_page, words
from jalebi.web.templating import patch, render
from jalebi.web.views.base import View, Word

#: Seconds between two looks at a waiting job's place in line.
PLACE_EVERY: Final = 2.0
#: Seconds between two looks at how far a cancellation is: its receipts are no events.
RECEIPTS_EVERY: Final = 0.5
#: Seconds between two looks at how far the messages of a webhook are, for the same reason.
DELIVERIES_EVERY: Final = 1.0
#: Seconds between two looks at when the job will start or be done.
EXPECT_EVERY: Final = 2.0
#: Log lines sent at once; of more, only the newest.
LINES: Final = 200


class JobView(View):
    """One job: everything that its page shows."""

    short = False

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket)
        self._id = socket.query_params.get("job", "")
        self._version = -1
        self._wanted = log_page.wanted_in(socket.query_params)
        self._line = 0  # the last one that the page has, or has passed over
        self._lines: list[reads.LogLine] = []
        self._others = 0  # lines that came and are not wanted
        self._gap: tuple[int, int | None] | None = None  # after which line some are left out, and how many
        self._job: Job | None = None
        self._place: int | None = None
        self._placed = (0.0, -1)
        self._asked = 0.0
        self._messages: list[tuple[str, str, int]] = []  # of its webhook, as the page shows them
        self._expected: str | None = None
        self._told = 0.0
        self._stalled = False

    def mailbox(self) -> AbstractContextManager[Mailbox]:
        """Subscribe to the job."""
        return self.rooms.hub.subscribe(self._id)

    def begin(self, word: Word) -> bool:
        """Take the version and the last log line that the page has."""
        self._version = word.rows.get(self._id, -1)
        self._line = word.line
        return super().begin(word)

    async def catch_up(self) -> bool:
        """Find the lines that the page has missed, of many only the newest; False where the job is gone."""
        job = await self.rooms.store.read(partial(reads.job, job_id=self._id))
        if job is None:
            return False
        await self._missed_lines()
        if job.seq != self._version or job.state is State.CANCELLING:  # receipts come without a number
            self._version = -1
        self._job = job
        self.resume(job)
        return True

    async def _missed_lines(self) -> None:
        keep = self.rooms.settings.max_log_lines
        query = partial(logs.page, job_id=self._id, wanted=self._wanted, keep=keep, most=LINES + 1)
        found = await self.rooms.store.read(query)
        missed = [line for line in found.lines if line.line > self._line]
        if len(missed) > LINES:
            missed = missed[-LINES:]
            left_out = missed[0].line - self._line - 1
            self._gap = self._line, left_out if self._wanted.everything else None
        self._lines = missed

    def take(self, message: Event | Advance) -> None:
        """Note a change, a log line, or how far the job is."""
        if isinstance(message, Advance):
            self.progress[self._id] = message
            if message.progress.stalled is not self._stalled:
                self._version = -1
        elif message.type == "log":
            log = (message.extra or {})["log"]
            if self._wanted.wants(log["level"], log["message"]):
                self._lines.append(reads.LogLine(log["line"], message.at, log["level"], log["message"]))
                if len(self._lines) >= 4 * LINES:  # the page does not take them: only the newest will be shown
                    self._leave_out(self._lines[: 3 * LINES])
            elif log["line"] > self._line:
                self._others += 1
        else:
            self.progress.clear()
            self._job = message.job
            self._version = -1

    def _leave_out(self, lines: list[reads.LogLine]) -> None:
        after, known = self._gap or (self._line, 0)
        self._gap = after, None if known is None else known + len(lines)
        self._lines = self._lines[len(lines) :]

    def patience(self) -> float:
        """Return less than usual while receipts are waited for, or deliveries."""
        if self._awaits_receipts():
            return RECEIPTS_EVERY
        return DELIVERIES_EVERY if self._is_told_of() else super().patience()

    async def fragments(self) -> str:
        """Return the job without its log where it has changed, and the new lines of the log."""
        html = self._new_lines()
        if self._version < 0 or await self._moved_up() or await self._got_receipts() or await self._delivered():
            try:
                found = await job_page.whole(self.rooms, self._id)
            except NotFound:
                return html
            self._job, self._version, self._place = found.job, found.job.seq, found.outlook.position
            self._expected = found.expected
            self._stalled = words.stalled(found.job)
            self._messages = _marks(found.deliveries)
            html += patch("job/_all.html", self.root, whole=found)
        elif await self._expects():
            html += patch("job/_expected.html", self.root, alone=True, whole={"expected": self._expected})
        return html

    def _new_lines(self) -> str:
        lines = [line for line in self._lines if line.line > self._line]
        others, gap = self._others, self._gap
        self._lines, self._others, self._gap = [], 0, None
        if not lines and not others:
            return ""
        if len(lines) > LINES:
            after, known = gap or (self._line, 0)
            gap = after, None if known is None else known + len(lines) - LINES
            lines = lines[-LINES:]
        left = log_page.Gap(self._id, self._wanted, gap[0], lines[0].line, gap[1]) if gap and lines else None
        if lines:
            self._line = lines[-1].line
        return render("job/_more_lines.html", self.root, lines=log_page.shown(lines), gap=left, others=others)

    async def _expects(self) -> bool:
        """Whether it is time to say anew when the job will start or be done."""
        now = asyncio.get_running_loop().time()
        if self._job is None or self._job.state not in {State.QUEUED, State.RUNNING} or now - self._told < EXPECT_EVERY:
            return False
        self._told = now
        queue, job = self.rooms.queue, self._job
        if job.state is State.RUNNING:  # which needs no look into the store
            [outlook] = queue.forecast.outlooks([job], Ahead())
        else:
            try:
                job, outlook = await queue.get_with_outlook(self._id)
            except NotFound:
                return False
        before, self._expected = self._expected, words.expected(job, outlook, self.rooms.store.clock())
        return before != self._expected

    async def _moved_up(self) -> bool:
        """Whether a waiting job has another place in line than the page shows."""
        at, number = self._placed
        now, newest = asyncio.get_running_loop().time(), self.rooms.hub.number
        if self._job is None or self._job.state not in WAITING or newest == number or now - at < PLACE_EVERY:
            return False
        self._placed = (now, newest)
        places = await self.rooms.store.read(partial(reads.positions, ids=[self._id]))
        return places.get(self._id) != self._place

    def _awaits_receipts(self) -> bool:
        if self._job is None or self._job.state is not State.CANCELLING:
            return False
        found = self._job.cancellation
        return found is not None and (found.delivered_at is None or found.acknowledged_at is None)

    def _is_told_of(self) -> bool:
        job = self._job
        return job is not None and job.terminal and job.ties is not None and job.ties.webhook is not None

    async def _delivered(self) -> bool:
        """Whether a message of the job's webhook is further than the page shows."""
        now = asyncio.get_running_loop().time()
        if not self._is_told_of() or now - self._asked < DELIVERIES_EVERY:
            return False
        self._asked = now
        return _marks(await self.rooms.webhooks.history(self._id)) != self._messages

    async def _got_receipts(self) -> bool:
        """Whether a cancellation is further than the page shows; whoever runs the job has told the store only."""
        now = asyncio.get_running_loop().time()
        if self._job is None or not self._awaits_receipts() or now - self._asked < RECEIPTS_EVERY:
            return False
        self._asked = now
        newest = await self.rooms.store.read(partial(reads.job, job_id=self._id))
        return newest is not None and newest.cancellation != self._job.cancellation


def _marks(deliveries: list[Delivery]) -> list[tuple[str, str, int]]:
    """Return what changes of deliveries when one is tried."""
    return [(one.id, one.state, len(one.history)) for one in deliveries]
