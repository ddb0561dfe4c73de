"""Acts that cannot be undone. Each is written down first, in a row that every rival has to change as well."""

from __future__ import annotations

from collections.abc import Callable

from embedshift.catalog.alias import Alias, aliases_of, check_unmoved, get_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.lease import Lease, never
from embedshift.catalog.migration import read_migration
from embedshift.catalog.table_use import close_table, leave_table, mark_dropped, reopen_table
from embedshift.errors import NotPermitted, OwnedByAnother, RefusedError, SchemaError
from embedshift.stores.contract import Store
from embedshift.stores.model import Index


def drop_table(
    store: Store, lease: Lease | None, table: str, *, of: str = "", still: Callable[[], None] = never
) -> None:
    """Drop a table, with its index, to which no alias points. From its first step on, none can move to it.

    Args:
        store: has the table and the catalog.
        lease: of the migration that the table belongs to; None if it belongs to none.
        table: its name.
        of: an alias that may point to it, since it is dropped with it.
        still: raises if the caller must not drop it any more; called immediately before.

    Raises:
        OwnedByAnother: this run has lost its lease.
        RefusedError: an alias names the table.
        SchemaError, NotPermitted: the store refuses, for instance because a view depends on the table; its index is
            still there, and it can be used as before.
    """
    _close(store, table, of)
    if lease is not None:
        lease.confirm()
    still()
    try:
        store.drop(table)
    except (SchemaError, NotPermitted):
        reopen_table(store, table)
        raise
    mark_dropped(store, table)


def _close(store: Store, table: str, of: str) -> None:
    check_not_live(store, table, besides=of)
    for alias in close_table(store, table, frozenset({of})):
        # Either a run is about to move the alias here, or it was killed: after this claim it cannot move it any more.
        claim_alias(store, alias, "")
        check_not_live(store, table, besides=of)
        leave_table(store, table, alias)
    if using := close_table(store, table, frozenset({of})):
        raise RefusedError(f"the alias {min(using)} is about to move to {table}", hint="look at embedshift status")


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


def check_not_live(store: Store, table: str, hint: str = "move that alias first", *, besides: str = "") -> None:
    """Raises RefusedError if an alias, besides one, names the table."""
    if naming := [alias for alias in aliases_of(store, table) if alias != besides]:
        raise RefusedError(f"{table} is live: the alias {naming[0]} names it", hint=hint)


def check_may_delete(store: Store, migration: str, owner: str, table: str, *, live: bool) -> None:
    """The serial look of a task before it deletes a batch of rows.

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
