"""Queues: what waits and runs in each, whether it is paused, and how many of its jobs may run at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from sqlalchemy import Connection, func, literal_column, select
from sqlmodel import SQLModel

from jalebi.jobs import ACTIVE
from jalebi.store.reads import job_t, queue_counts
from jalebi.store.tables import QueueRow
from jalebi.store.tx import Op, Tx

_queue_t = SQLModel.metadata.tables[str(QueueRow.__tablename__)]
#: Queued jobs among which the oldest of a queue is looked for; where more wait, it is the next one's wait.
_LOOKED: Final = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """A queue. `counts` are jobs by state; `oldest_wait` is in seconds, of what is queued; None where nothing is."""

    name: str
    counts: dict[str, int]
    oldest_wait: float | None = None
    max_running: int | None = None
    paused: bool = False

    @property
    def running(self) -> int:
        """How many attempts run."""
        return sum(self.counts.get(state.value, 0) for state in ACTIVE)


def lines(connection: Connection, now: float) -> list[Line]:
    """Return every queue that has jobs or was decided about, by name; `now` in Unix seconds."""
    counts = queue_counts(connection)
    rules = {row.name: row for row in connection.execute(select(_queue_t))}
    found = []
    for name in sorted({*counts, *rules}):
        rule = rules.get(name)
        oldest = _oldest_wait(connection, name, now) if counts.get(name, {}).get("queued") else None
        paused, most = (False, None) if rule is None else (bool(rule.paused), rule.max_running)
        found.append(Line(name, counts.get(name, {}), oldest, most, paused))
    return found


def paused(connection: Connection) -> set[str]:
    """Return the names of the paused queues."""
    return set(connection.execute(select(_queue_t.c.name).where(_queue_t.c.paused)).scalars())


def _oldest_wait(connection: Connection, name: str, now: float) -> float:
    here = [job_t.c.queue == name, job_t.c.state == literal_column("'queued'")]
    ahead = select(job_t.c.id).where(*here).order_by(job_t.c.priority.desc(), job_t.c.id).limit(_LOOKED).subquery()
    oldest = select(func.min(ahead.c.id)).scalar_subquery()
    created = float(connection.execute(select(job_t.c.created_at).where(job_t.c.id == oldest)).scalar_one())
    return max(0.0, now - created)


@dataclass(eq=False)
class Rule(Op):
    """Decide about a queue; answers None. What is `UNCHANGED` stays as it was."""

    UNCHANGED: ClassVar[Any] = object()
    rank: ClassVar[int] = 35
    essential: ClassVar[bool] = True
    name: str
    paused: Any = UNCHANGED
    max_running: Any = UNCHANGED

    @classmethod
    def run(cls, tx: Tx, ops: "Sequence[Rule]") -> list[Any]:
        """Write each, and let waiting claims look again."""
        for op in ops:
            tx.execute("INSERT OR IGNORE INTO queue VALUES (?, 0, NULL)", op.name)
            for column, value in (("paused", op.paused), ("max_running", op.max_running)):
                if value is not cls.UNCHANGED:
                    tx.execute(f"UPDATE queue SET {column} = ? WHERE name = ?", value, op.name)
            tx.execute("DELETE FROM queue WHERE name = ? AND NOT paused AND max_running IS NULL", op.name)
        tx.tally.load_rules(tx.connection)
        tx.freed = True
        return [None] * len(ops)
