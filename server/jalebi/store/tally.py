"""How many jobs are in a state, by queue and kind, and what was decided of each queue: as of the writer's last move."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from jalebi.jobs import ACTIVE, WAITING, Job, State
from jalebi.store import packed

_COLUMNS = ("queue", "kind", "state", "n")
Key = tuple[str, str, State]


class Tally:
    """The counts that nobody has to make: moved with each job and written with its transaction.

    They are right within a transaction too. One that is undone is followed by `load`.
    """

    def __init__(self, connection: Any) -> None:
        self.load(connection)

    def load(self, connection: Any) -> None:
        """Take what is on disk."""
        rows = connection.execute("SELECT queue, kind, state, n FROM tally").fetchall()
        self._counts: Counter[Key] = Counter()
        self._changed: set[Key] = set()
        self._waiting: Counter[str] = Counter()
        self._active: Counter[str] = Counter()
        #: How many jobs are in line, by kind and queue, where there are any.
        self.lines: dict[tuple[str, str], int] = {}
        for queue, kind, state, n in rows:
            self._add((queue, kind, State(state)), n)
        self._changed.clear()
        self.load_rules(connection)

    def load_rules(self, connection: Any) -> None:
        """Take what was decided of the queues: whether each is paused, and how many may run at once."""
        rows = connection.execute("SELECT name, paused, max_running FROM queue WHERE paused OR max_running IS NOT NULL")
        self._rules: dict[str, tuple[bool, int | None]] = {name: (bool(off), most) for name, off, most in rows}

    def waiting(self, queue: str) -> int:
        """Return how many jobs of a queue wait, for whatever."""
        return self._waiting[queue]

    def rooms(self) -> dict[str, int]:
        """Return how many more jobs may start of each queue that has a limit or is paused."""
        return {
            queue: 0 if paused or most is None else max(0, most - self._active[queue])
            for queue, (paused, most) in self._rules.items()
        }

    def came(self, jobs: Iterable[Job]) -> None:
        """Count new jobs."""
        for key, n in Counter((job.queue, job.kind, job.state) for job in jobs).items():
            self._add(key, n)

    def moved(self, moves: Iterable[tuple[Job, Job]]) -> None:
        """Count jobs from the state of the first into that of the second."""
        found = Counter((old.queue, old.kind, old.state, new.state) for old, new in moves)
        for (queue, kind, before, after), n in found.items():
            if before is not after:
                self._add((queue, kind, before), -n)
                self._add((queue, kind, after), n)

    def went(self, gone: Iterable[tuple[str, str, str, int]]) -> None:
        """Count deleted jobs: queue, kind, state, and how many."""
        for queue, kind, state, n in gone:
            self._add((queue, kind, State(state)), -n)

    def _add(self, key: Key, n: int) -> None:
        queue, kind, state = key
        self._counts[key] += n
        self._changed.add(key)
        if state in WAITING:
            self._waiting[queue] += n
            if state is State.QUEUED:
                if self._counts[key] > 0:
                    self.lines[kind, queue] = self._counts[key]
                else:
                    self.lines.pop((kind, queue), None)
        elif state in ACTIVE:
            self._active[queue] += n

    def write(self, connection: Any) -> None:
        """Write what has changed."""
        rows = [(queue, kind, state.value, self._counts[queue, kind, state]) for queue, kind, state in self._changed]
        packed.insert(connection, "OR REPLACE INTO tally", packed.columns_of(_COLUMNS, rows))
        self._changed.clear()
