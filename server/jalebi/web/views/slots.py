"""A list of running jobs that never moves: whoever comes next takes the place of one that has ended."""

from collections.abc import Iterable
from functools import partial

from jalebi.jobs import ACTIVE, Job
from jalebi.store import reads
from jalebi.web.rooms import Rooms


class Slots:
    """The places of up to `most` jobs on a page."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.ids: list[str] = []

    def begin(self, shown: Iterable[str]) -> None:
        """Take the jobs that the page shows, in its order."""
        self.ids = list(shown)[: self._most]

    async def place(self, rooms: Rooms, active: list[Job]) -> list[Job]:
        """Return the jobs to show: those that were shown stay where they are, as they are now, until others come."""
        known = {job.id: job for job in active}
        ended = [job_id for job_id in self.ids if job_id not in known]
        found = await rooms.store.read(partial(reads.some, ids=ended)) if ended else []
        known |= {job.id: job for job in found}
        coming = [job.id for job in active if job.id not in self.ids]
        placed: list[str] = []
        for job_id in self.ids:
            over = job_id not in known or known[job_id].state not in ACTIVE
            if over and coming:
                placed.append(coming.pop(0))
            elif job_id in known:
                placed.append(job_id)
        placed += coming[: max(0, self._most - len(placed))]
        self.ids = placed
        return [known[job_id] for job_id in placed]
