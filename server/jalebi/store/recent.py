"""Jobs as the writer last wrote them: what is moved soon is not read again."""

from collections.abc import Iterable
from typing import Final

from jalebi.jobs import TERMINAL, WAITING, Job

#: Jobs that wait and are held, and the most bytes of args with which one is.
MOST_WAITING: Final = 10_000
LARGE: Final = 4096


class Recent:
    """Jobs that are not over. What is here is what is on disk, or will be with the transaction at hand.

    The first to come are held, for they are the first to be started; when a transaction is undone all are forgotten.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def get(self, job_id: str) -> Job | None:
        """Return the job, None where it must be read."""
        return self._jobs.get(job_id)

    def put(self, jobs: Iterable[Job]) -> None:
        """Take jobs as they were just written."""
        held = self._jobs
        for job in jobs:
            if job.state in TERMINAL or (job.state in WAITING and len(held) >= MOST_WAITING and job.id not in held):
                held.pop(job.id, None)
            elif len(job.args) <= LARGE:
                held[job.id] = job

    def drop(self, ids: Iterable[str]) -> None:
        """Forget jobs that were changed aside, or deleted."""
        for job_id in ids:
            self._jobs.pop(job_id, None)

    def clear(self) -> None:
        """Forget all."""
        self._jobs.clear()
