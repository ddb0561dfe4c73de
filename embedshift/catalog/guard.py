"""Irreversible actions. Each checks immediately before that the lease is still ours and the alias has not moved.

The checks are serial reads. They make it unlikely that a run that was paused acts on outdated information; they cannot
rule it out.
"""

from __future__ import annotations

from embedshift.catalog.alias import Alias, aliases_of, check_unmoved, get_alias
from embedshift.catalog.lease import Lease
from embedshift.catalog.migration import read_migration
from embedshift.errors import OwnedByAnother, RefusedError
from embedshift.stores.contract import Store
from embedshift.stores.model import Index


def drop_table(store: Store, lease: Lease | None, table: str) -> None:
    """Drop a table that no alias names.

    Args:
        store: has the table and the catalog.
        lease: of the migration that the table belongs to; None if it belongs to none.
        table: its name.

    Raises:
        OwnedByAnother: this run has lost its lease.
        RefusedError: an alias names the table.
    """
    _confirm(store, lease, table)
    store.drop(table)


def drop_index(store: Store, lease: Lease | None, index: Index) -> None:
    """Drop the index of a table that no alias names. Raises the same errors as ``drop_table``."""
    _confirm(store, lease, index.table)
    store.drop_index(index)


def drop_live_index(store: Store, lease: Lease | None, index: Index, seen: Alias) -> None:
    """Drop an index that an alias names, to build it again.

    Raises:
        OwnedByAnother: this run has lost its lease.
        RefusedError: the alias has moved since it was seen.
    """
    if lease is not None:
        lease.confirm()
    check_unmoved(store, seen)
    store.drop_index(index)


def _confirm(store: Store, lease: Lease | None, table: str) -> None:
    if lease is not None:
        lease.confirm()
    check_not_live(store, table)


def check_not_live(store: Store, table: str, hint: str = "move that alias first") -> None:
    """Raises RefusedError if an alias names the table."""
    if naming := aliases_of(store, table):
        raise RefusedError(f"{table} is live: the alias {naming[0]} names it", hint=hint)


def check_may_delete(store: Store, migration: str, owner: str, table: str, *, live: bool) -> None:
    """Before a task deletes a batch of rows.

    Args:
        store: has the table and the catalog.
        migration: its id.
        owner: the run that the task works for.
        table: the table that rows are deleted from.
        live: whether the alias named that table when the run began its pass.

    Raises:
        OwnedByAnother: that run no longer owns the migration, or the alias has moved onto the table, or away from it.
    """
    seen = read_migration(store, migration)
    if seen.owner != owner:
        raise OwnedByAnother(f"the run of this task has ended: {owner} no longer owns {migration}")
    if (get_alias(store, seen.alias).target.table == table) != live:
        raise OwnedByAnother(f"the alias {seen.alias} moved while a task was about to delete rows of {table}")
