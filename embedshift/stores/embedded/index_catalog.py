"""The list of vector indexes that the database keeps, and checks of what the store can build."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from typing import Any

from embedshift.errors import SchemaError
from embedshift.settings import IndexSettings
from embedshift.stores.cql_types import vector_dimension, vector_type
from embedshift.stores.embedded.graph import DEFAULTS
from embedshift.stores.embedded.schema import describe
from embedshift.stores.model import Index, completed

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
    """An index as the database has it.

    Args:
        index: the index, with the options that it was built with.
        status: ``building`` or ``serving``.
        build: a new id each time that it is created.
        file: the name of the graph's file; empty while it is built.
        checksum: of that file.
        sequence: the number of the last write to the table that the file contains.
    """

    index: Index
    status: str
    build: str
    file: str
    checksum: str
    sequence: int


def read(connection: sqlite3.Connection, name: str) -> Entry | None:
    """The index of that name; None if there is none."""
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
    """Record that an index is being built with these options, in place of any of that name."""
    options = completed(index.options, DEFAULTS).model_dump_json()
    connection.execute(
        "INSERT OR REPLACE INTO embedshift_indexes"
        " (name, table_name, column_name, dimension, options, status, build, sequence)"
        " VALUES (?, ?, ?, ?, ?, 'building', ?, 0)",
        (index.name, index.table, index.column, index.dimension, options, build),
    )


def finish(connection: sqlite3.Connection, name: str, build: str, *, file: str, checksum: str, sequence: int) -> bool:
    """Record the graph's file; return False, and record nothing, if that build was dropped or replaced meanwhile."""
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
    """Check that this store can build the index (``contract.Store.check_index``)."""
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
        raise SchemaError(f"{index.name} cannot be the name of an index", hint="use letters, digits and _")


def check_column(connection: sqlite3.Connection, index: Index) -> None:
    """Raises SchemaError if the table has no such column of that dimension."""
    column = describe(connection, index.table).column(index.column)
    if column is None or vector_dimension(column.type) != index.dimension:
        wanted, found = vector_type(index.dimension), "missing" if column is None else f"a {column.type}"
        raise SchemaError(
            f"index {index.name} needs the column {index.table}.{index.column} as {wanted}, but it is {found}",
            hint="name the vector column, with its dimension",
        )


def check_same(found: Index, wanted: Index) -> None:
    """Raises SchemaError if the index that exists is not the one that is wanted."""
    old, new = _definition(found), _definition(wanted)
    if different := [f"{key} {old[key]} instead of {new[key]}" for key in old if old[key] != new[key]]:
        raise SchemaError(
            f"index {wanted.name} exists with {', '.join(different)}", hint="drop it first, or choose another name"
        )


def _definition(index: Index) -> dict[str, Any]:
    options = completed(index.options, DEFAULTS).model_dump(exclude={"oversampling", "rescoring"})
    return {"table": index.table.lower(), "column": index.column, "dimension": index.dimension, **options}
