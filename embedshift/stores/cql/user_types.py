"""User types whose fields are cells of their own: their names, and whether the server tells their write times."""

from __future__ import annotations

from collections.abc import Sequence

from embedshift.errors import SchemaError
from embedshift.stores.cql.driver_errors import is_absent
from embedshift.stores.cql.quoting import qualified, quote
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql_types import is_user_type
from embedshift.stores.model import Column

_TYPES = "SELECT type_name, field_names FROM system_schema.types WHERE keyspace_name = ?"


def fields(connection: CqlConnection, columns: Sequence[Column]) -> dict[str, tuple[str, ...]]:
    """The names of the fields, by column, of those columns that are of a user type with several cells."""
    wanted = {column.name: _unquoted(column.type) for column in columns if is_user_type(column.type)}
    if not wanted:
        return {}
    rows = connection.rows(_TYPES, (connection.keyspace,), doing="describing user types")
    known = {row["type_name"]: tuple(row["field_names"]) for row in rows}
    return {name: known[kind] for name, kind in wanted.items() if kind in known}


def tells_times(connection: CqlConnection, table: str, column: str, field: str) -> bool | None:
    """Whether the server tells the write time of a field: asked by preparing a statement; None if the table is gone."""
    cell = field_of(column, field)
    try:
        connection.prepare(
            f"SELECT writetime({cell}), ttl({cell}) FROM {qualified(connection.keyspace, table)} LIMIT 1"
        )
    except SchemaError as error:
        return None if error.__cause__ is not None and is_absent(error.__cause__) else False
    return True


def field_of(column: str, field: str) -> str:
    """A field of a column in a statement."""
    return f"{quote(column)}.{quote(field)}"


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
