"""What can be asked of batches: how they stand, and what came of their jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, select
from sqlmodel import SQLModel

from jalebi.jobs import ACTIVE, TERMINAL, Job, State, batch_state
from jalebi.store.reads import JOB, job_t, result_t
from jalebi.store.rows import from_row
from jalebi.store.tables import BatchRow, BatchTallyRow

_batch_t = SQLModel.metadata.tables[str(BatchRow.__tablename__)]
_tally_t = SQLModel.metadata.tables[str(BatchTallyRow.__tablename__)]


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were submitted together; `number` is that of the last event before theirs.

    `counts` has how many of them are in each state, `active` those that run. `last` runs when all of them are over.
    """

    id: str
    created_at: float
    number: int
    counts: Mapping[str, int]
    active: list[Job]
    last: str | None = None

    @property
    def state(self) -> State:
        """How it stands, as `jobs.batch_state` has it."""
        return batch_state(self.counts)

    @property
    def terminal(self) -> bool:
        """Whether all its jobs are over."""
        return self.state in TERMINAL


def batch(connection: Connection, batch_id: str) -> Batch | None:
    """Return one batch."""
    row = connection.execute(select(_batch_t).where(_batch_t.c.id == batch_id)).first()
    if row is None:
        return None
    query = select(_tally_t.c.state, _tally_t.c.n).where(_tally_t.c.batch == batch_id, _tally_t.c.n > 0)
    counts = {state: int(n) for state, n in connection.execute(query)}
    running: list[Job] = []
    if any(counts.get(state) for state in ACTIVE):
        # By the few that run, wherever they are from; a batch may be large.
        active: ColumnElement[bool] = literal_column("job.state IN ('cancelling', 'running')")
        rows = connection.execute(select(*JOB).where(active, literal_column("+job.batch") == batch_id))
        running = [from_row(one) for one in rows]
    return Batch(batch_id, row.created_at, row.number, counts, running, row.last)


def newest(connection: Connection, batch_id: str) -> int:
    """Return the number of the newest event of a batch's jobs, 0 where none is left."""
    found = connection.execute(select(func.max(job_t.c.cursor)).where(job_t.c.batch == batch_id)).scalar_one()
    return int(found or 0)


def outcomes(connection: Connection, batch_id: str, *, after: str, limit: int) -> list[tuple[Job, str | None]]:
    """Return the jobs of a batch after the id `after`, in the order of their ids, with what each has returned."""
    query = (
        select(result_t.c.body, *JOB)
        .outerjoin(result_t, result_t.c.job_id == job_t.c.id)
        .where(job_t.c.batch == batch_id, job_t.c.id > after)
        .order_by(job_t.c.id)
        .limit(limit)
    )
    found: list[tuple[Job, str | None]] = []
    for row in connection.execute(query):
        body: Any = row[0]
        job = from_row(row[1:])
        found.append((job, body if job.state is State.COMPLETED else None))
    return found


def waiting(connection: Connection, batch_id: str, *, after: str, limit: int) -> list[str]:
    """Return ids of the jobs of a batch that are not over, after the id `after`, in their order."""
    over = [state.value for state in TERMINAL]
    query = select(job_t.c.id).where(job_t.c.batch == batch_id, job_t.c.id > after, job_t.c.state.not_in(over))
    return list(connection.execute(query.order_by(job_t.c.id).limit(limit)).scalars())
