"""Many rows by one statement: a value that all rows share is bound once, what differs goes as one JSON array.

The interpreter lock is given up once a statement and not once a row, and SQLite takes apart only what differs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from jalebi.events import encode

#: Columns by name, each with its value in every row.
Columns = Sequence[tuple[str, Sequence[Any]]]


def insert(connection: Any, into: str, columns: Columns, then: str = "") -> None:
    """Insert rows; `into` is `INTO table` with what goes before it, `then` a conflict clause.

    A column without any value is left out.
    """
    if not columns[0][1]:
        return
    names, values, shared, packed = _parts([item for item in columns if not _empty(item[1])])
    statement = f"INSERT {into} ({', '.join(names)}) SELECT {', '.join(values)}"
    if packed is None:
        connection.execute(f"{statement} WHERE true {then}", shared)
    else:
        connection.execute(f"{statement} FROM json_each(?) WHERE true {then}", (*shared, packed))


def update(connection: Any, table: str, columns: Columns) -> None:
    """Write the other columns, if there are any, into the rows that the first column names."""
    key, keys = columns[0]
    if len(columns) == 1:
        return
    if keys.count(keys[0]) == len(keys):  # one row, perhaps more than once
        sets = ", ".join(f"{name} = ?" for name, _ in columns[1:])
        bound = [*(column[-1] for _, column in columns[1:]), keys[-1]]
        connection.execute(f"UPDATE {table} SET {sets} WHERE {key} = ?", bound)
        return
    names, values, shared, packed = _parts(columns)
    # What is shared stands in the SET clause and comes first; what differs comes out of the JSON, the key with it.
    pairs = list(zip(names, values, strict=True))
    sets = ", ".join(f"{name} = {'?' if value == '?' else f'v.{name}'}" for name, value in pairs[1:])
    differing = ", ".join(f"{value} AS {name}" for name, value in pairs if value != "?")
    connection.execute(
        f"UPDATE {table} SET {sets} FROM (SELECT {differing} FROM json_each(?)) AS v WHERE {table}.{key} = v.{key}",
        (*shared, packed),
    )


def columns_of(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Columns:
    """Return rows as columns."""
    found = list(zip(*rows, strict=True)) or [()] * len(names)
    return list(zip(names, found, strict=True))


def _empty(column: Sequence[Any]) -> bool:
    return column[0] is None and column.count(None) == len(column)


def _parts(columns: Columns) -> tuple[list[str], list[str], list[Any], str | None]:
    """Return names, their values in SQL, the parameters that all rows share, and the rest as JSON text."""
    values: list[str] = []
    shared: list[Any] = []
    differing: list[Sequence[Any]] = []
    for _, column in columns:
        if column.count(column[0]) == len(column):
            values.append("?")
            shared.append(column[0])
        else:
            values.append(f"value->>{len(differing)}")
            differing.append(column)
    packed = encode(list(zip(*differing, strict=True))).decode() if differing else None
    return [name for name, _ in columns], values, shared, packed
