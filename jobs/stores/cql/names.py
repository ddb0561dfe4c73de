"""Names and types in CQL text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cassandra.metadata import protect_name

#: Types that hold one value in one cell; everything else is a collection, a tuple, a vector, a UDT or a Java class.
NATIVE = frozenset(
    [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "counter",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "uuid",
        "varchar",
        "varint",
    ]
)
_ONE_CELL = re.compile(r"(frozen|tuple|vector)\s*<|'", re.IGNORECASE)


def quote(name: str) -> str:
    """An identifier as it stands in a statement: quoted only where CQL needs it."""
    return str(protect_name(name))


def qualified(keyspace: str, name: str) -> str:
    """``keyspace.name``."""
    return f"{quote(keyspace)}.{quote(name)}"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Identifiers with commas between them."""
    return ", ".join(quote(name) for name in names)


def literal(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def options(pairs: Mapping[str, str | int]) -> str:
    """A map literal, as ``WITH OPTIONS`` and ``WITH replication`` take it."""
    inner = ", ".join(
        f"{literal(key)}: {value if isinstance(value, int) else literal(value)}" for key, value in pairs.items()
    )
    return "{" + inner + "}"


def is_many_celled(cql_type: str) -> bool:
    """Whether a value of that type is kept as several cells with times of their own (collections, UDTs not frozen)."""
    return cql_type not in NATIVE and not _ONE_CELL.match(cql_type)
