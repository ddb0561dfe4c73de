"""Expiry of whole rows: ScyllaDB deletes a row once the time in its row TTL column has passed (since 2026.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from embedshift.errors import NotPermitted, SchemaError
from embedshift.stores.cql.quoting import qualified, quote, unquote
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.model import Column

#: What such a column may be. Only its server's schema as text tells which column it is.
_TYPES = frozenset({"timestamp", "bigint", "int"})
_LINE = re.compile(r'\s*("(?:[^"]|"")+"|\w+)\s+\w+ TTL,?\s*', re.IGNORECASE)


def find(connection: CqlConnection, table: str, columns: Sequence[Column]) -> str | None:
    """The row TTL column of a table; None if it has none, or if the server does not say.

    Args:
        connection: to a ScyllaDB.
        table: the table.
        columns: its columns. If none can expire rows, the server is not asked.

    Raises:
        StoreUnavailable: the server does not answer.
    """
    possible = [column.name for column in columns if column.role == "regular" and column.type in _TYPES]
    if not possible:
        return None
    try:
        found = connection.rows(described(connection.keyspace, table), doing=f"describing {table}")
    except (SchemaError, NotPermitted):  # a version without this statement, or a user who may not ask
        return None
    name = of_statement(str(found[0].get("create_statement") or "")) if found else None
    return name if name in possible else None


def described(keyspace: str, table: str) -> str:
    """The statement that asks for a table as CREATE TABLE."""
    return f"DESC TABLE {qualified(keyspace, table)}"


def of_statement(creation: str) -> str | None:
    """The row TTL column in a CREATE TABLE statement of the server: a line of it ends with ``TTL``."""
    for line in creation.splitlines():
        if line.startswith(")"):
            return None
        if found := _LINE.fullmatch(line):
            return unquote(found[1])
    return None


def alteration(keyspace: str, table: str, column: str) -> str:
    """The statement that makes a column the row TTL of its table."""
    return f"ALTER TABLE {qualified(keyspace, table)} TTL {quote(column)}"


def give(connection: CqlConnection, table: str, present: str | None, column: str) -> None:
    """Make a column the row TTL of a table (``contract.Store.set_row_ttl``); present: the one that it has."""
    if present == column:
        return
    if present is not None:
        raise SchemaError(
            f"the rows of {table} expire by {present}, not by {column}", hint=f"ALTER TABLE {table} TTL NULL"
        )
    connection.define(alteration(connection.keyspace, table, column), f"letting the rows of {table} expire by {column}")
