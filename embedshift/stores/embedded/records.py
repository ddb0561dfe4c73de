"""The catalog's rows: an SQLite table for each catalog table, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import final

from embedshift.errors import SchemaError
from embedshift.stores.embedded.cell_sql import quoted
from embedshift.stores.embedded.connection import Connections
from embedshift.stores.records import Record, Records, RecordTable

_TYPES = {"text": "TEXT", "bigint": "INTEGER", "double": "REAL", "boolean": "INTEGER"}
_PAGE_ROWS = 1000


@final
class EmbeddedRecords(Records):
    """The catalog's rows in the SQLite file. Every call is one transaction."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def ensure(self, tables: Sequence[RecordTable]) -> None:
        self._connections.ensure({f"catalog_{table.name}": _created(table) for table in tables})

    def has(self, table: RecordTable) -> bool:
        query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
        with self._connections.borrow() as connection:
            return connection.execute(query, (f"catalog_{table.name}",)).fetchone() is not None

    def columns(self, table: RecordTable) -> frozenset[str]:
        with self._connections.borrow() as connection:
            found = connection.execute("SELECT name FROM pragma_table_info(?)", (f"catalog_{table.name}",)).fetchall()
        return frozenset(name for (name,) in found)

    def add_columns(self, table: RecordTable) -> None:
        known = "SELECT name FROM pragma_table_info(?)"
        with self._connections.transaction() as connection:
            present = {name for (name,) in connection.execute(known, (f"catalog_{table.name}",)).fetchall()}
            for name in (each for each in _columns(table) if each not in present):
                kind = _TYPES[table.columns.get(name, "text")]
                connection.execute(f"ALTER TABLE {_name(table)} ADD COLUMN {quoted(name)} {kind}")

    def get(self, table: RecordTable, key: Record) -> Record | None:
        condition, parameters = _matching(table, {name: key[name] for name in table.keys})
        with self._connections.borrow() as connection:
            row = connection.execute(f"{_select(table)} WHERE {condition}", parameters).fetchone()
        return None if row is None else next(_records(table, [row]))

    def select(self, table: RecordTable, partition: Record) -> Iterator[Record]:
        """Each page of rows is a read of its own."""
        condition, parameters = _matching(table, partition)
        keys = ", ".join(quoted(name) for name in table.keys)
        places = ", ".join("?" * len(table.keys))
        tail = f"ORDER BY {keys} LIMIT {_PAGE_ROWS}"
        statement = f"{_select(table)} WHERE {condition} {tail}"
        last: list[object] = []
        while True:
            with self._connections.borrow() as connection:
                rows = connection.execute(statement, [*parameters, *last]).fetchall()
            yield from _records(table, rows)
            if len(rows) < _PAGE_ROWS:
                return
            last = list(rows[-1][: len(table.keys)])  # the keys are selected first
            statement = f"{_select(table)} WHERE {condition} AND ({keys}) > ({places}) {tail}"

    def put(self, table: RecordTable, rows: Sequence[Record]) -> None:
        with self._connections.transaction() as connection:
            for names, alike in groupby(rows, key=tuple):
                connection.executemany(_upsert(table, names), (_complete(table, row) for row in alike))

    def insert(self, table: RecordTable, row: Record) -> bool:
        with self._connections.transaction() as connection:
            statement = f"{_insert(table, tuple(row))} ON CONFLICT DO NOTHING"
            done = connection.execute(statement, _complete(table, row))
            return done.rowcount == 1

    def update_if(self, table: RecordTable, key: Record, changes: Record, expected: Record) -> bool:
        condition, parameters = _matching(table, {name: key[name] for name in table.keys} | expected)
        _check_names(table, changes)
        # Without a change the row is set to itself: the comparison alone decides.
        assigned = ", ".join(f"{quoted(name)} = ?" for name in changes) or "{0} = {0}".format(quoted(table.keys[0]))
        statement = f"UPDATE {_name(table)} SET {assigned} WHERE {condition}"
        with self._connections.transaction() as connection:
            return connection.execute(statement, [*changes.values(), *parameters]).rowcount == 1

    def delete_if(self, table: RecordTable, key: Record, expected: Record) -> bool:
        condition, parameters = _matching(table, {name: key[name] for name in table.keys} | expected)
        with self._connections.transaction() as connection:
            return connection.execute(f"DELETE FROM {_name(table)} WHERE {condition}", parameters).rowcount == 1

    def delete(self, table: RecordTable, *keys: Record) -> None:
        with self._connections.transaction() as connection:
            for key in keys:
                if missing := [name for name in table.partition if name not in key]:
                    raise SchemaError(f"a deletion in {table.name} lacks {missing[0]} of its partition key")
                condition, parameters = _matching(table, key)
                connection.execute(f"DELETE FROM {_name(table)} WHERE {condition}", parameters)


def _columns(table: RecordTable) -> list[str]:
    keys = table.keys
    return [*keys, *(name for name in table.columns if name not in keys)]


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


def _insert(table: RecordTable, columns: Sequence[str]) -> str:
    _check_names(table, columns)
    names = ", ".join(quoted(name) for name in columns)
    return f"INSERT INTO {_name(table)} ({names}) VALUES ({', '.join('?' * len(columns))})"


def _upsert(table: RecordTable, columns: Sequence[str]) -> str:
    keys = table.keys
    changes = ", ".join(f"{quoted(n)} = excluded.{quoted(n)}" for n in columns if n not in keys)
    action = f"UPDATE SET {changes}" if changes else "NOTHING"
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(quoted(name) for name in keys)}) DO {action}"


def _complete(table: RecordTable, row: Record) -> list[object]:
    """The values of a row that has its whole key."""
    if missing := [name for name in table.keys if row.get(name) is None]:
        raise SchemaError(f"a row of {table.name} lacks {missing[0]} of its key")
    return list(row.values())


def _check_names(table: RecordTable, names: Iterable[str]) -> None:
    known = _columns(table)
    if unknown := [name for name in names if name not in known]:
        raise SchemaError(f"the catalog's table {table.name} has no column {unknown[0]}")


def _matching(table: RecordTable, record: Record) -> tuple[str, list[object]]:
    """The condition that each of these columns holds its value (null equals null), and its parameters."""
    _check_names(table, record)
    return " AND ".join(f"{quoted(name)} IS ?" for name in record) or "1", list(record.values())


def _records(table: RecordTable, rows: Iterable[Sequence[object]]) -> Iterator[Record]:
    names = _columns(table)
    booleans = [name for name in names if table.columns.get(name) == "boolean"]
    for row in rows:
        record = dict(zip(names, row, strict=True))
        for name in booleans:
            record[name] = None if record[name] is None else bool(record[name])
        yield record
