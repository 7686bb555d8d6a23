"""Following events through cuts: by a WebSocket, else by server-sent events, else by pages, without gap or repeat."""

from collections.abc import Callable
from typing import Final, TypeAlias

from jalebi.client.asking import get, lines
from jalebi.client.effects import (
    Closed,
    Cut,
    Dial,
    Emit,
    Flow,
    HangUp,
    Hear,
    Message,
    Pause,
    Query,
    Refused,
    Request,
    Tune,
)
from jalebi.client.errors import NotFound, Unreachable, is_ours
from jalebi.client.places import AllPlace, JobPlace
from jalebi.client.retrying import Policy, Tries
from jalebi.client.wire import Event, LogLine

Place: TypeAlias = JobPlace | AllPlace
#: A way to listen: True where everything was told, False where the connection was lost.
Channel: TypeAlias = Callable[[Policy, Place], Flow[bool]]

#: How often in a row a channel may be cut before it has told anything; then the next one is tried.
STRIKES: Final = 2
#: Seconds without a byte after which a stream is dead: the server says something every 15.
SILENCE: Final = 25.0
#: Seconds for which a reader that has had the end tries to find out whether there is more.
GOODBYE: Final = 3.0
_GOING_AWAY: Final = 1001
_POLICY_VIOLATION: Final = 1008
_BUSY: Final = frozenset({429, 502, 503, 504})


class Unsuitable(Exception):
    """Something on the way does not let a channel through."""


def by_socket(policy: Policy, place: Place) -> Flow[bool]:
    """Listen on a WebSocket."""
    yield Dial(place.socket_path, place.query, policy.timeout)
    try:
        while True:
            message: Message = yield Hear()
            yield from place.hear(message)
    except Closed as closed:
        if closed.code == _POLICY_VIOLATION:
            raise Unsuitable from None  # an answer over HTTP says why
        if closed.code == _GOING_AWAY:
            raise Cut("the server is stopping", sent=False) from None
        return place.over(closed)


def by_stream(policy: Policy, place: Place) -> Flow[bool]:
    """Listen to server-sent events."""
    headers = {"accept": "text/event-stream"}
    yield Tune(Request("GET", place.stream_path, place.query, headers), SILENCE)
    try:
        while True:
            message: Message = yield Hear()
            yield from place.hear(message)
    except Closed:
        return False  # the next request is answered by 204 where there is no more


def by_pages(policy: Policy, place: Place) -> Flow[bool]:
    """Ask for pages, for a while: then a better way may be open again."""
    return (yield from place.ask())


CHANNELS: Final[tuple[Channel, ...]] = (by_socket, by_stream, by_pages)


def follow(policy: Policy, place: Place, patience: float) -> Flow[None]:
    """Emit everything from a place on, through whatever cuts. Raises Unreachable, or the server's ProblemError.

    `patience`: seconds for which nothing at all may be heard from the server when it is looked for.
    """
    tries, rung, strikes = Tries(policy, patience), 0, 0
    while True:
        heard, least, why = place.heard, 0.0, "it hung up"
        place.again()
        try:
            if (yield from CHANNELS[rung](policy, place)):
                return
            strikes += 1
        except Refused as refused:
            if refused.answer.status == 204:
                return
            busy = refused.answer.status in _BUSY
            least, why = refused.answer.retry_after, f"it answered {refused.answer.status}"
            strikes = strikes + 1 if busy else STRIKES
            if is_ours(refused.answer.body) and not busy:
                if place.ended:
                    return
                raise refused.answer.problem() from None
        except Unsuitable:
            strikes = STRIKES
        except Cut as cut:
            why = str(cut)
            strikes += cut.sent
        except (NotFound, Unreachable):
            if place.ended:
                return
            raise
        yield HangUp()
        if place.heard > heard:
            tries, strikes = Tries(policy, GOODBYE if place.ended else patience), 0
            rung = 0 if CHANNELS[rung] is by_pages else rung
        elif strikes >= STRIKES:
            rung, strikes = (rung + 1) % len(CHANNELS), 0
        pause = tries.pause(least)
        if pause is None:
            if place.ended:
                return
            raise Unreachable(f"The server can't be reached: {why}")
        yield Pause(pause)


def events(policy: Policy, job_id: str, after: int | None, patience: float | None) -> Flow[None]:
    """Emit the events of a job after event `after`, from the first where it is None, until the job is over."""
    bound = policy.patience if patience is None else patience
    yield from follow(policy, JobPlace(policy, job_id, after or 0, lambda event: event, bound), bound)


def all_events(policy: Policy, filters: Query, after: str | None, patience: float | None) -> Flow[None]:
    """Emit the events of all jobs that match after the cursor `after`, or from now on, without end."""
    bound = policy.patience if patience is None else patience
    yield from follow(policy, AllPlace(policy, filters, after, lambda event: event, bound), bound)


def logs(policy: Policy, job_id: str, after: int, follow_on: bool, patience: float | None) -> Flow[None]:
    """Emit the lines of a job's log after line `after`; with `follow_on`, until the job is over."""
    # The place first, then the lines: what is in both is left out by its number.
    job = (yield from get(policy, job_id)) if follow_on else None
    last = after
    for line in (yield from lines(policy, job_id, after)):
        last = line.line
        yield Emit(line)
    if job is None or job.terminal:
        return

    def fresh(event: Event) -> LogLine | None:
        return event.log if event.log is not None and event.log.line > last else None

    bound = policy.patience if patience is None else patience
    yield from follow(policy, JobPlace(policy, job_id, job.seq, fresh, bound), bound)
