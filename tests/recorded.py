"""Tables, aliases and migrations as the catalog has them, made without a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobs.catalog.endpoint import Endpoint, ModelRecord, index_name
from jobs.catalog.migration import Migration, create_migration, owned
from jobs.catalog.tables import now_us
from jobs.settings import IndexSettings, Settings
from jobs.stores.contract import Column, Store, Table
from jobs.stores.values import vector_type

DIMENSION = 8


def endpoint(table: str, model: str) -> Endpoint:
    record = ModelRecord(model, None, "", "", None, True, "float32", DIMENSION, f"fingerprint of {model}")
    text = "{title}. {content}"
    return Endpoint(table, "id", text, "embedding", True, index_name(table, "embedding"), IndexSettings(), record)


def recorded(source: str, target: str, *, state: str = "validated") -> Migration:
    """A migration that no store knows."""
    ends = endpoint(source, "small"), endpoint(target, "large")
    return Migration(f"{source}-to-{target}", "articles", *ends, {}, state, {}, "", 0, 0, 0, 0)


def make_table(store: Store, name: str) -> None:
    columns = (Column("id", "text", "partition"), Column("title", "text"), Column("embedding", vector_type(DIMENSION)))
    store.create(Table(name, columns))


def record(store: Store, settings: Settings, state: str, **facts: Any) -> Migration:
    """A migration by these settings, in a state; its tables need not be there."""
    source = endpoint(settings.source.table, settings.source.model.name)
    target = endpoint(settings.target.table, settings.target_model.name)
    migration = create_migration(store, settings, source, target, **facts)
    with owned(store, migration, "prepare", timedelta(seconds=30)) as ownership:
        return ownership.change(state=state, switched_us=now_us())
