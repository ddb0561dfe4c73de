"""Tables, aliases and migrations as the catalog has them, made without a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from embedshift.catalog.lease import owned
from embedshift.catalog.migration import Facts, Migration, create_migration
from embedshift.catalog.vector_table import ModelRecord, VectorTable, index_name
from embedshift.settings import IndexSettings, Settings
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Table
from embedshift.times import now_us

DIMENSION = 8


def vector_table(table: str, model: str) -> VectorTable:
    record = ModelRecord(model, None, "", "", None, True, "float32", DIMENSION, f"fingerprint of {model}")
    text = "{title}. {content}"
    return VectorTable(table, "id", text, "embedding", True, index_name(table, "embedding"), IndexSettings(), record)


def recorded(source: str, target: str, *, state: str = "validated") -> Migration:
    """A migration that no store knows."""
    ends = vector_table(source, "small"), vector_table(target, "large")
    return Migration(f"{source}-to-{target}", "articles", *ends, {}, state, Facts(), "", 0, 0, 0, 0)


def make_table(store: Store, name: str) -> None:
    columns = (Column("id", "text", "partition"), Column("title", "text"), Column("embedding", vector_type(DIMENSION)))
    store.create(Table(name, columns))


def record(store: Store, settings: Settings, state: str, **facts: Any) -> Migration:
    """A migration by these settings, in a state; its tables need not be there."""
    source = vector_table(settings.source.table, settings.source.model.name)
    target = vector_table(settings.target.table, settings.target_model.name)
    migration = create_migration(store, settings, source, target, Facts(**facts))
    with owned(store, migration, "prepare", timedelta(seconds=30)) as lease:
        return lease.change(state=state, switched_us=now_us())
