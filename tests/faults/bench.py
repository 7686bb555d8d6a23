"""The bench of the machine: a real store on a real file, driven step by step beside its model."""

import asyncio
import itertools
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Literal
from unittest.mock import ANY

from hypothesis.stateful import RuleBasedStateMachine, invariant

from jalebi.events import Event
from jalebi.jobs import Job
from jalebi.store import Store
from jalebi.store.attempts import Claim
from jalebi.store.tx import Op, Tx
from jalebi.store.writer import Writer
from tests.faults.compare import compare, everything
from tests.faults.model import KEEP, Model
from tests.faults.steps import Poison, Prune, Report, Settle, Step, Submit, answers, seen


class PatientWriter(Writer):
    """A writer that looks at the clock with a write only, so that no step depends on how fast the machine is."""

    _seen = 0.0

    def _commit(self, ops: Sequence[Op]) -> None:
        self._seen = self._clock()
        super()._commit(ops)

    def _gather(self) -> tuple[list[Op], bool]:
        due_at = self.due_at
        if due_at is not None and due_at > self._seen:
            self.due_at = None
        try:
            return super()._gather()
        finally:
            self.due_at = due_at


class Bench(RuleBasedStateMachine):
    """One installation from its first job on; `done` counts what has happened to all of them."""

    folder: ClassVar[Path]
    done: ClassVar[Counter[str]]
    names = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.batch: list[Step | Claim] = []
        self.parked: list[Claim] = []
        self.tasks: list[asyncio.Future[Any]] = []
        self.heard: list[Event] = []
        self.written = False
        self.path = self.folder / f"{next(self.names)}.db"
        self.open()

    # Opening and ending

    def open(self) -> None:
        self.store = Store(
            f"sqlite:///{self.path}", clock=lambda: self.model.now, steady=lambda: self.model.steady
        )  # fmt: skip
        self.store.keep = KEEP
        self.model.ahead = self.model.now - self.model.steady
        self.store.published = self.heard.extend
        self.runner.run(self.store.__aenter__())
        self.flush()  # what came due while nobody looked

    async def close(self) -> None:
        await self.store.__aexit__()
        async with asyncio.timeout(10):
            await asyncio.gather(*self.tasks, return_exceptions=True)  # every claim is answered, or told to go
        self.parked, self.tasks = [], []

    def teardown(self) -> None:
        try:
            self.runner.run(self.close())
            with closing(sqlite3.connect(self.path)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        finally:
            self.runner.close()

    # Doing

    def count(self, what: str) -> None:
        self.done["steps"] += 1
        self.done[what] += 1

    def do(self, step: Step | Claim, hold: bool) -> None:
        self.batch.append(step)
        if not hold:
            self.flush()

    def flush(self) -> None:
        batch, self.batch = self.batch, []
        self.runner.run(self.write(batch))

    async def write(self, batch: Sequence[Step | Claim]) -> None:
        """Hand in all at once, compare the answers, then bring into line and start what can be."""
        self.written = True
        steps = [step for step in batch if isinstance(step, Step)]
        claims = [claim for claim in batch if isinstance(claim, Claim)]
        alone = len(batch) == len(claims) == 1 and not self.parked
        self.ask(claims)
        given = await answers(self.store, steps)
        poisoned = any(isinstance(step, Poison) for step in steps)
        self.check(steps, given, self.expect(steps, poisoned=poisoned))
        if poisoned:  # what came due waits a moment after a transaction that was undone
            self.model.now, self.model.steady = self.model.now + 1, self.model.steady + 1
        await self.store.nudge()
        self.model.promote()
        self.collect(exact=alone)

    def expect(self, steps: Sequence[Step], *, poisoned: bool) -> list[Any]:
        """Take the writes to the model, in the order in which a transaction makes them; return the answers."""
        expected: dict[int, Any] = {}
        self.model.begin()
        for place, step in sorted(enumerate(steps), key=lambda one: 0 if poisoned else one[1].rank):
            if poisoned:
                self.model.follow_up()
                self.model.begin()  # each gets a transaction of its own, in the order in which they came
            expected[place] = step.apply(self.model)
        blocked = {job.id for job in self.model.jobs.values() if job.state == "blocked"}
        self.model.follow_up()
        self.done["unblocked"] += sum(self.model.jobs[one].state == "queued" for one in blocked)
        return [expected[place] for place in range(len(steps))]

    def check(self, steps: Sequence[Step], given: Sequence[Any], expected: Sequence[Any]) -> None:
        for step, answer, wanted in zip(steps, map(seen, given), expected, strict=True):
            assert answer == wanted, f"{step} was answered with {answer}, not {wanted}"
            self.done["refused"] += wanted is None and isinstance(step, Report | Settle)
            self.done["replayed"] += isinstance(step, Submit) and wanted == (ANY, True)
            self.done["pruned"] += len(wanted) if isinstance(step, Prune) else 0

    def ask(self, claims: Sequence[Claim]) -> None:
        self.parked += claims
        self.tasks += [asyncio.ensure_future(self.store.claim(claim)) for claim in claims]

    def collect(self, *, exact: bool) -> None:
        """Look at the claims that were answered; `exact`: nothing else happened, so the choice is known."""
        waiting, self.parked = self.parked, []
        for claim in waiting:
            assert claim.future is not None
            if not claim.future.done():
                self.parked.append(claim)
                continue
            started: list[Job] = claim.future.result()
            assert not exact or [job.id for job in started] == self.model.choice(claim)
            assert started or claim.withdrawn, "a claim was answered with nothing"
            assert len(started) <= claim.free()
            kinds = Counter(job.kind for job in started)
            assert kinds.keys() <= claim.kinds().keys()
            assert all(kinds[kind] <= most for kind, most in claim.caps().items())
            for job in started:
                assert seen(job) == self.model.start(job.id, claim)
            self.done["started"] += len(started)
        for claim in self.parked:
            assert not claim.withdrawn
            assert self.model.choice(claim) == [], "a claim waits although there is work"

    def fall(self, moment: Literal["before", "during", "after"], lost: list[Step]) -> None:
        """Go on with a copy of the files in which the writes that were handed in last are not committed."""
        self.store.published = lambda _: None
        copy = self.folder / f"{next(self.names)}.db"
        self.runner.run(self.die(copy, lost, moment))
        assert copy.exists()
        self.path = copy
        self.open()

    async def die(self, copy: Path, lost: list[Step], moment: str) -> None:
        if moment == "during":
            await answers(self.store, [*lost, Snapshot(self.path, copy)])
        else:
            with self.store._lock:
                handed_in = [asyncio.ensure_future(step.put(self.store)) for step in lost]
                for _ in range(3):
                    await asyncio.sleep(0)
                copy_files(self.path, copy)
            await asyncio.gather(*handed_in, return_exceptions=True)
        await self.close()

    # What must always hold

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        if not self.written:
            return  # the step is held back, or there was nothing to do
        self.written = False
        compare(self.model, self.heard, self.runner.run(self.store.read(everything)))


def copy_files(source: Path, target: Path) -> None:
    """Copy a database as a crash would leave it: the shared memory of the log is rebuilt by who opens it."""
    for suffix in ("", "-wal"):
        if Path(f"{source}{suffix}").exists():
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")


class Snapshot(Step):
    """Copies the files in the midst of the transaction, after all its writes."""

    rank = 89

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = source, target

    async def put(self, store: Store) -> None:
        source, target = self.source, self.target

        class Copy(Op):
            rank = 89

            @classmethod
            def run(cls, tx: Tx, ops: Sequence[Any]) -> list[Any]:
                copy_files(source, target)
                return [None] * len(ops)

        await store._put(Copy())
