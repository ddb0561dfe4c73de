"""Vector indexes: checked, created, watched, dropped."""

from __future__ import annotations

import json
from typing import Any

from embedshift.errors import SchemaError
from embedshift.stores.cql.dialect import Dialect, is_class, to_settings
from embedshift.stores.cql.quoting import listed, options, qualified, quote, unquote
from embedshift.stores.cql.schema import describe
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql_types import vector_dimension, vector_type
from embedshift.stores.model import Index, IndexState


def check_index(connection: CqlConnection, dialect: Dialect, index: Index) -> None:
    """Check that this server can build the index, and that this user may create it.

    Raises:
        SchemaError: it cannot, or the user may not.
    """
    dialect.index_options(index)
    dialect.check_index(connection, index)


def creation(keyspace: str, dialect: Dialect, index: Index) -> str:
    """The CREATE CUSTOM INDEX statement of an index, with the options that the settings name and no others."""
    return (
        f"CREATE CUSTOM INDEX IF NOT EXISTS {quote(index.name)} ON {qualified(keyspace, index.table)} "
        f"({_columns(index)}) USING '{dialect.index_class}' WITH OPTIONS = {options(dialect.index_options(index))}"
    )


def _columns(index: Index) -> str:
    local = f"({listed(index.partition)}), " if index.partition else ""
    return local + listed((index.column, *index.filtering))


def create_index(connection: CqlConnection, dialect: Dialect, index: Index) -> None:
    """Start to build an index, unless the same one exists (``contract.Store.create_index``)."""
    _check_column(connection, index)
    statement = creation(connection.keyspace, dialect, index)
    present = _present(connection, index.name)
    if present is None:
        connection.define(statement, f"creating the index {index.name}")
        return
    target = _target(present)
    if (present["table_name"], target) != (index.table, (index.column, index.partition, index.filtering)):
        what = f"on {present['options'].get('target')} of {present['table_name']}"
    else:
        has = {**dialect.index_defaults, **present["options"]}
        wanted = {**dialect.index_defaults, **dialect.index_options(index)}
        other = [key for key, value in wanted.items() if not _same(has.get(key, ""), value)]
        if not other:
            return
        what = "with " + ", ".join(f"{key} {has.get(key)}" for key in other)
    raise SchemaError(f"there is another index {index.name}, {what}", hint="drop it, or choose another name")


def index_on(connection: CqlConnection, dialect: Dialect, table: str, column: str) -> Index | None:
    """The vector index of a column, whatever its name (``contract.Store.index_on``)."""
    dimension = vector_dimension(getattr(describe(connection, table).column(column), "type", ""))
    if dimension is None:
        return None
    found = []
    for row in _indexes(connection, f"looking for an index of {table}"):
        said = row["options"]
        target, partition, filtering = _target(row)
        if (row["table_name"], target) == (table, column) and is_class(said, dialect.index_classes):
            options = to_settings(dialect.index_words, said)
            found.append(Index(row["index_name"], table, column, dimension, options, partition, filtering))
    # One of the whole table answers every search; a local one does not.
    return min(found, key=lambda index: bool(index.partition), default=None)


def index_state(connection: CqlConnection, dialect: Dialect, index: Index) -> IndexState:
    """How far the index is."""
    present = _present(connection, index.name)
    if present is None:
        return IndexState("absent")
    return dialect.index_state(connection, index, str(present["options"].get("index_version", "")))


def drop_index(connection: CqlConnection, index: Index) -> None:
    """Drop the index; no error if there is none."""
    if _present(connection, index.name) is not None:
        statement = f"DROP INDEX IF EXISTS {qualified(connection.keyspace, index.name)}"
        connection.define(statement, f"dropping the index {index.name}")


def _check_column(connection: CqlConnection, index: Index) -> None:
    column = describe(connection, index.table).column(index.column)
    if column is None or column.type != vector_type(index.dimension):
        held = "no such column" if column is None else f"it is {column.type}"
        raise SchemaError(
            f"the index {index.name} needs {vector_type(index.dimension)} in {index.column} of {index.table}: {held}",
            hint="name the column of the vectors, and the model that made them",
        )


def _present(connection: CqlConnection, name: str) -> dict[str, Any] | None:
    found = _indexes(connection, f"looking for the index {name}")
    return next((row for row in found if row["index_name"] == name), None)


def _indexes(connection: CqlConnection, doing: str) -> list[dict[str, Any]]:
    query = "SELECT table_name, index_name, options FROM system_schema.indexes WHERE keyspace_name = ?"
    return connection.rows(query, (connection.keyspace,), doing=doing)


def _target(row: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The column of an index, the partition columns of a local one, and its filtering columns.

    The option is the column as CQL text, or JSON (ScyllaDB's ``index/vector_index.cc``, ``serialize_targets``).
    """
    said = str(row["options"].get("target", ""))
    if not said.startswith("{"):
        return unquote(said), (), ()
    try:
        tree = json.loads(said)
        return str(tree["tc"]), tuple(tree.get("pk", ())), tuple(tree.get("fc", ()))
    except (ValueError, LookupError, TypeError, AttributeError):
        return said, (), ()  # the index of something else


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.lower() == other.lower()
