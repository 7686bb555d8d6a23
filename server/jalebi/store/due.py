"""What waits for a time: scheduled jobs and retries, soonest first."""

from sqlalchemy import ColumnElement, Connection, literal_column, select

from jalebi.jobs import Job
from jalebi.store.reads import JOB, job_t
from jalebi.store.rows import from_row

_WAITING_FOR_A_TIME: ColumnElement[bool] = literal_column("job.state IN ('scheduled', 'retrying')")


def due_next(connection: Connection, limit: int) -> list[Job]:
    """Return the jobs that come due first."""
    query = select(*JOB).where(_WAITING_FOR_A_TIME, job_t.c.run_at.is_not(None)).order_by(job_t.c.run_at).limit(limit)
    return [from_row(row) for row in connection.execute(query)]
