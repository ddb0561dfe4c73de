"""Create and show the tables: keyspace, live table, catalog."""

from __future__ import annotations

from dataclasses import dataclass

from embedshift.catalog.alias import create_alias, find_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.tables import ALL
from embedshift.embedding import DIGEST, Template, load_model
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Table


@dataclass(frozen=True, slots=True)
class Applied:
    """What ``apply`` created; empty if everything existed."""

    keyspaces: tuple[str, ...]
    tables: tuple[str, ...]


def wanted_table(settings: Settings, dimension: int) -> Table:
    """The live table for a new user: the id as uuid, the text's columns, vector and digest."""
    names = [name for name in Template.parse(settings.source.text).columns if name != settings.source.id]
    made = (Column(settings.source.vector, vector_type(dimension)), Column(DIGEST, "blob"))
    key = Column(settings.source.id, "uuid", "partition")
    return Table(settings.source.table, (key, *(Column(name, "text") for name in names), *made))


def apply(settings: Settings, store: Store) -> Applied:
    """Create keyspaces, live table with its index and alias, and catalog, if they are missing.

    A live table that exists is not changed, and neither is an alias. Safe to repeat.
    """
    keyspaces = store.create_keyspaces()
    ensure_catalog(store)
    alias = find_alias(store, settings.alias)
    if alias is not None and alias.target.table != settings.source.table:
        return Applied(tuple(keyspaces), ())  # a cutover has moved on from the table of these settings
    tables = []
    if not store.exists(settings.source.table):
        store.create(wanted_table(settings, load_model(settings.source.model).dimension))
        tables.append(settings.source.table)
    vector_table = live_vector_table(settings, store, store.describe(settings.source.table))
    if alias is None:
        store.create_index(vector_table.index)
        create_alias(store, settings.alias, vector_table)
    return Applied(tuple(keyspaces), tuple(tables))


def show(settings: Settings, store: Store) -> list[str]:
    """The tables of these settings and of the catalog, one line per column."""
    lines = [f"store: {store.label}"]
    for name in (settings.source.table, settings.target.table):
        if not store.exists(name):
            lines.append(f"table {name}: does not exist")
            continue
        lines.append(f"table {name}:")
        lines += [f"  {column.name}  {column.type}  {column.role}" for column in store.describe(name).columns]
    lines.append(f"catalog: {', '.join(table.name for table in ALL)}")
    return lines
