"""Makes a database of many jobs within a minute: rows by SQL into the store's own schema, whose triggers count them."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import plain
from benchmarks.processes import CannotRun
from jalebi.store.migrations import STEPS, migrate

KINDS: Final = tuple(f"{what}_{of}" for what in ("export", "import", "resize", "send", "render", "check")
                     for of in ("invoices", "photos", "orders", "letters", "reports"))  # fmt: skip
QUEUES: Final = ("default", "mail", "images", "reports", "imports", "exports", "night", "vip")
#: How many jobs run, however many there are.
RUNNING: Final = 200
#: The newest so many jobs have events, and the completed ones of them results.
WITH_EVENTS: Final = 50_000
#: Seconds over which the jobs were created.
SPAN: Final = 20 * 86400.0
_FAULTS: Final = 20

#: Numbers 1 to :jobs, oldest first. The newest wait, those before them run, and most of the rest is completed.
_NUMBERED: Final = """
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :jobs),
placed AS (SELECT n, :now - :span * (:jobs - n) / :jobs - 1 AS at, :jobs - n AS back,
    n * 7919 % 100003 AS mixed FROM counted),
stated AS (SELECT *, CASE
    WHEN back < :queued THEN 'queued' WHEN back < :queued + :running THEN 'running'
    WHEN mixed % 500 = 7 THEN 'scheduled' WHEN mixed % 2000 = 11 THEN 'retrying'
    WHEN mixed % 100 = 3 THEN 'failed' WHEN mixed % 250 = 5 THEN 'cancelled' ELSE 'completed' END AS state,
    (n * 7 + n / 30) % 30 AS kind, mixed % 40 / 2.0 + 0.5 AS took FROM placed)
"""
_MILLISECONDS: Final = "printf('%012x', CAST(at * 1000 AS INTEGER))"
_OVER: Final = "state IN ('completed', 'failed', 'cancelled')"
_BEGUN: Final = f"state = 'running' OR {_OVER}"
_ERROR: Final = (
    """printf('{{"type":"ValueError","message":"No price for item %d","traceback":"Traceback """
    """(most recent call last):\\n  File \\"shop.py\\", line 12","attempt":3}}', {n})"""
)
#: Each column of `job` as an expression; one that is missing here must have a default.
_JOB: Final = {
    # The counter of an id has 12 bits, the rest is noise; that of the time sorts.
    "id": f"substr({_MILLISECONDS}, 1, 8) || '-' || substr({_MILLISECONDS}, 9) || printf('-7%03x-8%03x-%012x', "
    "n % 4096, mixed % 4096, n * 2654435761 % 281474976710656)",
    "kind": "(SELECT name FROM kinds WHERE number = kind)",
    "queue": "CASE WHEN state = 'queued' AND n % 3 > 0 THEN 'default' "
    "ELSE (SELECT name FROM queues WHERE number = kind % 8) END",
    "priority": "CASE WHEN mixed % 20 = 0 THEN 5 ELSE 0 END",
    "tags": """CASE WHEN n % 10 = 0 THEN printf('["customer-%d","nightly"]', n % 1000)
        WHEN n % 5 = 0 THEN printf('["customer-%d"]', n % 1000) ELSE '[]' END""",
    "state": "state",
    "attempt": f"CASE WHEN state IN ('failed', 'retrying') THEN 3 WHEN {_BEGUN} THEN 1 ELSE 0 END",
    "tries": f"CASE WHEN state IN ('failed', 'retrying') THEN 3 WHEN {_BEGUN} THEN 1 ELSE 0 END",
    "max_attempts": "3",
    "timeout": "900.0",
    "seq": f"CASE WHEN {_OVER} THEN 3 + (n % 2) WHEN state = 'running' THEN 2 ELSE 1 END",
    "cursor": "max(0, (n - :jobs + :with_events) * 4 - "
    f"CASE WHEN {_OVER} THEN 0 WHEN state = 'running' THEN 2 ELSE 3 END)",
    "created_at": "at",
    "run_at": "CASE WHEN state IN ('scheduled', 'retrying') THEN :now + 86400 + mixed END",
    "started_at": f"CASE WHEN {_BEGUN} THEN at + 0.2 END",
    "finished_at": f"CASE WHEN {_OVER} THEN at + 0.2 + took END",
    "expires_at": f"CASE WHEN {_OVER} THEN at + took + 86400 * 3650 END",
    "worker": "CASE WHEN state = 'running' THEN 'seeded' END",
    "lease_until": "CASE WHEN state = 'running' THEN :now + 86400 END",
    "error": f"CASE WHEN state = 'failed' THEN {_ERROR.format(n=f'mixed / 100 % {_FAULTS}')} END",
    "fingerprint": f"CASE WHEN state = 'failed' THEN printf('%016x', mixed / 100 % {_FAULTS}) END",
    "progress": """CASE WHEN state = 'running' THEN
        printf('{"done":%d,"total":100,"message":"page %d of 100","updated_at":%f}', n % 100, n % 100, :now) END""",
    "args": """printf('{"customer":%d,"title":"Q3 figures %d","pages":200}', n % 1000, n)""",
    "cancellation": "NULL",
}
_BODY: Final = """json_object('state', {state}, 'attempt', {attempt}, 'tries', {attempt}, 'run_at', NULL,
    'started_at', {started}, 'finished_at', {finished}, 'error', json({error}), 'progress', NULL)"""
