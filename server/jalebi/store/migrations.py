"""The numbered steps from an empty SQLite database to today's schema; a step is never changed once released."""

from typing import Any, Final

from jalebi.errors import StorageError

_FIRST: Final = """
CREATE TABLE job (
    id VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, queue VARCHAR NOT NULL, priority INTEGER NOT NULL,
    tags VARCHAR NOT NULL, state VARCHAR NOT NULL, attempt INTEGER NOT NULL, tries INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL, timeout FLOAT NOT NULL, seq INTEGER NOT NULL, cursor INTEGER NOT NULL,
    created_at FLOAT NOT NULL, run_at FLOAT, started_at FLOAT, finished_at FLOAT, expires_at FLOAT,
    worker VARCHAR, lease_until FLOAT, error TEXT, progress TEXT, args TEXT NOT NULL
);
CREATE INDEX job_ready ON job (priority DESC, id) WHERE state = 'queued';
CREATE INDEX job_ready_kind ON job (kind, priority DESC, id) WHERE state = 'queued';
CREATE INDEX job_line ON job (queue, priority DESC, id) WHERE state = 'queued';
CREATE INDEX job_due ON job (run_at) WHERE state IN ('scheduled', 'retrying');
CREATE INDEX job_active ON job (kind, lease_until) WHERE state IN ('running', 'cancelling');
CREATE INDEX job_state ON job (state, id);
CREATE INDEX job_kind ON job (kind, id);
CREATE INDEX job_queue ON job (queue, id);
CREATE TABLE job_tag (tag VARCHAR NOT NULL, job_id VARCHAR NOT NULL, PRIMARY KEY (tag, job_id)) WITHOUT ROWID;
CREATE TABLE event (
    number INTEGER NOT NULL PRIMARY KEY, job_id VARCHAR NOT NULL, seq INTEGER NOT NULL, type VARCHAR NOT NULL,
    at FLOAT NOT NULL, line INTEGER, body TEXT
);
CREATE UNIQUE INDEX event_job ON event (job_id, seq);
CREATE INDEX event_line ON event (job_id, line) WHERE line IS NOT NULL;
CREATE TABLE result (job_id VARCHAR NOT NULL PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE file (
    job_id VARCHAR NOT NULL, name VARCHAR NOT NULL, size INTEGER NOT NULL, media_type VARCHAR NOT NULL,
    path VARCHAR NOT NULL, at FLOAT NOT NULL, PRIMARY KEY (job_id, name)
) WITHOUT ROWID;
CREATE TABLE tally (
    queue VARCHAR NOT NULL, state VARCHAR NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (queue, state)
) WITHOUT ROWID;
CREATE TRIGGER tally_insert AFTER INSERT ON job BEGIN
    INSERT INTO tally VALUES (new.queue, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER tally_delete AFTER DELETE ON job BEGIN
    UPDATE tally SET n = n - 1 WHERE queue = old.queue AND state = old.state;
END;
CREATE TRIGGER tally_update AFTER UPDATE OF state, queue ON job
    WHEN old.state <> new.state OR old.queue <> new.queue BEGIN
    UPDATE tally SET n = n - 1 WHERE queue = old.queue AND state = old.state;
    INSERT INTO tally VALUES (new.queue, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TABLE pulse (
    second INTEGER NOT NULL PRIMARY KEY, created INTEGER NOT NULL, completed INTEGER NOT NULL,
    failed INTEGER NOT NULL, cancelled INTEGER NOT NULL
);
CREATE TABLE meta (name VARCHAR NOT NULL PRIMARY KEY, value VARCHAR NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(4)))), ('number', '0');
"""

_SECOND: Final = """
ALTER TABLE job ADD COLUMN cancellation TEXT;
UPDATE job SET expires_at = finished_at + 2592000 WHERE finished_at IS NOT NULL;
CREATE INDEX job_expires ON job (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE idempotency (
    caller VARCHAR NOT NULL, key VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, jobs VARCHAR NOT NULL,
    at FLOAT NOT NULL, PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);
INSERT INTO meta VALUES ('floor', '0');
"""

