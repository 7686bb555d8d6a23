"""What waits for a time: scheduled jobs and retries, soonest first."""

from typing import Final

from sqlalchemy import Connection, text

from jalebi.jobs import Job
from jalebi.store import reads

#: By name: left to itself, the planner reads and sorts all that are scheduled.
_NEXT: Final = text(
    "SELECT id FROM job INDEXED BY job_due WHERE state IN ('scheduled', 'retrying') ORDER BY run_at LIMIT :most"
)


def due_next(connection: Connection, limit: int) -> list[Job]:
    """Return the jobs that come due first."""
    ids = [str(row[0]) for row in connection.execute(_NEXT, {"most": limit})]
    found = {job.id: job for job in reads.some(connection, ids)}
    return [found[job_id] for job_id in ids if job_id in found]
