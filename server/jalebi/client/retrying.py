"""How often and how long the client tries: jittered backoff, Retry-After, and a bound on all of it."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from jalebi.client.effects import Answer, Call, Cut, Flow, Pause, Request
from jalebi.client.errors import Unreachable

#: Seconds before the second try, and at most between two.
FIRST: Final = 0.1
LONGEST: Final = 5.0
#: Answers of a server that has done nothing, and of a gateway that does not know what the server has done.
_UNDONE: Final = frozenset({429, 503})
_UNKNOWN: Final = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class Policy:
    """`timeout`: seconds without a byte of an answer; `patience`: seconds for all tries of one thing together."""

    timeout: float = 10.0
    patience: float = 30.0
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random


class Tries:
    """Counts tries, and says how long to wait before the next one."""

    def __init__(self, policy: Policy, patience: float) -> None:
        self._policy = policy
        self._until = policy.clock() + patience
        self._count = 0

    def pause(self, least: float = 0.0) -> float | None:
        """Return the seconds to wait, at least `least`; None where the time is up."""
        left = self._until - self._policy.clock()
        if left <= 0 or least > left:
            return None
        longest = min(LONGEST, FIRST * 2.0 ** min(self._count, 16))
        self._count += 1
        return min(left, max(least, longest * (0.5 + self._policy.chance() / 2)))


def exchange(policy: Policy, request: Request, *, timeout: float = 0.0, patience: float | None = None) -> Flow[Answer]:
    """Send a request until it is answered, and return the answer, whatever it says.

    `timeout` is added to that of the policy. Raises Unreachable.
    """
    tries = Tries(policy, policy.patience if patience is None else patience)
    while True:
        try:
            answer: Answer = yield Call(request, policy.timeout + timeout)
        except Cut as cut:
            pause = tries.pause()
            if pause is None or (cut.sent and not request.again):
                raise Unreachable(f"The server can't be reached: {cut}") from None
        else:
            undone = answer.status in _UNDONE or (request.again and answer.status in _UNKNOWN)
            pause = tries.pause(answer.retry_after) if undone else None
            if pause is None:
                return answer
        yield Pause(pause)


def fetch(policy: Policy, request: Request, *, timeout: float = 0.0, patience: float | None = None) -> Flow[Answer]:
    """Send a request until it is answered. Raises Unreachable, or the ProblemError that the answer stands for."""
    answer = yield from exchange(policy, request, timeout=timeout, patience=patience)
    if not (200 <= answer.status < 300 or answer.status == 304):
        raise answer.problem()
    return answer
