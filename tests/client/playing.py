"""Runs the client's logic without I/O: what it wants is noted, what comes of it is made up, and time is a number."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from jalebi.client.effects import Answer, Call, Command, Emit, Flow, Pause, Request
from jalebi.client.retrying import Policy

T = TypeVar("T")


class Play:
    """A server that answers from a list (an exception in it is what goes wrong), and a clock that pauses move on."""

    def __init__(self, answers: Iterable[Answer | Exception], *, patience: float = 30.0) -> None:
        self._answers = iter(answers)
        self.now = 0.0
        self.policy = Policy(patience=patience, clock=lambda: self.now, chance=lambda: 1.0)
        self.asked: list[Request] = []
        self.pauses: list[float] = []
        self.emitted: list[Any] = []

    def run(self, flow: Callable[[Policy], Flow[T]]) -> T:
        """Run a flow to its end."""
        going = flow(self.policy)
        step: Callable[[], Command] = lambda: next(going)  # noqa: E731
        while True:
            try:
                command = step()
            except StopIteration as stop:
                found: T = stop.value
                return found
            step = self._done(going, command)

    def _done(self, going: Flow[T], command: Command) -> Callable[[], Command]:
        match command:
            case Pause(seconds):
                self.pauses.append(seconds)
                self.now += seconds
            case Emit(item):
                self.emitted.append(item)
            case Call(request):
                self.asked.append(request)
                answer = next(self._answers)
                if isinstance(answer, Exception):
                    return lambda: going.throw(answer)
                return lambda: going.send(answer)
            case _:
                raise AssertionError(command)
        return lambda: going.send(None)


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    """Return an answer; underscores in the names of headers stand for hyphens."""
    written = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, written, msgspec.json.encode(body))


def problem(status: int, name: str, **more: Any) -> Answer:
    """Return an answer with a problem document."""
    retry_after = more.pop("retry_after", None)
    headers = {} if retry_after is None else {"retry_after": str(retry_after)}
    body = {"type": f"urn:jalebi:problem:{name}", "status": status, "detail": "No.", **more}
    return answer(status, body, **headers)