_THIRD: Final = """
DROP TRIGGER tally_insert;
DROP TRIGGER tally_delete;
DROP TRIGGER tally_update;
DROP TABLE tally;
CREATE TABLE tally (
    queue VARCHAR NOT NULL, kind VARCHAR NOT NULL, state VARCHAR NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (queue, kind, state)
) WITHOUT ROWID;
INSERT INTO tally SELECT queue, kind, state, count(*) FROM job GROUP BY queue, kind, state;
CREATE INDEX tally_ready ON tally (kind, queue) WHERE state = 'queued' AND n > 0;
CREATE TRIGGER tally_insert AFTER INSERT ON job BEGIN
    INSERT INTO tally VALUES (new.queue, new.kind, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER tally_delete AFTER DELETE ON job BEGIN
    UPDATE tally SET n = n - 1 WHERE queue = old.queue AND kind = old.kind AND state = old.state;
END;
CREATE TRIGGER tally_update AFTER UPDATE OF state, queue ON job
    WHEN old.state <> new.state OR old.queue <> new.queue BEGIN
    UPDATE tally SET n = n - 1 WHERE queue = old.queue AND kind = old.kind AND state = old.state;
    INSERT INTO tally VALUES (new.queue, new.kind, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
DROP INDEX job_ready_kind;
CREATE INDEX job_ready_kind ON job (kind, queue, priority DESC, id) WHERE state = 'queued';
CREATE INDEX job_done ON job (kind, id) WHERE state = 'completed';
CREATE TABLE queue (name VARCHAR NOT NULL PRIMARY KEY, paused BOOLEAN NOT NULL, max_running INTEGER) WITHOUT ROWID;
ALTER TABLE job ADD COLUMN fingerprint VARCHAR;
CREATE INDEX job_fault ON job (fingerprint, id) WHERE fingerprint IS NOT NULL;
CREATE TABLE fault (
    fingerprint VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, type VARCHAR NOT NULL, message VARCHAR NOT NULL,
    first_at FLOAT NOT NULL, last_at FLOAT NOT NULL, total INTEGER NOT NULL, failed INTEGER NOT NULL,
    sample VARCHAR NOT NULL
) WITHOUT ROWID;
CREATE INDEX fault_last ON fault (last_at);
CREATE TABLE fault_hour (
    fingerprint VARCHAR NOT NULL, hour INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (fingerprint, hour)
) WITHOUT ROWID;
CREATE TRIGGER fault_marked AFTER UPDATE OF fingerprint ON job WHEN old.fingerprint IS NOT new.fingerprint BEGIN
    UPDATE fault SET failed = failed - 1 WHERE fingerprint = old.fingerprint;
    UPDATE fault SET failed = failed + 1 WHERE fingerprint = new.fingerprint;
END;
CREATE TRIGGER fault_deleted AFTER DELETE ON job WHEN old.fingerprint IS NOT NULL BEGIN
    UPDATE fault SET failed = failed - 1 WHERE fingerprint = old.fingerprint;
END;
CREATE TABLE trend (
    step INTEGER NOT NULL, queue VARCHAR NOT NULL, at INTEGER NOT NULL, created INTEGER NOT NULL,
    completed INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, waiting INTEGER NOT NULL,
    running INTEGER NOT NULL, waits VARCHAR NOT NULL, runs VARCHAR NOT NULL, PRIMARY KEY (step, queue, at)
) WITHOUT ROWID;
"""

