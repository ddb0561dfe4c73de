"""Step 1, prepare: check that source, model and settings fit; create the versioned target; record the migration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from embedshift.catalog.alias import create_alias
from embedshift.catalog.lease import Lease
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.migration import Facts, Migration, check_settings, create_migration, find_migration
from embedshift.catalog.ranges import open_ranges
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.states import ENDED, label
from embedshift.catalog.table_use import DROPPED, free_name, table_use
from embedshift.catalog.vector_table import ModelRecord, VectorTable, index_name, record_of
from embedshift.embedding import DIGEST, Template, choose_precision, load_model
from embedshift.embedding.description import check_embeds, cut_in_words, describe
from embedshift.errors import OwnedByAnother, RefusedError
from embedshift.settings import Settings
from embedshift.spark.ranges import plan_ranges
from embedshift.steps.context import DryRun, StepContext, StepResult
from embedshift.steps.service_cost import book_first_requests, estimates
from embedshift.steps.twin import first_options
from embedshift.steps.twin import in_words as twin_in_words
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Table
from embedshift.telemetry.console import Console
from embedshift.tokens import WHOLE_RING
from embedshift.validation.space import Space, in_words, space_of

#: Texts on which a precision must agree with float32 before it is chosen.
_SAMPLE_ROWS = 48
#: Texts whose tokens are counted, to say how many the new model cuts.
_COUNTED_ROWS = 1000


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Which migration it is, and its state."""

    id: str
    state: str


