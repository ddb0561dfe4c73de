"""The live table, as the settings and the catalog describe it."""

from __future__ import annotations

from embedshift.catalog.alias import find_alias
from embedshift.catalog.vector_table import ModelRecord, VectorTable, index_name, is_served, reached, record_of
from embedshift.embedding import DIGEST, Template, load_model
from embedshift.errors import ModelUnavailable, RefusedError, SchemaError, SettingsError
from embedshift.settings import IndexSettings, ModelSettings, Settings
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import readable, vector_dimension
from embedshift.stores.model import Table


def live_vector_table(settings: Settings, store: Store, table: Table, *, keep: bool = True) -> VectorTable:
    """The live table as a vector table, after its columns, its model and the alias were compared with the settings.

    Args:
        keep: record the answers of a service's model that the catalog does not know yet.
    """
    _check_columns(settings, table)
    column = table.column(settings.source.vector)
    dimension = vector_dimension(column.type) if column else None
    if dimension is None:
        raise SchemaError(
            f"{table.name} has no vector column {settings.source.vector}", hint="name it in source.vector"
        )
    alias = find_alias(store, settings.alias)
    if alias is not None:
        if alias.target.table != table.name:
            raise RefusedError(
                f"the alias {settings.alias} points to {alias.target.table}, not to source.table {table.name}",
                hint="migrate from the table that is live",
            )
        _check_same_text(settings, alias.target)
        _check_same_model(store, settings.source.model, alias.target.model)
        return reached(alias.target, settings)
    model = load_model(settings.source.model)
    if model.dimension != dimension:
        raise ModelUnavailable(
            f"{model.settings.name} makes {model.dimension} dimensions, {table.name}.{settings.source.vector} "
            f"holds {dimension}",
            hint="name in source.model the model that made the vectors",
        )
    present = store.index_on(table.name, settings.source.vector)
    return VectorTable(
        table.name,
        settings.source.id,
        settings.source.text,
        settings.source.vector,
        table.column(DIGEST) is not None,
        present.name if present else index_name(table.name, settings.source.vector),
        present.options if present else IndexSettings(),
        record_of(model, store if keep else None),
        *((present.partition, present.filtering) if present else ()),
    )


def _check_columns(settings: Settings, table: Table) -> None:
    if table.column(settings.source.id) is None:
        names = ", ".join(column.name for column in table.columns)
        raise SchemaError(f"{table.name} has no column {settings.source.id}", hint=f"set source.id to one of {names}")
    Template.parse(settings.source.text).check(readable(table), table.name)
    own = table.column(DIGEST)
    if own is not None and own.type != "blob":
        raise SchemaError(
            f"{table.name}.{DIGEST} is a {own.type} of your own, and embedshift keeps its digests under that name",
            hint="copy it into a column of another name, and drop it",
        )


def _check_same_text(settings: Settings, recorded: VectorTable) -> None:
    for name in ("id", "text", "vector"):
        wanted, known = getattr(settings.source, name), getattr(recorded, name)
        if wanted != known:
            raise SettingsError(
                f"source.{name} is {wanted}, but the alias says that the vectors were made with {known}",
                hint=f"set source.{name} as it was",
            )


def _check_same_model(store: Store, wanted: ModelSettings, recorded: ModelRecord) -> None:
    if not is_served(store, recorded, wanted):
        raise SettingsError(
            f"source.model is {wanted.name}, but the alias says that {recorded.name} made the vectors",
            hint="set source.model as it was, with its prompts and length",
        )
