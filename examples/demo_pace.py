"""Keeps a job to so many steps a second, and awake for a cancel while it waits."""

import asyncio

from jalebi import JobContext

#: How long a wait may go on before it looks again whether the job was cancelled.
LOOK_UP_SECONDS = 0.2


class Pace:
    """Hands out moments that lie evenly apart; several tasks may share one."""

    def __init__(self, ctx: JobContext, per_second: float) -> None:
        self._ctx = ctx
        self._apart = 1.0 / per_second
        self._next = 0.0

    async def wait(self) -> bool:
        """Return at the next free moment; False at once where the job was asked to stop."""
        clock = asyncio.get_running_loop().time
        # Taken before the wait, so that tasks that wait together get moments of their own.
        moment = max(clock(), self._next)
        self._next = moment + self._apart
        while not self._ctx.cancelled:
            left = moment - clock()
            if left <= 0:
                return True
            await asyncio.sleep(min(left, LOOK_UP_SECONDS))
        return False
