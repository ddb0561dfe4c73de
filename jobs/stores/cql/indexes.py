"""Vector indexes: checked, created, watched, dropped."""

from __future__ import annotations

from typing import Any

from jobs.errors import SchemaError
from jobs.settings import IndexSettings
from jobs.stores.contract import Index, IndexState
from jobs.stores.cql.dialects import Dialect
from jobs.stores.cql.names import options, qualified, quote
from jobs.stores.cql.schema import describe
from jobs.stores.cql.session import Link
from jobs.stores.values import vector_dimension, vector_type


def check_index(link: Link, dialect: Dialect, index: Index) -> None:
    """Raises SchemaError where this server cannot build the index, or would not be let to."""
    dialect.index_options(index)
    dialect.check_index(link, index)


def creation(keyspace: str, dialect: Dialect, index: Index) -> str:
    """The CREATE CUSTOM INDEX statement of an index, with the options asked for and no others."""
    return (
        f"CREATE CUSTOM INDEX IF NOT EXISTS {quote(index.name)} ON {qualified(keyspace, index.table)} "
        f"({quote(index.column)}) USING '{dialect.index_class}' WITH OPTIONS = {options(dialect.index_options(index))}"
    )


def create_index(link: Link, dialect: Dialect, index: Index) -> None:
    """Start to build an index; nothing where the same one exists.

    Raises:
        SchemaError: another index has that name, or the server will not have this one.
    """
    _check_column(link, index)
    statement = creation(link.keyspace, dialect, index)
    present = _present(link, index.name)
    if present is None:
        link.define(statement, f"creating the index {index.name}")
        return
    target = _target(present)
    if (present["table_name"], target) != (index.table, index.column):
        what = f"on {target} of {present['table_name']}"
    else:
        has = {**dialect.index_defaults, **present["options"]}
        wanted = {**dialect.index_defaults, **dialect.index_options(index)}
        other = [key for key, value in wanted.items() if not _same(has.get(key, ""), value)]
        if not other:
            return
        what = "with " + ", ".join(f"{key} {has.get(key)}" for key in other)
    raise SchemaError(f"there is another index {index.name}, {what}", hint="drop it, or choose another name")


def index_on(link: Link, dialect: Dialect, table: str, column: str) -> Index | None:
    """The vector index of a column, under whatever name it was made; None where it has none."""
    dimension = vector_dimension(getattr(describe(link, table).column(column), "type", ""))
    if dimension is None:
        return None
    for row in _indexes(link, f"looking for an index of {table}"):
        said = row["options"]
        if (row["table_name"], _target(row)) != (table, column):
            continue
        if str(said.get("class_name", "")).rpartition(".")[2] == dialect.index_class:
            options = {ours: said[theirs].lower() for ours, theirs in dialect.index_words.items() if theirs in said}
            return Index(row["index_name"], table, column, dimension, IndexSettings.model_validate(options))
    return None


def index_state(link: Link, dialect: Dialect, index: Index) -> IndexState:
    """How far the index is."""
    if _present(link, index.name) is None:
        return IndexState("absent")
    return dialect.index_state(link, index)


def drop_index(link: Link, index: Index) -> None:
    """Drop the index; no error where it is gone already."""
    if _present(link, index.name) is not None:
        statement = f"DROP INDEX IF EXISTS {qualified(link.keyspace, index.name)}"
        link.define(statement, f"dropping the index {index.name}")


def _check_column(link: Link, index: Index) -> None:
    column = describe(link, index.table).column(index.column)
    if column is None or column.type != vector_type(index.dimension):
        held = "no such column" if column is None else f"it is {column.type}"
        raise SchemaError(
            f"the index {index.name} wants {vector_type(index.dimension)} in {index.column} of {index.table}: {held}",
            hint="name the column of the vectors, and the model that made them",
        )


def _present(link: Link, name: str) -> dict[str, Any] | None:
    found = _indexes(link, f"looking for the index {name}")
    return next((row for row in found if row["index_name"] == name), None)


def _indexes(link: Link, doing: str) -> list[dict[str, Any]]:
    query = "SELECT table_name, index_name, options FROM system_schema.indexes WHERE keyspace_name = ?"
    return link.rows(query, (link.keyspace,), doing=doing)


def _target(row: dict[str, Any]) -> str:
    return str(row["options"].get("target", "")).strip('"')


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.lower() == other.lower()
