"""Delete articles from the live table and then from the other tables, with one write time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedshift.articles.dual_write import DualWriter
from embedshift.articles.keys import Clock, Key, RowLocks, key_of, keys_batch, name_of
from embedshift.articles.routing import AliasCache, LiveTable, Routing
from embedshift.errors import SchemaError
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.stores.log_fed import delete_rows
from embedshift.stores.model import Column, Table, write_time


class Deleting:
    """Deletes articles through the alias."""

    def __init__(
        self, store: Store, alias_cache: AliasCache, dual_writer: DualWriter, clock: Clock, locks: RowLocks
    ) -> None:
        self._store = store
        self._alias_cache = alias_cache
        self._dual_writer = dual_writer
        self._clock = clock
        self._locks = locks

    def delete(self, id: Any) -> bool:
        """Delete one article. Returns whether it existed; it is no error if it did not."""

        def operation(routing: Routing) -> bool:
            key = key_of(routing.live.table, id)
            with self._locks.held([name_of(routing.live.table, key)]):
                return self.delete_rows(routing, [key], self._clock.next())[0]

        # If the alias moved and this is repeated, the first deletion, with its earlier time, has already removed the
        # row.
        there: list[bool] = []
        self._alias_cache.writing(lambda routing: there.append(operation(routing)))
        return any(there)

    def delete_versions(self, routing: Routing, keys: Sequence[Key], times: Sequence[int]) -> None:
        """Delete what was written to rows up to a time of each, and nothing that was written later."""
        table = routing.live.table
        delete_rows(self._store, table, routing.live.made, keys_batch(table, keys), np.array(times, np.int64))
        self._dual_writer.delete(routing, keys, times)

    def delete_rows(self, routing: Routing, keys: Sequence[Key], at_us: int) -> list[bool]:
        """Delete rows whose locks the caller holds, with a time that was taken before the decision to delete them.

        Returns:
            For each row whether it existed.
        """
        newest = newest_times(self._store, routing.live, keys)
        names = [name_of(routing.live.table, key) for key in keys]
        # A cell that was written by a clock ahead of ours would survive a deletion with our present time.
        times = [max(at_us, newest.get(name, 0) + 1) for name in names]
        self.delete_versions(routing, keys, times)
        return [name in newest for name in names]


def newest_times(store: Store, live_table: LiveTable, keys: Sequence[Key]) -> dict[str, int]:
    """For each existing row, by name, the write time of its newest cell; 0 if no cell has one."""
    table = live_table.table
    times = [column.name for column in table.others]
    rows = store.fetch(table, keys_batch(table, keys), times=times).to_pylist()
    return {name_of(table, row): max((row[write_time(n)] or 0 for n in times), default=0) for row in rows}


#: Since when an article is inactive, in milliseconds since the epoch; null if it is active.
DEACTIVATED = "deactivated_at"
_TYPE = "timestamp"


def has_soft_delete(table: Table) -> bool:
    """Whether the table can hold inactive articles."""
    column = table.column(DEACTIVATED)
    return column is not None and column.type == _TYPE


def check_soft_delete(routing: Routing) -> None:
    """Raises SchemaError, naming the command that helps, if the live table has no column for it."""
    table = routing.live.table
    column = table.column(DEACTIVATED)
    if column is None:
        raise SchemaError(f"{table.name} has no column {DEACTIVATED}", hint="add it: embedshift schema add-soft-delete")
    if column.type != _TYPE:
        raise SchemaError(f"{table.name}.{DEACTIVATED} is a {column.type}, not a {_TYPE}", hint="rename that column")


def is_active(row: Mapping[str, Any]) -> bool:
    """Whether a row is active. The row was read with the column, if the table has it."""
    return row.get(DEACTIVATED) is None


def add_soft_delete(settings: Settings, store: Store) -> list[str]:
    """Add the column to the live table and to the other table of each running migration.

    The other tables come first, so that no client can write the column in the live table and miss it in the other. This
    returns when no client can have a cached view without the column, so that every client knows the column before
    anything is deactivated. Safe to repeat.

    Returns:
        The tables to which the column was added.

    Raises:
        StateError: there is no alias.
        SchemaError: a table has a column of that name with another type.
    """
    routing = AliasCache(store, settings).now()
    added = []
    for live_table in (*routing.others, routing.live):
        column = live_table.table.column(DEACTIVATED)
        if column is None:
            store.add_column(live_table.vector_table.table, Column(DEACTIVATED, _TYPE))
            added.append(live_table.vector_table.table)
        elif column.type != _TYPE:
            raise SchemaError(
                f"{live_table.vector_table.table}.{DEACTIVATED} is a {column.type}, not a {_TYPE}",
                hint="rename that column",
            )
    if added:
        threading.Event().wait(settings.articles_cache.total_seconds())
    return added
