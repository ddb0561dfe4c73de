"""Identifiers, strings and maps as CQL text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cassandra.metadata import cql_keywords_reserved

_PLAIN = re.compile(r"[a-z][a-z0-9_]*")
#: What ScyllaDB reserves beyond Cassandra's list, which the driver has.
_RESERVED = frozenset(cql_keywords_reserved) | {
    "ann",
    "concurrency",
    "vector_search_indexing",
    "text_search_indexing",
}


def quote(name: str) -> str:
    """An identifier in a statement: quoted unless it is plainly safe on every server."""
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def unquote(name: str) -> str:
    """The identifier that stands in a statement of a server, quoted or not."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def qualified(keyspace: str, name: str) -> str:
    """``keyspace.name``."""
    return f"{quote(keyspace)}.{quote(name)}"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Identifiers separated by commas."""
    return ", ".join(quote(name) for name in names)


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def options(pairs: Mapping[str, str | int | Sequence[str]]) -> str:
    """A map literal, as ``WITH OPTIONS`` and ``WITH replication`` take it; a list is one of racks."""
    return "{" + ", ".join(f"{literal(key)}: {_value(value)}" for key, value in pairs.items()) + "}"


def _value(value: str | int | Sequence[str]) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return literal(value)
    return "[" + ", ".join(literal(each) for each in value) + "]"
