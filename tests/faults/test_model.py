"""The store against its model, in any order of writes, restarts, crashes and clocks; and the machine's own proof."""

import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from jalebi.jobs import Job
from jalebi.store import Store
from jalebi.store.attempts import Fenced, Rescue
from jalebi.store.tally import Tally
from jalebi.store.ties import Follow
from jalebi.store.tx import Tx
from tests.faults.bench import PatientWriter
from tests.faults.machine import Shop

pytestmark = pytest.mark.faults

LONG: Final = os.environ.get("JALEBI_FAULTS") == "long"
STEPS: Final = 50
EXAMPLES: Final = 230 if LONG else 30
#: The seed for what must be found: any would do, this one finds it soon.
SABOTAGE: Final = 1


@pytest.fixture(autouse=True)
def _patient(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jalebi.store.sqlite.Writer", PatientWriter)
    caplog.set_level(logging.CRITICAL, "jalebi.store")  # broken transactions are complained about, all of them


def work(folder: Path, examples: int, seed: int) -> Counter[str]:
    """Run the machine and return how often each thing happened; the seed is printed for whoever has to repeat it."""

    class Here(Shop):
        done = Counter()

    Here.folder = folder
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=False,
        report_multiple_bugs=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(Here), settings=settings)
    finally:
        print(f"seed {seed}: {dict(Here.done)}")
    return Here.done


def test_whatever_is_done_in_whatever_order_the_store_is_as_its_model_says(tmp_path: Path) -> None:
    done = work(tmp_path, EXAMPLES, random.randrange(2**32))
    assert done["steps"] >= (10_000 if LONG else 1_200)
    for what in ("started", "refused", "tied", "unblocked", "reopen", "kill", "broken transaction"):
        assert done[what] > 0, f"{what} never happened"


def test_without_the_fence_the_machine_finds_a_stale_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fenced, "holds", lambda _, job: job is not None)
    with pytest.raises(AssertionError, match=r"(Report|Settle)\(.* was answered with \("):
        work(tmp_path, 200, SABOTAGE)


def test_with_a_rescue_that_ignores_leases_the_machine_finds_a_stolen_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = Store.rescue

    async def reckless(
        store: Store, error: Mapping[str, Any], delay: Callable[[Job], float], *, everyone: bool = True
    ) -> list[Job]:
        return await careful(store, error, delay, everyone=True)

    monkeypatch.setattr(Store, "rescue", reckless)
    with pytest.raises(AssertionError, match=r"Rescue\(everyone=False.* was answered with \["):
        work(tmp_path, 200, SABOTAGE)


def test_with_leases_judged_by_the_wall_clock_the_machine_finds_a_stolen_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_the_steady_clock = Rescue.run

    def by_the_wall_clock(tx: Tx, ops: Sequence[Rescue]) -> list[Any]:
        steady, tx.steady = tx.steady, tx.now
        try:
            return by_the_steady_clock(tx, ops)
        finally:
            tx.steady = steady

    monkeypatch.setattr(Rescue, "run", by_the_wall_clock)
    with pytest.raises(AssertionError, match=r"Rescue\(everyone=False.* was answered with \["):
        work(tmp_path, 200, SABOTAGE)


def test_where_moves_are_not_counted_the_machine_finds_a_wrong_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tally, "moved", lambda *_: None)
    with pytest.raises(AssertionError, match="the tally is not the count"):
        work(tmp_path, 200, SABOTAGE)


def test_where_nobody_looks_who_waits_for_what_has_ended_the_machine_finds_a_job_that_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follow, "_release", lambda *_: None)
    with pytest.raises(AssertionError):
        work(tmp_path, 200, SABOTAGE)