_FOURTH: Final = """
ALTER TABLE job ADD COLUMN batch VARCHAR;
ALTER TABLE job ADD COLUMN ties TEXT;
CREATE INDEX job_batch ON job (batch, id) WHERE batch IS NOT NULL;
CREATE TABLE dependency (
    after_id VARCHAR NOT NULL, job_id VARCHAR NOT NULL, PRIMARY KEY (after_id, job_id)
) WITHOUT ROWID;
CREATE INDEX dependency_job ON dependency (job_id);
CREATE TABLE batch (
    id VARCHAR NOT NULL PRIMARY KEY, created_at FLOAT NOT NULL, number INTEGER NOT NULL, webhook VARCHAR, last VARCHAR
) WITHOUT ROWID;
CREATE TABLE batch_tally (
    batch VARCHAR NOT NULL, state VARCHAR NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (batch, state)
) WITHOUT ROWID;
CREATE TRIGGER batch_insert AFTER INSERT ON job WHEN new.batch IS NOT NULL BEGIN
    INSERT INTO batch_tally VALUES (new.batch, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER batch_delete AFTER DELETE ON job WHEN old.batch IS NOT NULL BEGIN
    UPDATE batch_tally SET n = n - 1 WHERE batch = old.batch AND state = old.state;
END;
CREATE TRIGGER batch_update AFTER UPDATE OF state ON job WHEN old.batch IS NOT NULL AND old.state <> new.state BEGIN
    UPDATE batch_tally SET n = n - 1 WHERE batch = old.batch AND state = old.state;
    INSERT INTO batch_tally VALUES (new.batch, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TABLE delivery (
    id VARCHAR NOT NULL PRIMARY KEY, job_id VARCHAR, batch VARCHAR, event VARCHAR NOT NULL, url VARCHAR NOT NULL,
    host VARCHAR NOT NULL,
    body TEXT NOT NULL, state VARCHAR NOT NULL, tries INTEGER NOT NULL, next_at FLOAT NOT NULL,
    created_at FLOAT NOT NULL, ended_at FLOAT
) WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (host, next_at) WHERE state = 'pending';
CREATE INDEX delivery_job ON delivery (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX delivery_batch ON delivery (batch) WHERE batch IS NOT NULL;
CREATE TABLE delivery_try (
    delivery_id VARCHAR NOT NULL, number INTEGER NOT NULL, at FLOAT NOT NULL, seconds FLOAT NOT NULL, status INTEGER,
    error VARCHAR, answer VARCHAR, PRIMARY KEY (delivery_id, number)
) WITHOUT ROWID;
CREATE TABLE endpoint (
    id VARCHAR NOT NULL PRIMARY KEY, url VARCHAR NOT NULL, secret VARCHAR NOT NULL, previous VARCHAR,
    previous_until FLOAT, created_at FLOAT NOT NULL
) WITHOUT ROWID;
"""

#: The counts are moved by the writer, once a transaction and not once a row (see `tally`).
_FIFTH: Final = """
DROP TRIGGER tally_insert;
DROP TRIGGER tally_delete;
DROP TRIGGER tally_update;
DROP TRIGGER batch_insert;
DROP TRIGGER batch_delete;
DROP TRIGGER batch_update;
"""

STEPS: Final = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)
#: Marks the file as ours (SQLite's application_id): "Jalb".
APPLICATION_ID: Final = 0x4A616C62


def check(connection: Any, path: str) -> int:
    """Return the schema's version of an open SQLite database, 0 of an empty one.

    Raises StorageError, and changes nothing, where the database is another program's or from a newer version.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if owner != APPLICATION_ID and not empty:
        raise StorageError(f"The database {path} belongs to another program.")
    if version > len(STEPS):
        raise StorageError(
            f"The database {path} is from a newer version of Jalebi (schema {version}, this one knows {len(STEPS)})."
        )
    return version


def migrate(connection: Any, version: int) -> None:
    """Bring a checked database of that version up to date, each step in a transaction of its own."""
    for number, step in enumerate(STEPS[version:], start=version + 1):
        pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};"
        connection.executescript(f"BEGIN IMMEDIATE;{step}{pragmas}COMMIT;")
