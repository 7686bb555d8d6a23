"""A job drawn in a terminal: `curl -N …/watch` shows a bar that moves, and elsewhere a line for each change."""

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size
from starlette.requests import Request
from starlette.responses import Response

from jalebi.errors import MalformedRequest
from jalebi.events import Event, Snapshot
from jalebi.jobs import Job, State
from jalebi.mailbox import Advance
from jalebi.web import words
from jalebi.web.bodies import flag, known_parameters, whole
from jalebi.web.following import follow_job
from jalebi.web.frames import Message
from jalebi.web.rooms import rooms_of
from jalebi.web.streams import EventStream

#: Columns of the drawing: usually, and within what bounds; those of the bar in it.
WIDTH: Final = 80
LEAST: Final = 30
MOST: Final = 500
BAR: Final = 24
#: Seconds between two lines about progress, where lines are written.
LINE_EVERY: Final = 1.0
#: Programs that write what comes to a terminal as it comes.
_TERMINALS: Final = ("curl/", "wget/", "httpie/", "xh/")
_MARKS: Final = {State.COMPLETED: "✓", State.FAILED: "✗", State.CANCELLED: "⊘", State.RUNNING: "●"}
_COLOURS: Final = {State.COMPLETED: 32, State.FAILED: 31, State.CANCELLED: 33, State.RUNNING: 36}
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


class Drawing(EventStream):
    """What is drawn, as text that goes on."""

    media_type = "text/plain; charset=utf-8"

    def __init__(self, *given: object, again: Callable[[], bytes], bye: bytes) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self._again = again
        self._bye = bye
        self.headers["X-Content-Type-Options"] = "nosniff"

    def alive(self) -> bytes:
        """Return the drawing once more: a connection on which nothing comes is cut."""
        return self._again()

    def opening(self, begin: str) -> bytes:
        """Return nothing."""
        return b""

    def end(self, bounds: tuple[int, int]) -> bytes:
        """Return what is said where there is more to come, but not now."""
        return self._bye


async def watch(request: Request) -> Response:
    """`GET /v1/jobs/{id}/watch`: the job, drawn until it is over; `?ansi=false` writes a line for each change."""
    rooms, job_id, query = rooms_of(request), request.path_params["id"], request.query_params
    known_parameters(query, "ansi", "width")
    width = whole(query, "width", WIDTH) or 0
    if not LEAST <= width <= MOST:
        raise MalformedRequest(f"The parameter width is wrong: it must be from {LEAST} to {MOST}.", parameter="width")
    terminal = request.headers.get("user-agent", "").lower().startswith(_TERMINALS)
    ansi = flag(query, "ansi", default=terminal)
    await rooms.queue.get(job_id)
    painter = Painter(width) if ansi else Writer(width)
    bye = b"\nThe server stops; ask again in a moment.\n"
    return Drawing(
        rooms, lambda tell: follow_job(rooms, job_id, None, tell), painter.shown, again=painter.again, bye=bye
    )


class Painter:
    """Draws over what it has drawn before."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._job: Job | None = None

    def shown(self, message: Message) -> bytes:
        """Return what a message makes of the drawing."""
        match message:
            case Event(type="log" | "file"):
                return b""
            case Event(job=job) | Snapshot(job=job):
                self._job = job
            case Advance(progress=progress) if self._job is not None:
                self._job = replace(self._job, progress=progress)
            case _:
                return b""
        return self.drawn(self._job)

    def again(self) -> bytes:
        """Return the drawing as it is."""
        return b"\r" if self._job is None else self.drawn(self._job)

    def drawn(self, job: Job) -> bytes:
        """Return a job as one line that takes the place of the one before."""
        line = cut(f"{mark(job)} {line_of(job, bar=True)}", self._width - 1)
        colour = _COLOURS.get(job.state, 0)
        return f"\r\x1b[2K\x1b[{colour}m{line}\x1b[0m{chr(10) if job.terminal else ''}".encode()


class Writer(Painter):
    """Writes a line where the state changes, or the percent, and not too many of these."""

    def __init__(self, width: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(width)
        self._clock = clock
        self._written: tuple[State, str] | None = None
        self._at = -LINE_EVERY

    def drawn(self, job: Job) -> bytes:
        """Return a line, or nothing where it would say what the last one did."""
        now, mark_ = self._clock(), (job.state, words.reached(job))
        same_state = self._written is not None and self._written[0] is job.state
        if mark_ == self._written or (same_state and now - self._at < LINE_EVERY):
            return b""
        self._written, self._at = mark_, now
        return f"{cut(line_of(job, bar=False), MOST)}\n".encode()

    def again(self) -> bytes:
        """Return an empty line."""
        return b"\n"


def mark(job: Job) -> str:
    """Return a sign of a job's state."""
    return _MARKS.get(job.state, "○")


def line_of(job: Job, *, bar: bool) -> str:
    """Return what is known of a job as a line; nothing that a job has said can steer a terminal."""
    parts = [words.plain(job.kind), job.id[-8:]]
    if bar and job.state in {State.RUNNING, State.CANCELLING}:
        parts.append(bar_of(words.percent(job)))
    parts.append(job.state.value)
    if job.state in {State.RUNNING, State.CANCELLING}:
        parts.append(words.plain(words.reached(job)))
    if job.state is State.RUNNING and job.progress is not None:
        parts.append(words.plain(words.note(job.progress)))
    if job.terminal and job.started_at is not None and job.finished_at is not None:
        parts.append(f"in {words.seconds(job.finished_at - job.started_at)}")
    if job.error is not None and job.state in {State.FAILED, State.RETRYING, State.CANCELLED}:
        parts.append(words.plain(f"{job.error.get('type')}: {job.error.get('message')}"))
    return "  ".join(part for part in parts if part)


def bar_of(percent: float | None) -> str:
    """Return a bar; of what is not known, an empty one."""
    eighths = round((percent or 0.0) / 100 * BAR * 8)
    full, rest = divmod(min(eighths, BAR * 8), 8)
    drawn = "█" * full + (_EIGHTHS[rest] if rest else "")
    return f"▕{drawn:<{BAR}}▏"


def cut(text: str, width: int) -> str:
    """Return a text that fits into so many columns."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
