"""Soft delete: one column says since when an article is inactive; null, or no such column, is active."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from jobs.articles.following import Following, View
from jobs.errors import SchemaError
from jobs.settings import Settings
from jobs.stores.contract import Column, Store, Table

#: Since when an article is inactive, in milliseconds since the epoch as it travels; null where it is active.
DEACTIVATED = "deactivated_at"
_TYPE = "timestamp"


def has_soft_delete(table: Table) -> bool:
    """Whether the table can hold inactive articles."""
    column = table.column(DEACTIVATED)
    return column is not None and column.type == _TYPE


def check_soft_delete(view: View) -> None:
    """Raises SchemaError, naming the command that helps, where the live table has no column for it."""
    table = view.live.table
    column = table.column(DEACTIVATED)
    if column is None:
        raise SchemaError(f"{table.name} has no column {DEACTIVATED}", hint="add it: embedshift schema add-soft-delete")
    if column.type != _TYPE:
        raise SchemaError(f"{table.name}.{DEACTIVATED} is a {column.type}, not a {_TYPE}", hint="rename that column")


def is_active(row: Mapping[str, Any]) -> bool:
    """Whether a row that was read with the column, where there is one, is active."""
    return row.get(DEACTIVATED) is None


def add_soft_delete(settings: Settings, store: Store) -> list[str]:
    """Add the column to the live table and to the second table of each running migration.

    The second tables come first, so that no client can write the live one and miss the other. Returns once no client's
    view of the tables can be older than the column, so that each knows of it before anything is deactivated. Safe to
    repeat.

    Returns:
        The tables that got it.

    Raises:
        StateError: there is no alias.
        SchemaError: a table has a column of that name and of another type.
    """
    view = Following(store, settings).now()
    added = []
    for place in (*view.seconds, view.live):
        column = place.table.column(DEACTIVATED)
        if column is None:
            store.add_column(place.endpoint.table, Column(DEACTIVATED, _TYPE))
            added.append(place.endpoint.table)
        elif column.type != _TYPE:
            raise SchemaError(
                f"{place.endpoint.table}.{DEACTIVATED} is a {column.type}, not a {_TYPE}", hint="rename that column"
            )
    if added:
        threading.Event().wait(settings.articles_cache.total_seconds())
    return added
