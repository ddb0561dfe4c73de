"""The tables of a store: their descriptions in an SQLite table, and the SQL that creates and alters them."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from functools import lru_cache

from embedshift.errors import SchemaError
from embedshift.stores.cql_types import is_opaque, vector_dimension
from embedshift.stores.embedded.cell_sql import added, affinity, cell, created, rows_table
from embedshift.stores.embedded.connection import Connections
from embedshift.stores.model import Column, Estimate, Table

_TABLES = """
CREATE TABLE embedshift_tables (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    columns TEXT NOT NULL,
    sequence INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID
"""
_HAS_ID = "SELECT 1 FROM pragma_table_info('embedshift_tables') WHERE name = 'id'"
_ROLES = ("partition", "clustering", "static", "regular")
_OPAQUE = re.compile(r"decimal|varint|inet|date|time|duration|(frozen|list|set|map|tuple|vector)\s*<.+>", re.DOTALL)
_SAMPLE_ROWS = 100


class Schema:
    """The tables of a store."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        connections.ensure({"embedshift_tables": _TABLES})
        with connections.borrow() as connection:
            former = not connection.execute(_HAS_ID).fetchone()
        if former:
            _add_id(connections)

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name; capital and small letters are the same."""
        with self._connections.borrow() as connection:
            return _columns_text(connection, table) is not None

    def describe(self, table: str) -> Table:
        """The table's columns. Raises SchemaError if it does not exist."""
        with self._connections.borrow() as connection:
            return describe(connection, table)

    def table_id(self, table: str) -> str:
        """The table's own id; empty for one that was created before tables had ids. Raises SchemaError: it is gone."""
        with self._connections.borrow() as connection:
            row = connection.execute("SELECT id FROM embedshift_tables WHERE name = ?", (table,)).fetchone()
        if row is None:
            raise _missing(table)
        return str(row[0])

    def create(self, table: Table) -> None:
        """Create a table, empty. Raises SchemaError if the name is taken or a column is not supported."""
        ordered = Table(table.name, tuple(sorted(table.columns, key=lambda c: _ROLES.index(c.role))))
        _check(ordered)
        with self._connections.transaction() as connection:
            if _columns_text(connection, table.name) is not None:
                raise SchemaError(f"table {table.name} exists already", hint="choose another name")
            written = (*_written(ordered), uuid.uuid4().hex)
            connection.execute("INSERT INTO embedshift_tables (name, columns, id) VALUES (?, ?, ?)", written)
            for statement in created(ordered):
                connection.execute(statement)

    def add_column(self, table: str, column: Column) -> None:
        """Add a regular column. Raises SchemaError if there is one of that name."""
        with self._connections.transaction() as connection:
            old = describe(connection, table)
            new = Table(old.name, (*old.columns, column))
            if column.role != "regular":
                raise SchemaError(
                    f"column {column.name} of {table} would be {column.role}", hint="add regular columns only"
                )
            _check(new)
            connection.execute("UPDATE embedshift_tables SET columns = ? WHERE name = ?", _written(new)[::-1])
            for statement in added(old.name, column):
                connection.execute(statement)

    def drop(self, connection: sqlite3.Connection, table: str) -> None:
        """Drop a table, in the transaction of that connection; no error if there is none."""
        found = connection.execute("DELETE FROM embedshift_tables WHERE name = ? RETURNING name", (table,)).fetchall()
        for (name,) in found:
            connection.execute(f"DROP TABLE {rows_table(name)}")

    def estimate(self, table: str) -> Estimate:
        """The exact number of rows, including deleted ones, and an estimate of their bytes from the first rows."""
        described = self.describe(table)
        name = rows_table(described.name)
        sizes = " + ".join(
            ["32", *(f"coalesce(length({cell(c.name)[0]}), 0)" for c in described.others if affinity(c) != "INTEGER")]
        )
        sample = f"SELECT {sizes} AS size FROM {name} LIMIT {_SAMPLE_ROWS}"
        with self._connections.borrow() as connection:
            rows = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            size = connection.execute(f"SELECT avg(size) FROM ({sample})").fetchone()[0]
        return Estimate(rows, round(rows * (size or 0)))


def describe(connection: sqlite3.Connection, table: str) -> Table:
    """The table's columns as that connection sees them. Raises SchemaError if it does not exist."""
    found = _columns_text(connection, table)
    if found is None:
        raise _missing(table)
    return _read(*found)


def _missing(table: str) -> SchemaError:
    return SchemaError(f"there is no table {table}", hint="check the table's name: embedshift schema show")


def _add_id(connections: Connections) -> None:
    """A file of a former version; another process may do the same at this moment."""
    with connections.transaction() as connection:
        if not connection.execute(_HAS_ID).fetchone():
            connection.execute("ALTER TABLE embedshift_tables ADD COLUMN id TEXT NOT NULL DEFAULT ''")


def next_sequence(connection: sqlite3.Connection, table: str) -> int:
    """The number of this write. Each transaction that changes a table takes the next one, under the write lock."""
    found = connection.execute(
        "UPDATE embedshift_tables SET sequence = sequence + 1 WHERE name = ? RETURNING sequence", (table,)
    ).fetchall()
    if not found:
        raise _missing(table)
    return int(found[0][0])


def last_sequence(connection: sqlite3.Connection, table: str) -> int:
    """The number of the last write that this connection sees; 0 if there was none."""
    found = connection.execute("SELECT sequence FROM embedshift_tables WHERE name = ?", (table,)).fetchone()
    return int(found[0]) if found else 0


def _columns_text(connection: sqlite3.Connection, table: str) -> tuple[str, str] | None:
    row: tuple[str, str] | None = connection.execute(
        "SELECT name, columns FROM embedshift_tables WHERE name = ?", (table,)
    ).fetchone()
    return row


def _written(table: Table) -> tuple[str, str]:
    return table.name, json.dumps([[c.name, c.type, c.role, c.descending] for c in table.columns])


@lru_cache(maxsize=256)
def _read(name: str, columns: str) -> Table:
    return Table(name, tuple(Column(*each) for each in json.loads(columns)))


def _check(table: Table) -> None:
    names = [c.name.lower() for c in table.columns]
    for column in table.columns:
        where = f"column {column.name} of {table.name}"
        if names.count(column.name.lower()) > 1:
            raise SchemaError(f"{where} exists twice", hint="give each column its own name")
        if column.role == "static":
            raise SchemaError(f"{where} is static, which the embedded store does not support", hint="make it regular")
        if is_opaque(column.type) and not _OPAQUE.fullmatch(column.type):
            raise SchemaError(
                f"{where} has the unknown type {column.type}", hint="use a CQL type, such as text, int or set<text>"
            )
        _check_role(where, column)
    if not any(c.role == "partition" for c in table.columns):
        raise SchemaError(f"table {table.name} has no partition key", hint="give one column the role partition")


def _check_role(where: str, column: Column) -> None:
    dimension = vector_dimension(column.type)
    if dimension is not None and not 1 <= dimension <= 16_000:
        raise SchemaError(f"{where} has {dimension} dimensions", hint="vectors have 1 to 16000")
    in_key = column.role in ("partition", "clustering")
    if in_key and (dimension is not None or (column.role == "partition" and column.type in ("float", "double"))):
        raise SchemaError(f"{where} is a {column.type} in the primary key", hint="use text, a number or a uuid")