_RECENT: Final = (
    "SELECT *, row_number() OVER (ORDER BY id) AS n FROM (SELECT * FROM job ORDER BY id DESC LIMIT :with_events)"
)


def seeded(jobs: int) -> Path:
    """Return a database of so many jobs in the system's folder for temporary files, made if it is not there yet."""
    source = Path(__file__).read_bytes() + "".join(STEPS).encode()
    path = Path(tempfile.gettempdir()) / f"jalebi-bench-{jobs}-{hashlib.sha256(source).hexdigest()[:12]}.db"
    if not path.exists():
        making = path.with_suffix(f".{os.getpid()}")
        try:
            _make(making, jobs)
            making.rename(path)
        finally:
            remove(making)
    return path


def remove(path: Path) -> None:
    """Delete a database with all that stands beside it."""
    shutil.rmtree(f"{path}-files", ignore_errors=True)
    for beside in path.parent.glob(f"{path.name}*"):
        beside.unlink(missing_ok=True)


def set_running(path: Path, now: float) -> None:
    """Let the jobs run again that a server took back when it opened the database."""
    connection = plain.database(path)
    try:
        connection.execute(
            "UPDATE job SET state = 'running', run_at = NULL, lease_until = ?, finished_at = NULL, expires_at = NULL, "
            "error = NULL WHERE worker = 'seeded' OR id IN (SELECT id FROM seeded_running)",
            (now + 86400,),
        )
    finally:
        connection.close()


def _make(path: Path, jobs: int) -> None:
    connection = plain.database(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        migrate(connection, 0)
        values = {
            "jobs": jobs, "now": time.time(), "span": SPAN, "queued": jobs * 15 // 1000, "running": RUNNING,
            "with_events": min(WITH_EVENTS, jobs),
        }  # fmt: skip
        connection.execute("BEGIN")
        _fill(connection, values)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _fill(connection: Any, values: dict[str, Any]) -> None:
    for table, names in (("kinds", KINDS), ("queues", QUEUES)):
        connection.execute(f"CREATE TEMP TABLE {table} (number INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", list(enumerate(names)))
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name IN ('job', 'event') AND sql NOT NULL"
    ).fetchall()
    for name, _ in indexes:  # made at the end: that is faster than to keep them up
        connection.execute(f"DROP INDEX {name}")
    columns = _columns(connection)
    connection.execute(
        f"{_NUMBERED} INSERT INTO job ({', '.join(columns)}) "
        f"SELECT {', '.join(_JOB[name] for name in columns)} FROM stated",
        values,
    )
    for tag in (0, 1):
        connection.execute(
            f"INSERT INTO job_tag SELECT json_extract(tags, '$[{tag}]') AS tag, id FROM job "
            f"WHERE json_array_length(tags) > {tag} ORDER BY tag, id"
        )
    connection.execute("INSERT INTO tally SELECT queue, kind, state, count(*) FROM job GROUP BY queue, kind, state")
    connection.execute("CREATE TABLE seeded_running AS SELECT id FROM job WHERE state = 'running'")
    # Nothing is started: what waits goes on waiting while a worker stands by, which some pages show.
    connection.executemany("INSERT INTO queue (name, paused) VALUES (?, 1)", [(name,) for name in QUEUES])
    _add_events(connection, values)
    _add_figures(connection, values["now"])
    _add_faults(connection, values["now"])
    for _, text in indexes:
        connection.execute(text)


