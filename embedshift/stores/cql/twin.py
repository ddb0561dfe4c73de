"""What a table has beside its columns and its vector index, in the words of its own server: options, other indexes.

The source of truth is ``DESC TABLE``: a list of ours would miss what a server, or its next version, has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from embedshift.errors import NotPermitted, SchemaError
from embedshift.stores.cql.quoting import qualified, quote, unquote
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.model import SecondaryIndex

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_INDEX = re.compile(
    rf"\s*CREATE (?P<custom>CUSTOM )?INDEX (?:IF NOT EXISTS )?(?P<name>{_NAME}) "
    rf"ON (?:{_NAME}\.)?{_NAME} (?P<rest>\(.*)",
    re.DOTALL,
)
#: What belongs to one table alone, or is part of its columns.
_OWN = frozenset({"ID", "CLUSTERING ORDER BY", "COMPACT STORAGE", "extensions"})


def options_of(connection: CqlConnection, table: str) -> dict[str, str]:
    """The options of a table by name, each as CQL text (``contract.Store.options``); empty if the server won't say."""
    for row in _described(connection, table):
        if row.get("type") == "table":
            return dict(_options(str(row["create_statement"])))
    return {}


def with_options(options: Mapping[str, str]) -> list[str]:
    """The options as the parts of a WITH clause."""
    return [f"{name} = {value}" for name, value in options.items()]


def set_options(connection: CqlConnection, table: str, options: Mapping[str, str]) -> None:
    """Change options of a table (``contract.Store.set_options``)."""
    clause = " AND ".join(with_options(options))
    statement = f"ALTER TABLE {qualified(connection.keyspace, table)} WITH {clause}"
    connection.define(statement, f"setting {', '.join(options)} of {table}")


def secondary_indexes(connection: CqlConnection, table: str, vector: str) -> list[SecondaryIndex]:
    """Every index of a table but the one of its vectors (``contract.Store.secondary_indexes``)."""
    found = []
    for row in _described(connection, table):
        match = _INDEX.match(str(row["create_statement"])) if row.get("type") == "index" else None
        if match is not None:
            index = SecondaryIndex(unquote(match["name"]), bool(match["custom"]), match["rest"].rstrip().rstrip(";"))
            if not _is_of_vector(index, vector):
                found.append(index)
    return found


def create_secondary(connection: CqlConnection, index: SecondaryIndex, table: str) -> None:
    """Build an index on a table, under its name (``contract.Store.create_secondary``)."""
    custom = "CUSTOM " if index.custom else ""
    statement = (
        f"CREATE {custom}INDEX IF NOT EXISTS {quote(index.name)} ON {qualified(connection.keyspace, table)} "
        f"{index.definition}"
    )
    connection.define(statement, f"creating the index {index.name}")


def dependents(connection: CqlConnection, table: str) -> list[str]:
    """What depends on a table and cannot come along: views and triggers, one line each with what to do."""
    lines = []
    views = "SELECT view_name, base_table_name FROM system_schema.views WHERE keyspace_name = ?"
    for row in _asked(connection, views, (connection.keyspace,)):
        # Indexes of ScyllaDB are views, too, and come along as indexes.
        if row["base_table_name"] == table and not row["view_name"].endswith("_index"):
            lines.append(
                f"the materialized view {row['view_name']} stays with {table}: create one like it on the copy, and "
                f"drop {row['view_name']} before {table} is retired"
            )
    triggers = "SELECT trigger_name FROM system_schema.triggers WHERE keyspace_name = ? AND table_name = ?"
    lines += [
        f"the trigger {row['trigger_name']} stays with {table}: create it on the copy before the cutover"
        for row in _asked(connection, triggers, (connection.keyspace, table))
    ]
    return lines


def _asked(connection: CqlConnection, query: str, values: tuple[str, ...]) -> list[dict[str, Any]]:
    try:
        return connection.rows(query, values, doing="looking for what depends on a table")
    except (SchemaError, NotPermitted):  # a server without such a table, or a user who may not ask
        return []


def _described(connection: CqlConnection, table: str) -> list[dict[str, Any]]:
    try:
        found = connection.rows(f"DESC TABLE {qualified(connection.keyspace, table)}", doing=f"describing {table}")
    except (SchemaError, NotPermitted):  # a version without this statement, or a user who may not ask
        return []
    return [row for row in found if row.get("create_statement")]


def _options(statement: str) -> Iterator[tuple[str, str]]:
    """Names and values of the WITH clause of a CREATE TABLE statement."""
    _, _, clause = statement.partition("\n) WITH ")
    for part in _parts(clause.strip().rstrip(";")):
        name, equals, value = part.partition(" = ")
        if equals and name.strip() not in _OWN:
            yield name.strip(), value.strip()


def _parts(clause: str) -> Iterator[str]:
    """The clause cut at each AND that is not within quotes or brackets."""
    start = depth = 0
    quoted = False
    for at, letter in enumerate(clause):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "{[(":
            depth += 1
        elif not quoted and letter in ")]}":
            depth -= 1
        elif not quoted and not depth and clause.startswith("AND ", at) and clause[at - 1 : at].isspace():
            yield clause[start:at].strip()
            start = at + len("AND ")
    yield clause[start:].strip()


def _is_of_vector(index: SecondaryIndex, vector: str) -> bool:
    inner = index.definition[1:].lstrip()
    return inner.startswith((f"{quote(vector)})", f"{quote(vector)},")) or f", {quote(vector)})" in index.definition
