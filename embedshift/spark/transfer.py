"""A transfer: what one Spark job carries from one table to another, and in which columns.

Load and sync are the same transfer: a load finds an empty target, so that every row differs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from embedshift.catalog.alias import get_alias
from embedshift.catalog.migration import Migration
from embedshift.catalog.vector_table import VectorTable, reached
from embedshift.errors import OwnedByAnother
from embedshift.settings import Settings, StoreSettings, TlsSettings
from embedshift.spark.ranges import task_bounds
from embedshift.spark.rows import Layout
from embedshift.stores.contract import Store
from embedshift.times import now_us, to_us


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRules:
    """What a transfer may do, in addition to what follows from the settings and the tables.

    Args:
        migration: its id.
        step: the name under which the catalog keeps the ranges.
        owner: the run that owns the migration; empty if no migration is involved.
        throttled: whether tasks keep to the limits that operators set.
        read_back: check whether written rows are there.
        into_live: the alias names the target: if write times do not decide, the target's value stays.
        overwrite_shadowed: write what a newer delete hides again, with the present time; never into a live table.
        orphans_before_us: rows of the target that were written at this time or later are deleted only if it is known
            that they were in both tables.
        backwards: from a migration's target to its source, as a rollback carries.
        clock_skew_us: how far apart the clocks of writers may be.
        device: where the model runs, as in the settings.
        inspect: also check the target's vectors, and replace one that is broken or was not written with its digest.
        since_us: compare only rows written since then; None: all.
        by_log: find these rows in the change log.
        indexed_from_us: before which time the target took no write when its index was built; None: it took all.
    """

    migration: str
    step: str
    read_back: bool
    into_live: bool
    overwrite_shadowed: bool
    orphans_before_us: int
    backwards: bool
    clock_skew_us: int
    device: str
    inspect: bool
    owner: str = ""
    throttled: bool = False
    since_us: int | None = None
    by_log: bool = False
    indexed_from_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(TransferRules):
    """Everything that a task must know: it is sent to executors and contains no secret.

    ``source``, ``target`` and ``catalog`` say where each of these is; today they are one store. ``batch_tokens`` is 0
    if the device's own value is to be used. ``rows_most`` and ``bytes_most`` limit what one task reads of its range;
    it leaves the rest to others (0: no limit).
    """

    source: StoreSettings
    target: StoreSettings
    catalog: StoreSettings
    layout: Layout
    window_rows: int
    batch_tokens: int
    rows_most: int = 0
    bytes_most: int = 0

    @property
    def run(self) -> str:
        """The run whose limits the tasks keep to; empty if there are none."""
        return self.owner if self.throttled else ""


def reachable(store: StoreSettings) -> StoreSettings:
    """The same store for workers, which may have another working directory: with every path absolute."""
    named = {"tls": store.tls, "vector_tls": store.vector_tls}
    tls = {
        name: part and part.model_copy(update=_resolved(part, ("ca", "certificate", "key")))
        for name, part in named.items()
    }
    return store.model_copy(update={**_resolved(store, ("path", "credentials_file")), **tls})


def _resolved(part: StoreSettings | TlsSettings, names: tuple[str, ...]) -> dict[str, Path]:
    return {name: path.resolve() for name in names if (path := getattr(part, name)) is not None}


def transfer_of(
    settings: Settings,
    store: Store,
    migration: Migration,
    step: str,
    *,
    backwards: bool = False,
    read_back: bool = False,
    orphans_before_us: int | None = None,
    since_us: int | None = None,
    owner: str = "",
    throttled: bool = True,
) -> Transfer:
    """The transfer of one step of a migration.

    Args:
        settings: of the migration.
        store: the store of both tables and of the catalog.
        migration: what is carried.
        step: the name under which the catalog keeps the ranges.
        backwards: from target to source, as a rollback needs it.
        read_back, since_us, owner, throttled: as in ``TransferRules``.
        orphans_before_us: the same; None for what follows from the time and from the migration's switch.

    Raises:
        OwnedByAnother: another run has switched the alias since this one read the migration.
    """
    source, target = migration.source, migration.target
    if backwards:
        source, target = target, source
    log = since_us is not None and settings.sync.change_log == "auto"
    into_live = get_alias(store, migration.alias).target.table == target.table
    rules = TransferRules(
        migration=migration.id,
        step=step,
        owner=owner,
        throttled=throttled,
        read_back=read_back,
        into_live=into_live,
        # Who deletes from a live table means it.
        overwrite_shadowed=settings.sync.shadowed == "overwrite" and not into_live,
        orphans_before_us=(
            _orphan_limit(settings, migration, after_switch=backwards or into_live)
            if orphans_before_us is None
            else orphans_before_us
        ),
        backwards=backwards,
        device=(settings.source.model if backwards else settings.target_model).device,
        clock_skew_us=to_us(settings.sync.clock_skew),
        inspect=settings.sync.inspect,
        since_us=since_us,
        by_log=since_us is not None and log and not store.lacks_changes(store.describe(source.table), since_us),
        indexed_from_us=None if backwards else migration.facts.indexed_from_us,
    )
    return _between(settings, store, source, target, rules)


def _orphan_limit(settings: Settings, migration: Migration, *, after_switch: bool) -> int:
    """Before which time a row must have been written for its absence on the other side to mean that it was deleted.

    As long as the source is live, that is the beginning of this pass: what is younger may have been written while the
    tables are compared. After a switch, and on the way back, each of the tables may have rows of its own since. Both
    times are less what the clocks of writers may be apart.
    """
    since_us = migration.facts.switched_us if after_switch else now_us()
    if since_us is None:
        # This run slept between its looks at the migration and at the alias.
        raise OwnedByAnother(f"the alias {migration.alias} has moved to {migration.target.table} since this run began")
    return since_us - to_us(settings.sync.clock_skew)


def transfer_in_place(settings: Settings, store: Store, vector_table: VectorTable, step: str) -> Transfer:
    """The transfer of a table into itself: it writes only vectors that are missing, stale or broken."""
    of_target = vector_table.table != settings.source.table
    rules = TransferRules(
        migration=f"audit-{vector_table.table}",
        step=step,
        read_back=True,
        into_live=True,
        overwrite_shadowed=True,
        orphans_before_us=0,
        backwards=False,
        device=(settings.target_model if of_target else settings.source.model).device,
        clock_skew_us=0,
        inspect=True,
    )
    return _between(settings, store, vector_table, vector_table, rules)


def _between(
    settings: Settings, store: Store, source: VectorTable, target: VectorTable, rules: TransferRules
) -> Transfer:
    """The rules, with what follows from the settings and the tables."""
    most = task_bounds(store.estimate(source.table), settings.load.ranges, settings.load.task_rows)
    at = reachable(settings.store)
    return Transfer(
        source=at,
        target=at,
        catalog=at,
        layout=Layout(
            reached(source, settings),
            reached(target, settings),
            store.describe(source.table),
            store.describe(target.table),
            source.table == target.table,
            store.table_id(source.table),
            store.table_id(target.table),
        ),
        window_rows=settings.load.window_rows,
        batch_tokens=0 if settings.load.batch_tokens == "auto" else settings.load.batch_tokens,
        rows_most=most.rows,
        bytes_most=most.bytes,
        **asdict(rules),
    )
