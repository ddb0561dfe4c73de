"""Step 2, load: scan the source by token ranges, embed every row with the new model, write it into the target."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from embedshift.catalog.migration import Migration, get_migration
from embedshift.catalog.ranges import Counts, Progress, progress
from embedshift.catalog.states import after
from embedshift.errors import RefusedError
from embedshift.spark.dead_letters import check_dead_letters, settle_dead_letters
from embedshift.spark.ranges import plan_ranges
from embedshift.spark.run import run_transfer
from embedshift.spark.throttle_driver import throttled
from embedshift.spark.transfer import transfer_of
from embedshift.steps.context import DryRun, StepContext, StepResult
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import vector_dimension


@dataclass(frozen=True, slots=True)
class LoadResult(StepResult):
    """What became of the rows, in how many ranges, and the seconds that this run took."""

    counts: Counts
    ranges: int
    seconds: float
    next: str = "embedshift sync"

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return {**self.counts.summary(), "ranges": self.ranges, "seconds": self.seconds, "next": self.next}


def load(context: StepContext, *, dry_run: bool = False, drop_index: bool = False) -> LoadResult | DryRun:
    """Fill the target. Killed at any moment and run again, it does only what is not recorded as done.

    Args:
        context: what the step works with.
        dry_run: change nothing.
        drop_index: drop an index that the target has already, if a log feeds it.

    Raises:
        CheckFailed: ranges failed every attempt, or more rows are dead than tolerated.
        StateError, OwnedByAnother: the state forbids it, or another run does it.
        RefusedError: a log feeds the target already, so that it takes no writes of old times.
    """
    settings, store, console = context.settings, context.store, context.console
    migration = get_migration(store, settings)
    before = progress(store, migration.id, "load")
    total = max(migration.facts.rows_estimated, before.counts.read)
    console.say(_announcement(migration, total - before.counts.read))
    if dry_run:
        return DryRun(rows_left=total - before.counts.read)
    if before.complete and migration.state == "loaded":
        console.say(f"all {before.ranges} ranges are already loaded")
        return LoadResult(before.counts, before.ranges, 0.0)
    started = time.monotonic()
    with context.owned(migration, "load") as lease:
        _end_log(store, migration, drop_index=drop_index)
        plan = plan_ranges(store, migration.source.table, settings.load.ranges)
        transfer = transfer_of(settings, store, migration, "load", owner=lease.owner)
        model = None if migration.copies_vectors else migration.target.model
        with (
            context.spark(migration.id, model=model) as spark,
            console.watching("load", total) as watch,
            throttled(spark, store, transfer, settings.throttle, console.say),
        ):
            done = run_transfer(
                spark,
                store,
                transfer,
                plan,
                attempts=settings.load.attempts,
                report=watch.show,
                still_ours=lease.check,
            )
        letters = settle_dead_letters(store, transfer)
        lease.change(rows=done.counts.read, dead=len(letters))
        # What a client could not write here may be in a range that was done before: sync repairs it.
        lasting = [letter for letter in letters if not letter.of_client]
        check_dead_letters(lasting, done.counts.read, settings.load.tolerate_dead)
        seconds = time.monotonic() - started
        spent = migration.facts.load_seconds + seconds
        lease.change(state=after("load", migration.state), load_seconds=spent)
    console.say(_summary(done, seconds))
    return LoadResult(done.counts, done.ranges, round(seconds, 3))


def _end_log(store: Store, migration: Migration, *, drop_index: bool) -> None:
    """Make sure that rows can be written with their own times, which no log of the target may refuse."""
    target = migration.target
    if store.write_floor(target.table) is None:
        return
    vectors = [column.name for column in store.describe(target.table).others if vector_dimension(column.type)]
    while (index := next(filter(None, (store.index_on(target.table, name) for name in vectors)), None)) is not None:
        if not drop_index:
            raise RefusedError(
                f"{target.table} has an index already, {index.name}, and takes no write from before that",
                hint="embedshift load --drop-index drops it; embedshift index builds it when all rows are there",
            )
        store.drop_index(index)
    if store.write_floor(target.table) is not None:
        raise RefusedError(
            f"{target.table} has a change log, and takes no write from before it",
            hint=f"ALTER TABLE {target.table} WITH cdc = {{'enabled': false}}, load and sync, and switch it on again "
            "before embedshift index",
        )


def _announcement(migration: Migration, rows: int) -> str:
    what = "copy the vectors of" if migration.copies_vectors else f"embed with {migration.target.model.name}"
    return f"{what} about {rows:,} rows of {migration.source.table}, into {migration.target.table}"


def _summary(done: Progress, seconds: float) -> str:
    counts = done.counts
    return (
        f"loaded {counts.read:,} rows in {seconds:.1f} s, in {done.ranges} ranges: {counts.written:,} written, "
        f"{counts.unchanged:,} unchanged, {counts.dead} dead"
    )
