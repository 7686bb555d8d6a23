"""The plain loops that stand beside what is measured: one commit a job, one call a job in a pool of processes."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

try:
    import pysqlite3.dbapi2 as sqlite  # the one that Jalebi takes where there is a choice
except ImportError:
    import sqlite3 as sqlite


def sqlite_version() -> str:
    """Return the version of the SQLite in use."""
    return str(sqlite.sqlite_version)


def database(file: Path) -> Any:
    """Open a database; each statement is a transaction of its own."""
    return sqlite.connect(str(file), isolation_level=None)


def commits(folder: Path, count: int, pause: float = 0.0) -> list[float]:
    """Insert one row a transaction, synchronous=FULL, in a plain loop; return the seconds of each.

    `pause` is how long to idle before each: a disk and a core that have rested are slower than busy ones.
    """
    connection = database(folder / "plain.db")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, kind TEXT, args TEXT, at REAL)")
        took = []
        for _ in range(count):
            if pause:
                time.sleep(pause)
            began = time.perf_counter()
            connection.execute(
                "INSERT INTO job (kind, args, at) VALUES (?, ?, ?)", ("noop", '{"title":"Q3","pages":200}', began)
            )
            took.append(time.perf_counter() - began)
        return took
    finally:
        connection.close()


def grouped(folder: Path, count: int, size: int) -> float:
    """Insert rows in transactions of `size`, synchronous=FULL, in a plain loop; return the rows a second."""
    connection = database(folder / "plain.db")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, kind TEXT, args TEXT, at REAL)")
        row = ("noop", '{"title":"Q3","pages":200}', time.time())
        began = time.perf_counter()
        for _ in range(count // size):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO job (kind, args, at) VALUES (?, ?, ?)", [row] * size)
            connection.execute("COMMIT")
        return count // size * size / (time.perf_counter() - began)
    finally:
        connection.close()


def nothing(number: int) -> int:
    """Be a job of the pool."""
    return number


def pool_rates(jobs: int, workers: int, rounds: int) -> list[float]:
    """Return the no-op calls a second of a pool of processes that have started, in each round."""
    rates = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(nothing, range(20 * workers)))
        for _ in range(rounds):
            began = time.perf_counter()
            for future in [pool.submit(nothing, number) for number in range(jobs)]:
                future.result()
            rates.append(jobs / (time.perf_counter() - began))
    return rates
