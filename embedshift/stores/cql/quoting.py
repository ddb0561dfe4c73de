"""Identifiers, strings and maps as CQL text."""

from __future__ import annotations

from collections.abc import Mapping

from cassandra.metadata import protect_name


def quote(name: str) -> str:
    """An identifier in a statement: quoted only if CQL needs it."""
    return str(protect_name(name))


def qualified(keyspace: str, name: str) -> str:
    """``keyspace.name``."""
    return f"{quote(keyspace)}.{quote(name)}"


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Identifiers separated by commas."""
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
