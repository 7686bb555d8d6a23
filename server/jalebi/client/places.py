"""Where a reader of events stands: what it has had, what to ask for next, and what to leave out."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from jalebi.client.asking import JSON, MOST_HELD, MOST_LISTED, Looks, job_path, listed
from jalebi.client.effects import Closed, Emit, Flow, Message, Pause, Query, Request
from jalebi.client.errors import PROBLEM_URN, NotFound
from jalebi.client.retrying import Policy, fetch
from jalebi.client.wire import TERMINAL, Event, Job, event_of, member, parse

#: Close codes of the server: the job is over; there is no such job.
DONE: Final = 1000
NO_SUCH_JOB: Final = 4404
#: Seconds between two pages of all events where there was nothing new, and for which pages are read in one go.
PACE: Final = 1.0
ASKED: Final = 60.0
#: The states of jobs that are not over, as a filter.
WAITING_OR_ACTIVE: Final = tuple(
    ("state", state) for state in ("scheduled", "queued", "retrying", "blocked", "running", "cancelling")
)
#: What makes an item of an event; nothing is emitted for None.
Take = Callable[[Event], Any]


class JobPlace:
    """A place among the events of one job: after event `after`, and up to the newest terminal one."""

    def __init__(self, policy: Policy, job_id: str, after: int, take: Take, patience: float) -> None:
        self.socket_path = f"/ws/jobs/{quote(job_id, safe='')}"
        self.stream_path = job_path(job_id, "/events")
        self.heard = 0
        self.ended = False  # the newest event says that the job is over; a retry may have followed it
        self._policy = policy
        self._job_id = job_id
        self._after = after
        self._seen: int | None = None  # the server leaves out what a number that was never given leaves out
        self._take = take
        self._patience = patience
        self._shown: Any = None

    def again(self) -> None:
        """Begin another connection."""

    @property
    def last(self) -> int:
        """The number of the last event that the reader has had."""
        return self._after if self._seen is None else self._seen

    @property
    def query(self) -> Query:
        """What a stream is asked for."""
        return (("after", str(self.last)),)

    def hear(self, message: Message) -> Flow[None]:
        """Emit what a message tells, but what the reader has had."""
        self.heard += bool(message.text or message.id)
        if message.text:
            yield from self._tell(parse(message.text))

    def _tell(self, raw: Mapping[str, Any]) -> Flow[None]:
        event = event_of(raw)
        if event.type == "progress":
            if self.ended or event.seq < self.last:
                return
        elif not event.durable or (self._seen is not None and event.seq <= self._seen):
            return
        else:
            self._seen, self.ended = event.seq, event.terminal
        item = self._take(event)
        if item is not None:
            yield Emit(item)

    def over(self, closed: Closed) -> bool:
        """Whether a stream that was closed properly has told everything. Raises NotFound where the job is gone."""
        if closed.code == NO_SUCH_JOB and not self.ended:
            title = "There is no such resource"
            detail = f"There is no job {self._job_id}."
            raise NotFound({"type": f"{PROBLEM_URN}not-found", "title": title, "status": 404, "detail": detail}, 404)
        return closed.code in {DONE, NO_SUCH_JOB}

    def ask(self) -> Flow[bool]:
        """Emit what pages tell, and progress as the job itself tells it; True where the job is over."""
        looks = Looks(self._policy, self._job_id, self._patience)
        until = looks.began + ASKED
        while self._policy.clock() < until:
            job = yield from looks.look(until)
            if self.last < job.seq:
                yield from self._pages(job.seq)
            elif job.progress is not None and not job.terminal:
                yield from self._progress(job)
            # Who looked again at what is over would be held until something changes.
            if job.terminal and self.last >= job.seq and (self._seen is None or self._seen <= job.seq):
                return True
            if looks.pause and not self.ended:
                yield Pause(looks.pause)
        return False

    def _pages(self, newest: int) -> Flow[None]:
        while self.last < newest:
            asked = Request("GET", self.stream_path, (*self.query, ("limit", str(MOST_LISTED))), JSON)
            answer = yield from fetch(self._policy, asked, patience=self._patience)
            page = member(answer.body, "events")
            for raw in page:
                yield from self._tell(raw)
            if not page:  # the events were purged, but not the job
                self._seen = newest
        self.heard += 1

    def _progress(self, job: Job) -> Flow[None]:
        progress = job.wire["progress"]
        if job.seq == self.last and progress != self._shown:
            self._shown = progress
            at = progress.get("updated_at")
            raw = {"type": "progress", "job_id": job.id, "seq": job.seq, "at": at, "progress": progress}
            yield from self._tell(raw)


class AllPlace:
    """A place among the events of all jobs that match `filters`: after a cursor, or from now on where it is None."""

    socket_path: Final = "/ws/events"
    stream_path: Final = "/v1/events"
    ended: Final = False

    def __init__(self, policy: Policy, filters: Query, after: str | None, take: Take, patience: float) -> None:
        self.heard = 0
        self._policy = policy
        self._filters = filters
        self._cursor = after
        self._take = take
        self._patience = patience
        self._began = False
        self._resetting = False
        self._known: dict[str, int] = {}  # what snapshots have told, by job

    def again(self) -> None:
        """Begin another connection: what it says first is where it begins, whatever the last one was about to say."""
        self._resetting = False

    @property
    def query(self) -> Query:
        """What a stream is asked for."""
        return (*self._filters, *((("after", self._cursor),) if self._cursor is not None else ()))

    def hear(self, message: Message) -> Flow[None]:
        """Emit what a message tells."""
        self.heard += bool(message.text or message.id)
        if message.text:
            yield from self._tell(parse(message.text))
        elif message.id:
            yield from self._tell({"type": "hello", "cursor": message.id})

    def _tell(self, raw: Mapping[str, Any]) -> Flow[None]:
        event = event_of(raw)
        match event.type:
            case "hello":
                # A stream that goes on where another was cut says so to nobody but us.
                told, self._began = self._began and not self._resetting, True
                self._cursor, self._resetting = event.cursor, False
                if told:
                    return
            case "reset":
                # The cursor stays until all snapshots were told: one that is cut off before that asks again.
                self._resetting, self._known = True, {}
            case "snapshot" if event.job is not None:
                self._known[event.job.id] = event.job.seq
            case "progress":
                pass
            case _:
                self._cursor = event.cursor
                if event.seq <= self._known.get(event.job_id, 0):
                    return
                if event.type in TERMINAL:
                    self._known.pop(event.job_id, None)
        item = self._take(event)
        if item is not None:
            yield Emit(item)

    def over(self, closed: Closed) -> bool:
        """Whether a stream that was closed properly has told everything: there is always more."""
        return False

    def ask(self) -> Flow[bool]:
        """Emit what pages tell, which is no progress; after a reset, jobs that are over are not told of."""
        until = self._policy.clock() + ASKED
        if self._cursor is None:
            yield from self._find_now()
        while self._policy.clock() < until:
            more = yield from self._page(until)
            if not more:
                yield Pause(PACE)
        return False

    def _page(self, until: float) -> Flow[bool]:
        """Emit what one page tells; whether it is worth asking for the next one at once."""
        held = max(0, min(MOST_HELD, int(until - self._policy.clock())))
        headers = {**JSON, "prefer": f"wait={held}"}
        query = (*self.query, ("limit", str(MOST_LISTED)))
        asked = Request("GET", self.stream_path, query, headers)
        answer = yield from fetch(self._policy, asked, timeout=held, patience=self._patience)
        page = parse(answer.body)
        member(answer.body, "events")
        self.heard += 1
        if reset := page.get("reset"):
            yield from self._start_over(reset["cursor"])
            return True
        for raw in page["events"]:
            yield from self._tell(raw)
        if page["next"] is not None:
            self._cursor = page["next"]
        return page["next"] is not None or answer.held

    def _get(self, query: Query) -> Flow[bytes]:
        answer = yield from fetch(self._policy, Request("GET", self.stream_path, query, JSON), patience=self._patience)
        member(answer.body, "events")
        return answer.body

    def _find_now(self) -> Flow[None]:
        """Find the newest event's cursor: pages begin with the oldest, so begin with that of the newest job."""
        asked = Request("GET", "/v1/jobs", (("limit", "1"),), JSON)
        answer = yield from fetch(self._policy, asked, patience=self._patience)
        jobs = member(answer.body, "jobs")
        cursor = jobs[0]["cursor"] if jobs else None
        following = cursor
        while following is not None:
            body = yield from self._get((("after", following), ("limit", str(MOST_LISTED))))
            following, events = member(body, "next"), member(body, "events")
            cursor = following or (events[-1]["cursor"] if events else cursor)
        if cursor is not None:
            yield from self._tell({"type": "hello", "cursor": cursor})

    def _start_over(self, cursor: str) -> Flow[None]:
        yield from self._tell({"type": "reset", "cursor": cursor, "reason": "Events after the cursor were purged."})
        states = () if any(name == "state" for name, _ in self._filters) else WAITING_OR_ACTIVE
        found: list[Any] = []
        yield from _gathered(listed(self._policy, (*self._filters, *states), None), found)
        for job in found:
            yield from self._tell({"type": "snapshot", "seq": job.seq, "job": job.wire})
        yield from self._tell({"type": "hello", "cursor": cursor})


def _gathered(flow: Flow[None], items: list[Any]) -> Flow[None]:
    """Run a flow, and keep what it emits instead of emitting it."""
    command = next(flow, None)
    while command is not None:
        if isinstance(command, Emit):
            items.append(command.item)
            came = None
        else:
            came = yield command
        try:
            command = flow.send(came)
        except StopIteration:
            return
