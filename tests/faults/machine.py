"""A machine that does anything to the store in any order, beside a model that says what must come of it."""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

from hypothesis import strategies as some
from hypothesis.stateful import rule
from hypothesis.strategies import SearchStrategy

from jalebi.ids import new_id
from jalebi.jobs import Completed, Failed, Job, Outcome, Released, State, Stopped, Ties, failure
from jalebi.store.attempts import Claim
from tests.faults import steps
from tests.faults.bench import Bench
from tests.faults.model import ACTIVE, KINDS, Known

F = TypeVar("F", bound=Callable[..., None])

ERROR: Final = failure("ValueError", "no")

# No draw depends on what has happened: a job is named by its place, counted from the newest.
picks = some.integers(0, 7)
attempts = some.sampled_from(["current", "current", "current", "earlier", "later"])
holds = some.sampled_from([False, False, True])
delays = some.sampled_from([0.0, 1.0, 60.0])
leases = some.sampled_from([10.0, 30.0])
outcomes = some.sampled_from(["completed", "completed", "failed", "failed for good", "stopped", "killed", "released"])

#: What can happen: how often, and what is drawn for it.
_ACTIONS: Final[dict[str, tuple[int, SearchStrategy[dict[str, Any]]]]] = {}


def often(weight: int, **drawn: SearchStrategy[Any]) -> Callable[[F], F]:
    """Mark what can happen. By itself each rule has the same chance, and most time would go to restarts."""

    def mark(function: F) -> F:
        _ACTIONS[function.__name__] = weight, some.fixed_dictionaries(drawn)
        return function

    return mark