def _columns(connection: Any) -> list[str]:
    found = connection.execute("PRAGMA table_info(job)").fetchall()
    unknown = [name for _, name, _, needed, default, _ in found if name not in _JOB and needed and default is None]
    if unknown:
        raise CannotRun(f"The benchmark does not know what to write into job.{', job.'.join(unknown)}.")
    return [name for _, name, *_ in found if name in _JOB]


def _add_events(connection: Any, values: dict[str, Any]) -> None:
    """Add two to four events to each of the newest jobs: created, started, a line of its log, and how it ended."""
    created = _BODY.format(state="'queued'", attempt=0, started="NULL", finished="NULL", error="'null'")
    started = _BODY.format(state="'running'", attempt=1, started="started_at", finished="NULL", error="'null'")
    ended = _BODY.format(
        state="state", attempt="attempt", started="started_at", finished="finished_at", error="coalesce(error, 'null')"
    )
    line = """'{"log":{"level":"info","message":"wrote page 12 of 200"},"state":"running"}'"""
    for place, type_, at, logged, body, where in (
        (1, "'created'", "created_at", "NULL", created, "1"),
        (2, "'started'", "started_at", "NULL", started, "seq > 1"),
        (3, "'log'", "started_at + 0.1", "1", line, "seq = 4"),
        (4, "state", "finished_at", "NULL", ended, "seq > 2"),
    ):
        connection.execute(
            f"INSERT INTO event (number, job_id, seq, type, at, line, body) SELECT n * 4 - 4 + {place}, id, "
            f"min(seq, {place}), {type_}, {at}, {logged}, {body} FROM ({_RECENT}) WHERE {where}",
            {"with_events": values["with_events"]},
        )
    connection.execute(
        """INSERT INTO result SELECT id, '{"pages":200}' FROM job WHERE cursor > 0 AND state = 'completed'"""
    )
    connection.execute("UPDATE meta SET value = (SELECT CAST(max(number) AS TEXT) FROM event) WHERE name = 'number'")


def _add_figures(connection: Any, now: float) -> None:
    """Add what the charts show: every second of the last hours, and every step of the trends."""
    connection.executemany(
        "INSERT OR REPLACE INTO pulse (second, created, completed, failed, cancelled) VALUES (?, 20, 18, 1, 1)",
        [(int(now) - back,) for back in range(2 * 3600)],
    )
    histogram = json.dumps({str(bucket): 40 for bucket in range(-10, 30)})
    for step, kept in ((10, 2 * 3600), (900, 8 * 86400)):
        end = int(now) // step * step
        connection.executemany(
            "INSERT OR REPLACE INTO trend (step, queue, at, created, completed, failed, cancelled, waiting, running, "
            "waits, runs) VALUES (?, ?, ?, 200, 190, 5, 5, 100, 20, ?, ?)",
            [
                (step, queue, end - back, histogram, histogram)
                for queue in ("", *QUEUES)
                for back in range(0, kept, step)
            ],
        )


def _add_faults(connection: Any, now: float) -> None:
    connection.execute(
        "INSERT INTO fault (fingerprint, kind, type, message, first_at, last_at, total, failed, sample) "
        "SELECT fingerprint, max(kind), 'ValueError', 'No price for item', min(finished_at), max(finished_at), "
        "3 * count(*), count(*), max(id) FROM job WHERE fingerprint IS NOT NULL GROUP BY fingerprint"
    )
    connection.execute(
        "INSERT INTO fault_hour (fingerprint, hour, n) SELECT fingerprint, CAST(finished_at / 3600 AS INTEGER), "
        "count(*) FROM job WHERE fingerprint IS NOT NULL AND finished_at > ? GROUP BY 1, 2",
        (now - 8 * 86400,),
    )
