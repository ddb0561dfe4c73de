"""What the store remembers of its vector indexes, and which ones it can build."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from jobs.errors import SchemaError
from jobs.settings import IndexSettings
from jobs.stores.contract import Index
from jobs.stores.embedded.schema import describe
from jobs.stores.values import vector_dimension, vector_type

TABLE = """
CREATE TABLE embedshift_indexes (
    name TEXT PRIMARY KEY,
    table_name TEXT NOT NULL COLLATE NOCASE,
    column_name TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    options TEXT NOT NULL,
    status TEXT NOT NULL,
    build TEXT NOT NULL,
    file TEXT,
    checksum TEXT,
    sequence INTEGER NOT NULL
) WITHOUT ROWID
"""
_NAME = re.compile(r"[A-Za-z0-9_]{1,200}")


@dataclass(frozen=True, slots=True)
class Entry:
    """An index as it was written down.

    Args:
        index: what it is an index of, with the options that it was built with.
        status: ``building`` or ``serving``.
        build: a new id for each time that it is created.
        file, checksum: the graph on disk; empty while it is built.
        sequence: the last write to the table that the file knows.
    """

    index: Index
    status: str
    build: str
    file: str
    checksum: str
    sequence: int


def read(connection: sqlite3.Connection, name: str) -> Entry | None:
    """The index of that name, None where there is none."""
    row = connection.execute(
        "SELECT table_name, column_name, dimension, options, status, build, coalesce(file, ''),"
        " coalesce(checksum, ''), sequence FROM embedshift_indexes WHERE name = ?",
        (name,),
    ).fetchone()
    if row is None:
        return None
    table, column, dimension, options, *rest = row
    return Entry(Index(name, table, column, dimension, IndexSettings(**json.loads(options))), *rest)


def begin(connection: sqlite3.Connection, index: Index, build: str) -> None:
    """Note that an index is being built, in place of any of that name."""
    options = index.options.model_dump_json()
    connection.execute(
        "INSERT OR REPLACE INTO embedshift_indexes"
        " (name, table_name, column_name, dimension, options, status, build, sequence)"
        " VALUES (?, ?, ?, ?, ?, 'building', ?, 0)",
        (index.name, index.table, index.column, index.dimension, options, build),
    )


def finish(connection: sqlite3.Connection, name: str, build: str, *, file: str, checksum: str, sequence: int) -> bool:
    """Note the graph's file; False, and nothing noted, where that build was dropped or replaced meanwhile."""
    done = connection.execute(
        "UPDATE embedshift_indexes SET status = 'serving', file = ?, checksum = ?, sequence = ?"
        " WHERE name = ? AND build = ?",
        (file, checksum, sequence, name, build),
    )
    return done.rowcount == 1


def names_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """The indexes of a table."""
    rows = connection.execute("SELECT name FROM embedshift_indexes WHERE table_name = ?", (table,)).fetchall()
    return [name for (name,) in rows]


def remove(connection: sqlite3.Connection, name: str) -> None:
    """Forget an index."""
    connection.execute("DELETE FROM embedshift_indexes WHERE name = ?", (name,))


def check_options(index: Index) -> None:
    """Raises SchemaError, naming the option and what to write instead, where this store cannot build the index."""
    options = index.options
    for name in ("oversampling", "rescoring"):
        if getattr(options, name) is not None:
            raise SchemaError(f"the embedded store has no {name}", hint=f"leave target.index.{name} null")
    if options.quantization == "b1":
        raise SchemaError("the embedded store has no quantization b1", hint="use f32, f16, bf16 or i8")
    if options.quantization == "i8" and options.metric != "cosine":
        # USearch scales every vector to length 1 before it rounds to i8.
        raise SchemaError(f"quantization i8 loses the lengths that {options.metric} needs", hint="use f16 or cosine")
    if not _NAME.fullmatch(index.name):
        raise SchemaError(f"{index.name} is no name for an index", hint="use letters, digits and _")


def check_column(connection: sqlite3.Connection, index: Index) -> None:
    """Raises SchemaError where the table has no such column of that dimension."""
    column = describe(connection, index.table).column(index.column)
    if column is None or vector_dimension(column.type) != index.dimension:
        wanted, found = vector_type(index.dimension), "missing" if column is None else f"a {column.type}"
        raise SchemaError(
            f"index {index.name} needs the column {index.table}.{index.column} as {wanted}, and it is {found}",
            hint="name the vector column, with its dimension",
        )


def check_same(found: Index, wanted: Index) -> None:
    """Raises SchemaError where an index of that name exists and is another."""
    old, new = _definition(found), _definition(wanted)
    if different := [f"{key} {old[key]} instead of {new[key]}" for key in old if old[key] != new[key]]:
        raise SchemaError(
            f"index {wanted.name} exists with {', '.join(different)}", hint="drop it first, or choose another name"
        )


def _definition(index: Index) -> dict[str, Any]:
    return {
        "table": index.table.lower(),
        "column": index.column,
        "dimension": index.dimension,
        "metric": index.options.metric,
        "connections": index.options.connections or 16,
        "expansion_add": index.options.expansion_add or 128,
        "expansion_search": index.options.expansion_search or 64,
        "quantization": index.options.quantization or "f32",
    }