class Shop(Bench):
    """Does anything: held writes share a transaction with the first that is not held."""

    # Choosing

    def job(self, pick: int, *, active: bool = False) -> Known | None:
        jobs = sorted(self.model.jobs.values(), key=lambda job: job.id, reverse=True)
        preferred = [job for job in jobs if job.state in ACTIVE] if active else []
        return (preferred or jobs)[pick % len(preferred or jobs)] if jobs else None

    def attempt(self, pick: int, which: str) -> tuple[str, int]:
        """Return an attempt: one that runs, where there is any and it is wanted, else one that does not."""
        job = self.job(pick, active=True)
        if job is None:
            return "gone", 1
        return job.id, job.attempt + {"current": 0, "earlier": -1, "later": 1}[which]

    def later(self, delay: float, hold: bool) -> float:
        """Return a delay: what is due at once in a shared transaction may be seen by it or by the next."""
        return max(delay, 1.0) if hold or self.batch else delay

    # What can happen

    @often(
        5,
        kinds=some.lists(some.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
        queue=some.sampled_from(["default", "bulk"]),
        priority=some.integers(-1, 1),
        max_attempts=some.integers(1, 3),
        delay=delays,
        max_waiting=some.sampled_from([4, 1000, 1000]),
        key=some.sampled_from([None, None, "k", "l"]),
        after=some.sampled_from([[], [], []]) | some.lists(picks, min_size=1, max_size=3),
        anyway=some.booleans(),
        hold=holds,
    )
    def submit(
        self,
        kinds: list[str],
        queue: str,
        priority: int,
        max_attempts: int,
        delay: float,
        max_waiting: int,
        key: str | None,
        after: list[int],
        anyway: bool,
        hold: bool,
    ) -> None:
        self.count("submit")
        now = self.model.now
        before = tuple(dict.fromkeys(job.id for pick in after if (job := self.job(pick)) is not None))
        ties = Ties(before, "run" if anyway else "cancel") if before else None
        delay = 0.0 if ties else delay  # a job waits for others or for a time
        jobs = [
            Job(
                id=new_id(now),
                kind=kind,
                args="{}",
                queue=queue,
                priority=priority,
                tags=("one", kind),
                state=State.SCHEDULED if delay else State.QUEUED,
                max_attempts=max_attempts,
                timeout=10.0,
                created_at=now,
                run_at=now + delay if delay else None,
                ties=ties,
            )
            for kind in kinds
        ]
        self.do(steps.Submit(jobs, max_waiting, key, f"{len(kinds)} jobs {before}"), hold)
        self.done["tied"] += ties is not None

    @often(
        7,
        worker=some.sampled_from(["a", "b"]),
        free=some.integers(1, 4),
        kinds=some.sets(some.sampled_from(sorted(KINDS)), min_size=2),
        cap=some.sampled_from([None, None, 0, 1]),
        lease=leases,
        hold=holds,
    )
    def claim(self, worker: str, free: int, kinds: set[str], cap: int | None, lease: float, hold: bool) -> None:
        self.count("claim")
        known = {kind: KINDS[kind] for kind in sorted(kinds)}
        caps = {} if cap is None else {"mail": cap}
        self.do(Claim(worker, lease, lambda: free, lambda: known, lambda: caps), hold)

    @often(1)
    def withdraw(self) -> None:
        self.count("withdraw")
        for claim in self.parked:
            claim.withdrawn = True
        self.flush()
        assert not [claim for claim in self.parked if claim.withdrawn]

    @often(
        3,
        pick=picks,
        which=attempts,
        what=some.sampled_from(["log", "file", "progress", "delivered", "acknowledged"]),
        size=some.integers(0, 9),
        hold=holds,
    )
    def report(self, pick: int, which: str, what: str, size: int, hold: bool) -> None:
        self.count(f"{which} report")
        job_id, attempt = self.attempt(pick, which)
        match what:
            case "progress":
                self.do(steps.Position(job_id, attempt, float(size)), hold)
            case "delivered" | "acknowledged":
                self.do(steps.Receipt(job_id, attempt, what), hold)
            case _:
                self.do(steps.Report(job_id, attempt, f"{size % 3}.txt" if what == "file" else None, size), hold)

    @often(1, those=some.lists(some.tuples(picks, attempts), max_size=3), lease=leases, hold=holds)
    def renew(self, those: list[tuple[int, str]], lease: float, hold: bool) -> None:
        self.count("renew")
        self.do(steps.Renew([self.attempt(*one) for one in those], lease), hold)

    @often(7, pick=picks, which=attempts, how=outcomes, delay=delays, done=some.sampled_from([None, 9.0]), hold=holds)
    def settle(self, pick: int, which: str, how: str, delay: float, done: float | None, hold: bool) -> None:
        self.count(f"{which} settle")
        outcomes: dict[str, Outcome] = {
            "completed": Completed('{"pages":1}'),
            "failed": Failed(ERROR, delay=self.later(delay, hold)),
            "failed for good": Failed(ERROR, retry=False),
            "stopped": Stopped(),
            "killed": Stopped(killed=True),
            "released": Released(),
        }
        self.do(steps.Settle(*self.attempt(pick, which), outcomes[how], done), hold)

    @often(3, pick=picks, reason=some.sampled_from([None, "too late"]), active=some.booleans(), hold=holds)
    def cancel(self, pick: int, reason: str | None, active: bool, hold: bool) -> None:
        self.count("cancel")
        if job := self.job(pick, active=active):
            self.do(steps.Cancel(job.id, reason), hold)

    @often(2, pick=picks, hold=holds)
    def retry(self, pick: int, hold: bool) -> None:
        self.count("retry")
        job = self.job(pick)
        self.do(steps.Retry(job.id if job else "gone"), hold)

    @often(1, pick=picks, hold=holds)
    def delete(self, pick: int, hold: bool) -> None:
        self.count("delete")
        job = self.job(pick)
        self.do(steps.Delete(job.id if job else "gone"), hold)

    @often(3, everyone=some.sampled_from([False, False, False, True]), delay=delays, hold=holds)
    def rescue(self, everyone: bool, delay: float, hold: bool) -> None:
        self.count("rescue")
        self.do(steps.Rescue(everyone, self.later(delay, hold)), hold)

    @often(
        1,
        surplus=some.sampled_from([0, 0, 2]),
        key_age=some.sampled_from([3600.0, 86400.0]),
        hold=holds,
    )
    def prune(self, surplus: int, key_age: float, hold: bool) -> None:
        self.count("prune")
        self.do(steps.Prune(surplus, key_age), hold)

    @often(2, seconds=some.sampled_from([0.5, 2.0, 11.0, 31.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.count("time")
        self.flush()
        self.model.now, self.model.steady = self.model.now + seconds, self.model.steady + seconds
        self.flush()

    @often(2, hours=some.sampled_from([-2.0, 2.0]), at_once=some.booleans())
    def clock_is_set(self, hours: float, at_once: bool) -> None:
        """Set the clock; the store finds out `at_once`, or with the next write."""
        self.count("clock")
        self.flush()
        self.model.now += hours * 3600
        if at_once:
            self.flush()

    @often(1)
    def break_transaction(self) -> None:
        self.count("broken transaction")
        self.batch = [one for one in self.batch if isinstance(one, steps.Step)]  # what a claim would see is not known
        batch, self.batch = self.batch, []
        self.withdraw()
        self.batch = [*batch, steps.Poison()]
        self.flush()

    @often(1)
    def reopen(self) -> None:
        self.count("reopen")
        self.flush()
        self.runner.run(self.close())
        self.open()

    @often(1, moment=some.sampled_from(["before", "during", "after"]))
    def kill(self, moment: Literal["before", "during", "after"]) -> None:
        """Go on with a copy of the files, as they were before, during, or after the commit of what was handed in."""
        self.count("kill")
        self.done[f"killed {moment} a commit"] += 1
        lost = [step for step in self.batch if isinstance(step, steps.Step)] if moment != "after" else []
        lost += [steps.Cancel(job.id, "lost") for job in list(self.model.jobs.values())[-2:]]
        if moment == "after":
            self.flush()
        self.batch = []
        self.fall(moment, lost)

    @rule(action=some.deferred(lambda: _actions()))
    def step(self, action: tuple[str, dict[str, Any]]) -> None:
        name, drawn = action
        getattr(self, name)(**drawn)


def _actions() -> SearchStrategy[tuple[str, dict[str, Any]]]:
    names = [name for name, (weight, _) in _ACTIONS.items() for _ in range(weight)]
    return some.sampled_from(names).flatmap(lambda name: some.tuples(some.just(name), _ACTIONS[name][1]))
