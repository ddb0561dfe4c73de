"""The catalog's rows: SQLite tables with proper columns, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.errors import SchemaError
from jobs.stores.contract import Record, RecordTable
from jobs.stores.embedded.cells import quoted
from jobs.stores.embedded.connection import Connections

_TYPES = {"text": "TEXT", "bigint": "INTEGER", "double": "REAL", "boolean": "INTEGER"}
_PAGE_ROWS = 1000


class EmbeddedRecords:
    """Small rows with compare-and-set, see ``stores.contract.Records``. Every call is one transaction."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def ensure(self, tables: Sequence[RecordTable]) -> None:
        """Create what is missing; existing tables stay as they are."""
        self._connections.ensure({f"catalog_{table.name}": _created(table) for table in tables})

    def has(self, table: RecordTable) -> bool:
        """Whether the table is there."""
        query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
        with self._connections.borrow() as connection:
            return connection.execute(query, (f"catalog_{table.name}",)).fetchone() is not None

    def get(self, table: RecordTable, key: Record) -> Record | None:
        """The row of that full primary key."""
        condition, parameters = _matching(table, {name: key[name] for name in table.keys})
        with self._connections.borrow() as connection:
            row = connection.execute(f"{_select(table)} WHERE {condition}", parameters).fetchone()
        return None if row is None else _record(table, row)

    def select(self, table: RecordTable, partition: Record) -> Iterator[Record]:
        """The rows of one partition in clustering order; of the whole table where ``partition`` is empty."""
        condition, parameters = _matching(table, partition)
        keys = ", ".join(quoted(name) for name in table.keys)
        places = ", ".join("?" * len(table.keys))
        tail = f"ORDER BY {keys} LIMIT {_PAGE_ROWS}"
        statement = f"{_select(table)} WHERE {condition} {tail}"
        last: list[object] = []
        while True:
            with self._connections.borrow() as connection:
                rows = connection.execute(statement, [*parameters, *last]).fetchall()
            records = [_record(table, row) for row in rows]
            yield from records
            if len(rows) < _PAGE_ROWS:
                return
            last = [records[-1][name] for name in table.keys]
            statement = f"{_select(table)} WHERE {condition} AND ({keys}) > ({places}) {tail}"

    def put(self, table: RecordTable, rows: Sequence[Record]) -> None:
        """Write rows, over what was there; columns that a row does not name stay as they are."""
        keys = ", ".join(quoted(name) for name in table.keys)
        with self._connections.transaction() as connection:
            for row in rows:
                changes = ", ".join(f"{quoted(n)} = excluded.{quoted(n)}" for n in row if n not in table.keys)
                action = f"UPDATE SET {changes}" if changes else "NOTHING"
                connection.execute(f"{_insert(table, row)} ON CONFLICT ({keys}) DO {action}", list(row.values()))

    def insert(self, table: RecordTable, row: Record) -> bool:
        """Write a row that must not be there yet; False, and nothing written, where it is."""
        with self._connections.transaction() as connection:
            done = connection.execute(f"{_insert(table, row)} ON CONFLICT DO NOTHING", list(row.values()))
            return done.rowcount == 1

    def update_if(self, table: RecordTable, key: Record, changes: Record, expected: Record) -> bool:
        """Compare-and-set: change the row only while every column of ``expected`` holds that value.

        Null equals null. A row that is not there is never changed.
        """
        condition, parameters = _matching(table, {name: key[name] for name in table.keys} | expected)
        _check_names(table, changes)
        # Without a change the row is set to itself: the comparison alone decides.
        assigned = ", ".join(f"{quoted(name)} = ?" for name in changes) or "{0} = {0}".format(quoted(table.keys[0]))
        statement = f"UPDATE {_name(table)} SET {assigned} WHERE {condition}"
        with self._connections.transaction() as connection:
            return connection.execute(statement, [*changes.values(), *parameters]).rowcount == 1

    def delete(self, table: RecordTable, key: Record) -> None:
        """Delete one row, or with a partition key alone all rows of that partition."""
        if missing := [name for name in table.partition if name not in key]:
            raise SchemaError(f"a deletion in {table.name} lacks {missing[0]} of its partition key")
        condition, parameters = _matching(table, key)
        with self._connections.transaction() as connection:
            connection.execute(f"DELETE FROM {_name(table)} WHERE {condition}", parameters)


def _columns(table: RecordTable) -> list[str]:
    return [*table.keys, *(name for name in table.columns if name not in table.keys)]


def _created(table: RecordTable) -> str:
    parts = []
    for name in _columns(table):
        type_ = table.columns.get(name, "text")
        if type_ not in _TYPES:
            raise SchemaError(f"column {name} of {table.name} has the type {type_}", hint=f"use {', '.join(_TYPES)}")
        parts.append(f"{quoted(name)} {_TYPES[type_]}{' NOT NULL' if name in table.keys else ''}")
    keys = ", ".join(quoted(name) for name in table.keys)
    return f"CREATE TABLE {_name(table)} ({', '.join(parts)}, PRIMARY KEY ({keys})) WITHOUT ROWID"


def _name(table: RecordTable) -> str:
    return quoted(f"catalog_{table.name}")


def _select(table: RecordTable) -> str:
    return f"SELECT {', '.join(quoted(name) for name in _columns(table))} FROM {_name(table)}"


def _insert(table: RecordTable, row: Record) -> str:
    _check_names(table, row)
    if missing := [name for name in table.keys if row.get(name) is None]:
        raise SchemaError(f"a row of {table.name} lacks {missing[0]} of its key")
    names = ", ".join(quoted(name) for name in row)
    return f"INSERT INTO {_name(table)} ({names}) VALUES ({', '.join('?' * len(row))})"


def _check_names(table: RecordTable, row: Record) -> None:
    if unknown := [name for name in row if name not in _columns(table)]:
        raise SchemaError(f"the catalog's table {table.name} has no column {unknown[0]}")


def _matching(table: RecordTable, record: Record) -> tuple[str, list[object]]:
    """A condition that each of these columns holds its value, null-safe, and its parameters."""
    _check_names(table, record)
    return " AND ".join(f"{quoted(name)} IS ?" for name in record) or "1", list(record.values())


def _record(table: RecordTable, row: Sequence[object]) -> Record:
    values = zip(_columns(table), row, strict=True)
    return {
        name: bool(value) if table.columns.get(name) == "boolean" and value is not None else value
        for name, value in values
    }
