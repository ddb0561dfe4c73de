"""Step 1, prepare: check that source, model and settings fit; create the versioned target; record the migration."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from jobs.articles.live import live_endpoint
from jobs.catalog.alias import create_alias
from jobs.catalog.endpoint import Endpoint, ModelRecord, index_name
from jobs.catalog.migration import Migration, check_settings, create_migration, find_migration, owned
from jobs.catalog.models import record_of
from jobs.catalog.ranges import open_ranges
from jobs.catalog.states import ENDED
from jobs.catalog.tables import ensure_catalog
from jobs.console import Console
from jobs.embedding import DIGEST, Template, choose_precision, load_model
from jobs.errors import RefusedError
from jobs.quality.space import Space, in_words, space_of
from jobs.settings import Settings
from jobs.spark.plan import plan_ranges
from jobs.stores.contract import Column, Store, Table
from jobs.stores.values import vector_type
from jobs.tokens import WHOLE_RING

#: Texts on which a precision must agree with float32 before it is chosen.
_SAMPLE_ROWS = 48


def prepare(
    settings: Settings, store: Store, console: Console, *, dry_run: bool = False, **facts: Any
) -> dict[str, Any]:
    """Prepare a migration; run again, it finds the same one.

    Args:
        facts: written down with a migration that is new.

    Returns:
        The migration's id, state, source, target, models and planned ranges.

    Raises:
        SchemaError, SettingsError: tables, template or index options do not fit.
        ModelUnavailable: a model cannot be loaded, or has another dimension than its table.
        RefusedError: the target exists with something else in it, or was prepared under other settings.
    """
    if not dry_run:
        ensure_catalog(store)
    found = find_migration(store, settings)
    running = found is not None and found.state not in ENDED
    if found is not None and running:
        check_settings(found, settings)
        if found.state != "preparing":
            console.say(f"migration {found.id} is {found.state} already")
            return _result(found, 0)
    source_table = store.describe(settings.source.table)
    source = live_endpoint(settings, store, source_table)
    target_table, target = _target(settings, store, console, source_table, source)
    if not running and store.exists(target.table):
        raise RefusedError(
            f"the table {target.table} exists, and no migration that is open fills it",
            hint="name another target.table, or drop that one yourself if nothing needs it",
        )
    store.check_index(target.index)
    estimate = store.estimate(source.table)
    ranges = plan_ranges(store, source.table, settings.load.ranges)
    space = {"old": space_of(store, source.index, estimate.rows), "new": space_of(store, target.index, estimate.rows)}
    for line in (
        f"source {source.table}: about {estimate.rows:,} rows, model {_named(source.model)}",
        f"target {target.table}: model {_named(target.model)}, {target.model.precision}, {len(ranges)} token ranges",
        f"space, in each replica: old {in_words(space['old'])}; new {in_words(space['new'])}",
        *store.remarks(source_table),
    ):
        console.say(line)
    if dry_run:
        return {
            "dry_run": True,
            "source": source.table,
            "target": target.table,
            "ranges": len(ranges),
            "space": _plain(space),
        }
    create_alias(store, settings.alias, source)
    migration = create_migration(store, settings, source, target, **facts)
    with owned(store, migration, "prepare", settings.cutover.lease) as ownership:
        if not store.exists(target.table):
            store.create(target_table)
        open_ranges(store, migration.id, "load", ranges)
        planned = {"rows_estimated": estimate.rows, "ranges_planned": len(ranges)}
        migration = ownership.change(state="prepared", **planned)
    return {**_result(migration, len(ranges)), "space": _plain(space)}


def _plain(space: dict[str, Space]) -> dict[str, dict[str, Any]]:
    return {name: asdict(each) for name, each in space.items()}


def _result(migration: Migration, ranges: int) -> dict[str, Any]:
    return {
        "migration": {"id": migration.id, "state": migration.state},
        "source": migration.source.table,
        "target": migration.target.table,
        "models": {"old": migration.source.model.name, "new": migration.target.model.name},
        "ranges": ranges,
        "next": "embedshift load",
    }


def _named(model: ModelRecord) -> str:
    return f"{model.name} ({model.dimension} dimensions)"


def _target(
    settings: Settings, store: Store, console: Console, table: Table, source: Endpoint
) -> tuple[Table, Endpoint]:
    vector = settings.source.vector
    model = _target_model(settings, store, console, table, source)
    kept = [column for column in table.columns if column.name not in (vector, DIGEST)]
    columns = (*kept, Column(vector, vector_type(model.dimension)), Column(DIGEST, "blob"))
    name = settings.target.table
    endpoint = Endpoint(
        name,
        settings.source.id,
        settings.source.text,
        vector,
        True,
        index_name(name, vector),
        settings.target.index,
        model,
    )
    return Table(name, columns), endpoint


def _target_model(settings: Settings, store: Store, console: Console, table: Table, source: Endpoint) -> ModelRecord:
    if settings.target.model is None or settings.target.model == settings.source.model:
        return source.model
    precision = settings.load.precision
    if precision == "auto":
        sample = _sample(store, table, settings.source.text)
        if not sample:
            console.say(
                f"{table.name} holds no text to compare precisions on: float32, unless load.precision names one"
            )
        precision = choose_precision(settings.target.model, sample)
    return record_of(load_model(settings.target.model, precision))


def _sample(store: Store, table: Table, text: str) -> list[str]:
    template = Template.parse(text)
    values = [name for name in template.columns if name not in {key.name for key in table.keys}]
    first: pa.RecordBatch | None = next(store.scan(table, WHOLE_RING, values=values, batch_rows=_SAMPLE_ROWS), None)
    return [] if first is None else template.render(first.slice(0, _SAMPLE_ROWS)).to_pylist()


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["prepare", *sys.argv[1:]]))
