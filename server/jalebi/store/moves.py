"""What can be asked of a job's way: its moves from state to state, without its log lines and files."""

from sqlalchemy import Connection, select

from jalebi.events import Event
from jalebi.jobs import Job
from jalebi.store.reads import EVENT, event_in, event_t


def moves(connection: Connection, job: Job, *, most: int) -> list[Event]:
    """Return a job's newest moves, oldest first."""
    query = (
        select(*EVENT)
        .where(event_t.c.job_id == job.id, event_t.c.line.is_(None), event_t.c.type != "file")
        .order_by(event_t.c.seq.desc())
        .limit(most)
    )
    return [event_in(row, job) for row in connection.execute(query)][::-1]
