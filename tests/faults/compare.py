"""What must hold between any two writes: the tables, the events and the counts against the model."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from jalebi.events import Event
from jalebi.jobs import MOVES, Job, State
from jalebi.store import reads, search
from jalebi.store.fingerprints import fingerprint
from tests.faults.model import ACTIVE, KINDS, Known, Model

_ALL: Final = 10**6


@dataclass
class Tables:
    """What the store holds, read in one go."""

    jobs: dict[str, Job]
    events: list[Event]
    number: int
    results: dict[str, str]
    files: set[tuple[str, str, int]]
    tags: set[tuple[str, str]]
    tally: dict[str, dict[str, int]]
    counts: dict[str, int]
    places: dict[str, int]
    pulse: Sequence[tuple[int, int, int, int, int]]
    marks: dict[str, str]
    faults: dict[str, tuple[int, int]]
    keys: dict[str, tuple[str, list[str], float]]
    floor: int


def everything(connection: Connection) -> Tables:
    """Read all that is kept."""

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]

    jobs = {job.id: job for job in search.find(connection, reads.Filter(), limit=_ALL).jobs}
    number = reads.last_number(connection)
    return Tables(
        jobs=jobs,
        events=reads.events(connection, after=0, upto=number, limit=_ALL),
        number=number,
        results=dict(rows("SELECT job_id, body FROM result")),
        files=set(rows("SELECT job_id, name, size FROM file")),
        tags=set(rows("SELECT tag, job_id FROM job_tag")),
        tally=reads.queue_counts(connection),
        counts=reads.counts(connection),
        places=reads.positions(connection, list(jobs)),
        pulse=reads.pulse(connection, since=0),
        marks=dict(rows("SELECT id, fingerprint FROM job WHERE fingerprint IS NOT NULL")),
        faults={mark: (total, failed) for mark, total, failed in rows("SELECT fingerprint, total, failed FROM fault")},
        keys={
            key: (fingerprint, json.loads(ids), at)
            for key, fingerprint, ids, at in rows("SELECT key, fingerprint, jobs, at FROM idempotency")
        },
        floor=reads.floor(connection),
    )


def compare(model: Model, heard: Sequence[Event], tables: Tables) -> None:
    """Fail where what is kept, or what was told, is not what the model says."""
    assert tables.jobs.keys() == model.jobs.keys()
    for known in model.jobs.values():
        job = tables.jobs[known.id]
        assert _as_kept(job) == _as_known(known), known
        assert job.tries <= job.max_attempts
    active = Counter(job.kind for job in tables.jobs.values() if job.state in ACTIVE)
    assert all(most is None or active[kind] <= most for kind, most in KINDS.items())
    _compare_events(model, heard, tables)
    _compare_belongings(model, tables)
    assert tables.floor == max((event.number for event in heard if event.job.id in model.pruned), default=0)
    _compare_counts(model, heard, tables)


def _as_kept(job: Job) -> tuple[Any, ...]:
    error = None if job.error is None else (job.error["type"], job.error.get("attempt"))
    receipts = {} if job.cancellation is None else msgspec.structs.asdict(job.cancellation)
    return (
        job.state.value, job.attempt, job.tries, job.max_attempts, job.seq, job.run_at, job.worker, job.lease_until,
        job.started_at, job.finished_at, job.expires_at, error, None if job.progress is None else job.progress.done,
        {name: at for name, at in receipts.items() if at is not None},
    )  # fmt: skip


def _as_known(job: Known) -> tuple[Any, ...]:
    return (
        job.state, job.attempt, job.tries, job.max_attempts, len(job.events), job.run_at, job.worker, job.lease_until,
        job.started_at, job.finished_at, job.expires_at, job.error, job.done, job.receipts,
    )  # fmt: skip


def _compare_events(model: Model, heard: Sequence[Event], tables: Tables) -> None:
    assert [event.number for event in heard] == list(range(1, tables.number + 1)), "numbers were lost or given twice"
    told = [(e.number, e.job.id, e.seq, e.type) for e in heard if e.job.id in model.jobs]
    assert [(e.number, e.job.id, e.seq, e.type) for e in tables.events] == told
    by_job: dict[str, list[Event]] = defaultdict(list)
    for event in tables.events:
        by_job[event.job.id].append(event)
    for known in model.jobs.values():
        events, job = by_job[known.id], tables.jobs[known.id]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [(event.type, event.job.state.value) for event in events] == known.events
        assert job.cursor == events[-1].number
        _fold(job, events)


def _fold(job: Job, events: Sequence[Event]) -> None:
    """Follow a job through its events: allowed moves only, each attempt started once, and it ends where it is."""
    state: State = events[0].job.state
    attempts: list[int] = []
    lines: list[int] = []
    last = events[0].job
    for event in events[1:]:
        if event.type == "log":
            lines.append((event.extra or {})["log"]["line"])
        if event.type in {"log", "file"}:
            assert event.job.state is state
            assert state in ACTIVE
            continue
        assert event.job.state in MOVES[state], f"{state} -> {event.job.state}"
        state, last = event.job.state, event.job
        if event.type == "started":
            attempts.append(event.job.attempt)
    assert attempts == list(range(1, job.attempt + 1)), "an attempt was started twice, or never"
    assert lines == list(range(1, len(lines) + 1))
    for name in ("state", "attempt", "tries", "started_at", "finished_at", "expires_at", "error"):
        assert getattr(last, name) == getattr(job, name), name
    # A clock that is set takes the times of retries with it, and tells nobody.
    assert last.run_at == job.run_at or (state is State.RETRYING and last.run_at and job.run_at)


def _compare_belongings(model: Model, tables: Tables) -> None:
    jobs = model.jobs.values()
    assert tables.keys == model.keys
    assert tables.results == {job.id: job.result for job in jobs if job.state == "completed"}
    assert tables.files == {(job.id, name, size) for job in jobs for name, size in job.files.items()}
    assert tables.tags == {(tag, job.id) for job in jobs for tag in ("one", job.kind)}


def _compare_counts(model: Model, heard: Sequence[Event], tables: Tables) -> None:
    real: dict[str, Counter[str]] = defaultdict(Counter)
    for job in tables.jobs.values():
        real[job.queue][job.state.value] += 1
    kept = {queue: {state: n for state, n in counts.items() if n} for queue, counts in tables.tally.items()}
    assert {queue: counts for queue, counts in kept.items() if counts} == real, "the tally is not the count"
    assert {state: n for state, n in tables.counts.items() if n} == sum(real.values(), Counter())
    line = sorted(
        (job for job in model.jobs.values() if job.state == "queued"),
        key=lambda job: (job.queue, -job.priority, job.id),
    )
    places = {
        job.id: place for _, same in groupby(line, lambda job: job.queue) for place, job in enumerate(same, start=1)
    }
    assert tables.places == places
    assert tables.marks == {
        job.id: fingerprint(job.kind, job.error or {}) for job in tables.jobs.values() if job.state is State.FAILED
    }
    standing = Counter(tables.marks.values())
    failures = Counter(
        fingerprint(event.job.kind, event.job.error or {}) for event in heard if event.type in {"failed", "retrying"}
    )
    assert tables.faults == {mark: (total, standing[mark]) for mark, total in failures.items()}
    ended = Counter(event.type for event in heard)
    assert [sum(column) for column in list(zip(*tables.pulse, strict=True))[1:]] == [
        ended[type_] for type_ in ("created", "completed", "failed", "cancelled") if heard
    ]
