import pytest

from jalebi import jobs
from jalebi.errors import JobActive, JobFinished
from jalebi.jobs import ACTIVE, MOVES, TERMINAL, WAITING, Completed, Failed, Job, Progress, Released, State, Stopped

ERROR = jobs.failure("ValueError", "no")


def a_job(state: State = State.QUEUED, **changes: object) -> Job:
    given: dict[str, object] = {
        "id": "1",
        "kind": "report",
        "args": "{}",
        "queue": "default",
        "priority": 0,
        "tags": (),
        "state": state,
        "max_attempts": 2,
        "timeout": 10.0,
        "created_at": 0.0,
    }
    return Job(**(given | changes))  # type: ignore[arg-type]


def test_every_state_is_waiting_active_or_terminal_and_only_one_of_them() -> None:
    assert set(State) == WAITING | ACTIVE | TERMINAL
    assert len(State) == len(WAITING) + len(ACTIVE) + len(TERMINAL)
    assert set(MOVES) == set(State)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("target", list(State))
def test_a_move_is_made_only_where_the_table_allows_it(state: State, target: State) -> None:
    def move() -> Job:
        return jobs._move(a_job(state), target)

    if target in MOVES[state]:
        assert move().state is target
        assert move().seq == 2
        assert state in jobs.sources(target)
    else:
        with pytest.raises(ValueError, match="can't move"):
            move()
        assert state not in jobs.sources(target)


def test_an_attempt_is_counted_when_it_starts() -> None:
    started = jobs.claimed(a_job(), now=5.0, worker="w", lease_until=35.0)
    assert (started.attempt, started.tries, started.started_at, started.lease_until) == (1, 1, 5.0, 35.0)


def test_a_failure_is_retried_until_the_budget_is_used_up() -> None:
    first = jobs.claimed(a_job(), now=0, worker="w", lease_until=1.0)
    waiting = jobs.settled(first, Failed(ERROR, delay=3.0), now=1.0)
    assert (waiting.state, waiting.run_at) == (State.RETRYING, 4.0)
    assert waiting.error == ERROR | {"attempt": 1}
    second = jobs.claimed(jobs.due(waiting), now=4.0, worker="w", lease_until=5.0)
    over = jobs.settled(second, Failed(ERROR), now=5.0)
    assert (over.state, over.attempt, over.finished_at) == (State.FAILED, 2, 5.0)


def test_a_job_that_gives_up_is_not_retried() -> None:
    first = jobs.claimed(a_job(), now=0, worker="w", lease_until=1.0)
    assert jobs.settled(first, Failed(ERROR, retry=False), now=1.0).state is State.FAILED


def test_an_attempt_handed_back_does_not_use_up_the_budget_but_its_number() -> None:
    first = jobs.claimed(a_job(max_attempts=1), now=0, worker="w", lease_until=1.0)
    back = jobs.settled(first, Released(), now=1.0)
    again = jobs.claimed(back, now=2.0, worker="w", lease_until=3.0)
    assert (back.state, again.attempt, again.tries) == (State.QUEUED, 2, 1)


@pytest.mark.parametrize("outcome", [Completed("1"), Failed(ERROR), Stopped(), Released()])
def test_a_job_being_cancelled_is_cancelled_whatever_its_attempt_says(outcome: jobs.Outcome) -> None:
    stopping = jobs.cancelled(jobs.claimed(a_job(), now=0, worker="w", lease_until=1.0), now=1.0, reason=None)
    assert stopping.state is State.CANCELLING
    assert jobs.settled(stopping, outcome, now=2.0).state is State.CANCELLED


def test_a_cancellation_twice_changes_nothing_and_one_too_late_is_refused() -> None:
    gone = jobs.cancelled(a_job(), now=1.0, reason="no more need")
    assert gone.error == jobs.failure("Cancelled", "no more need")
    assert jobs.cancelled(gone, now=2.0, reason=None) is gone
    with pytest.raises(JobFinished):
        jobs.cancelled(a_job(State.COMPLETED), now=1.0, reason=None)


def test_only_a_finished_job_is_retried_and_only_an_idle_one_deleted() -> None:
    again = jobs.retried(a_job(State.FAILED, attempt=2, tries=2, error=ERROR))
    assert (again.state, again.attempt, again.tries, again.error) == (State.QUEUED, 2, 0, None)
    for state in State:
        if state not in TERMINAL:
            with pytest.raises(JobActive):
                jobs.retried(a_job(state))
        if state in ACTIVE:
            with pytest.raises(JobActive):
                jobs.deletable(a_job(state))
        else:
            jobs.deletable(a_job(state))


def test_a_backoff_doubles_with_jitter_up_to_an_hour_or_is_what_the_callable_says() -> None:
    def middle(low: float, high: float) -> float:
        return (low + high) / 2

    assert [jobs.backoff(2.0, attempt, middle) for attempt in (1, 2, 3)] == [2.0, 4.0, 8.0]
    assert jobs.backoff(2.0, 99, middle) == jobs.MAX_BACKOFF
    assert 1.8 <= jobs.backoff(2.0, 1) <= 2.2
    assert jobs.backoff(lambda attempt: attempt * 7, 3) == 21.0
    assert jobs.backoff(lambda attempt: -1, 1) == 0.0


def test_a_fraction_and_a_time_left_are_said_only_where_they_are_known() -> None:
    assert Progress(done=84, total=200, rate=9.7).fraction == 0.42
    assert Progress(done=84).fraction is None
    assert Progress(done=0, total=0).fraction == 1.0
    assert Progress(done=300, total=200).fraction == 1.0
    assert Progress(done=10, total=20, rate=5.0).eta_seconds == 2.0
    assert Progress(done=10, total=20).eta_seconds is None
