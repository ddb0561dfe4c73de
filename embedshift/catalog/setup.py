"""Making sure that the catalog is there, with the tables and columns of this version."""

from __future__ import annotations

from embedshift.catalog.former import has_former_columns, is_former, take_over
from embedshift.catalog.table_use import use_table
from embedshift.catalog.tables import ALIAS, ALL, CLAIM, TABLE_USE
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import StateError
from embedshift.stores.contract import Store


def ensure_catalog(store: Store) -> None:
    """Create the tables that are missing, and take over those of a former version.

    Raises:
        StateError: a run of the former version is at work.
    """
    store.records.ensure(ALL)
    take_over(store)
    _add_claims(store)


def _add_claims(store: Store) -> None:
    """What catalogs lack that were made before aliases were claimed: the columns, and what is known of each table."""
    if not set(CLAIM.columns) <= store.records.columns(CLAIM):
        store.records.add_columns(CLAIM)
    known = {row["name"] for row in store.records.select(TABLE_USE, {})}
    for row in store.records.select(ALIAS, {}):
        table = VectorTable.from_json(row["target"]).table
        if table not in known:
            use_table(store, table, row["alias"])


def take_over_former(store: Store) -> None:
    """Take a catalog of a former version over; does nothing to any other, and makes none.

    Raises:
        StateError: a run of the former version is at work.
    """
    if has_former_columns(store):
        ensure_catalog(store)


def check_current(store: Store) -> None:
    """Raises StateError if a former version has written the catalog: what it says would be read wrongly."""
    if is_former(store):
        raise StateError(
            "a former version of embedshift has written this catalog",
            hint="end its runs, then take the catalog over: embedshift schema apply",
        )