@dataclass(frozen=True, slots=True)
class ModelNames:
    """The models of both tables."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class SpaceNeeded:
    """What table and index take in each replica, before and after."""

    old: Space
    new: Space


@dataclass(frozen=True, slots=True)
class PrepareResult(StepResult):
    """The migration, its tables and models, the token ranges planned, and the space of a new one."""

    migration: MigrationState
    source: str
    target: str
    models: ModelNames
    ranges: int
    space: SpaceNeeded | None = None
    next: str = "embedshift load"

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        tree = asdict(self)
        if self.space is None:
            tree.pop("space")
        return tree


def prepare(context: StepContext, *, dry_run: bool = False, upgrade: bool = False) -> PrepareResult | DryRun:
    """Prepare a migration; run again, it finds the same one. Both models embed a text before anything else.

    Args:
        context: what the step works with.
        dry_run: check, and change nothing.
        upgrade: written down with a migration that ``embedshift upgrade`` begins.

    Raises:
        SchemaError, SettingsError: tables, template or index options do not fit.
        ModelUnavailable: a model cannot be loaded, or has another dimension than its table.
        RefusedError: the target exists with something else in it, or was prepared under other settings.
    """
    settings, store, console = context.settings, context.store, context.console
    if not dry_run:
        ensure_catalog(store)
    found = find_migration(store, settings)
    running = found is not None and found.state not in ENDED
    if found is not None and running:
        check_settings(found, settings)
        if found.state != "preparing":
            console.say(f"migration {found.id} is already {label(found.state)}")
            return _result(found, 0)
    for line in estimates(settings, store):  # before the first request that costs anything
        console.say(line)
    faults = _try_models(settings)
    source_table = store.describe(settings.source.table)
    source = live_vector_table(settings, store, source_table, keep=not dry_run)
    name = found.target.table if found is not None and running else free_name(store, settings.target.table)
    model = _target_model(settings, store, console, source_table, source, keep=not dry_run)
    target_table, target = _target(settings, source_table, source, name, model)
    if name != settings.target.table:
        console.say(f"a table {settings.target.table} was dropped before, so the target is named {name}")
    if not running and store.exists(target.table):
        raise RefusedError(
            f"the table {target.table} exists, and no open migration fills it",
            hint="name another target.table, or drop that one yourself if nothing needs it",
        )
    store.check_index(target.index)
    estimate = store.estimate(source.table)
    ranges = plan_ranges(store, source.table, settings.load.ranges)
    space = SpaceNeeded(space_of(store, source.index, estimate.rows), space_of(store, target.index, estimate.rows))
    for line in (
        f"source {source.table}: about {estimate.rows:,} rows, model {_named(source.model)}",
        f"target {target.table}: model {_named(target.model)}, {target.model.precision}, {len(ranges)} token ranges",
        f"space in each replica: old {in_words(space.old)}; new {in_words(space.new)}",
        *_of_models(settings, store, source_table, source, target),
        *faults,
        *store.remarks(source_table),
        *twin_in_words(store, source_table, source.vector),
    ):
        console.say(line)
    if dry_run:
        return DryRun(source=source.table, target=target.table, ranges=len(ranges), space=asdict(space))
    create_alias(store, settings.alias, source)
    migration = create_migration(store, settings, source, target, Facts(upgrade=upgrade))
    book_first_requests(store, migration.id, settings)
    with context.owned(migration, "prepare") as lease:
        if not store.exists(target.table):
            _create(store, lease, target_table, first_options(store, source.table))
        open_ranges(store, migration.id, "load", ranges)
        migration = lease.change(state="prepared", rows_estimated=estimate.rows, ranges_planned=len(ranges))
    return _result(migration, len(ranges), space)


def _create(store: Store, lease: Lease, table: Table, options: Mapping[str, str]) -> None:
    """Create the target. If this run has lost its lease meanwhile, and the target was dropped, it is dropped again.

    Raises:
        OwnedByAnother: the lease was lost.
    """
    lease.confirm()
    store.create(table, options)
    try:
        lease.confirm()
    except OwnedByAnother:
        if table_use(store, table.name).state == DROPPED:
            store.drop(table.name)
        raise


def _result(migration: Migration, ranges: int, space: SpaceNeeded | None = None) -> PrepareResult:
    source, target = migration.source, migration.target
    return PrepareResult(
        MigrationState(migration.id, migration.state),
        source.table,
        target.table,
        ModelNames(source.model.name, target.model.name),
        ranges,
        space,
    )


def _try_models(settings: Settings) -> list[str]:
    """Embed with both models. Returns what is wrong with their long texts. Raises ModelUnavailable."""
    tried = [load_model(settings.source.model)]
    if settings.target_model != settings.source.model:
        precision = settings.load.precision
        tried.append(load_model(settings.target_model, "float32" if precision == "auto" else precision))
    return [fault for fault in map(check_embeds, tried) if fault]


def _of_models(
    settings: Settings, store: Store, table: Table, source: VectorTable, target: VectorTable
) -> Iterator[str]:
    """What people should know of the models, and of the texts that they are to embed."""
    old = load_model(settings.source.model)
    yield f"model {old.settings.name}: {describe(old)}"
    own = {old.prompts.own_query, old.prompts.own_document} - {""}
    if own and not (source.model.own_query_prompt or source.model.own_document_prompt):
        yield f"{table.name} was filled by an earlier version, without the model's own prompts, and is searched so"
    if target.model != source.model:
        new = load_model(settings.target_model, target.model.precision)
        yield f"model {new.settings.name}: {describe(new)}"
        if cut := cut_in_words(new, _texts(store, table, settings.source.text, _COUNTED_ROWS)):
            yield cut


def _named(model: ModelRecord) -> str:
    return f"{model.name} ({model.dimension} dimensions)"


def _target(
    settings: Settings, table: Table, source: VectorTable, name: str, model: ModelRecord
) -> tuple[Table, VectorTable]:
    vector = settings.source.vector
    kept = [column for column in table.columns if column.name not in (vector, DIGEST)]
    columns = (*kept, Column(vector, vector_type(model.dimension)), Column(DIGEST, "blob"))
    vector_table = VectorTable(
        name,
        settings.source.id,
        settings.source.text,
        vector,
        True,
        index_name(name, vector),
        settings.target.index,
        model,
        # Applications search with conditions, and find the same columns in the new index.
        source.partition,
        source.filtering,
    )
    return Table(name, columns), vector_table


def _target_model(
    settings: Settings, store: Store, console: Console, table: Table, source: VectorTable, *, keep: bool
) -> ModelRecord:
    if settings.target.model is None or settings.target.model == settings.source.model:
        return source.model
    if settings.target.model.service is not None:
        return record_of(load_model(settings.target.model), store if keep else None)
    precision = settings.load.precision
    if precision == "auto":
        sample = _texts(store, table, settings.source.text, _SAMPLE_ROWS)
        if not sample:
            console.say(
                f"{table.name} has no text to compare precisions on: using float32; load.precision names another"
            )
        precision = choose_precision(settings.target.model, sample)
    return record_of(load_model(settings.target.model, precision))


def _texts(store: Store, table: Table, text: str, rows: int) -> list[str]:
    """The texts of the first rows of a table."""
    template = Template.parse(text)
    values = [name for name in template.columns if name not in {key.name for key in table.keys}]
    first: pa.RecordBatch | None = next(store.scan(table, WHOLE_RING, values=values, batch_rows=rows), None)
    return [] if first is None else template.render(first.slice(0, rows)).to_pylist()
