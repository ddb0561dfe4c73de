"""Step 4, sync: compare source and target range by range and mend what differs, until a pass finds nothing."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

from pyspark.sql import SparkSession

from jobs.catalog.alias import get_alias
from jobs.catalog.migration import Migration, Ownership, get_migration, owned, read_migration
from jobs.catalog.ranges import Counts, forget_step, progress
from jobs.catalog.states import check_step
from jobs.console import Console
from jobs.errors import CheckFailed
from jobs.settings import Settings
from jobs.spark.dead import check_dead_letters, settle_dead_letters
from jobs.spark.plan import plan_ranges
from jobs.spark.preview import preview
from jobs.spark.run import run_transfer
from jobs.spark.session import spark_session
from jobs.spark.transfer import transfer_of
from jobs.stores.contract import Store


def sync(settings: Settings, store: Store, console: Console, *, dry_run: bool = False) -> dict[str, Any]:
    """Repeat passes until one finds no difference above ``sync.until``.

    Raises:
        CheckFailed: the table still differs after ``sync.passes``, a range failed every try, or too many rows are dead.
        StateError, OwnedByAnother: the state forbids it, or another run does it.
    """
    migration = get_migration(store, settings)
    console.say(f"compare {migration.source.table} with {migration.target.table} and mend what differs")
    if dry_run:
        check_step("sync", migration.state, migration.id)
        return {"dry_run": True, **would_carry(settings, store, console, migration)}
    with (
        owned(store, migration, "sync", settings.cutover.lease) as ownership,
        spark_session(settings, "sync") as session,
    ):
        passes = sync_passes(settings, store, console, session, ownership)
        before = read_migration(store, migration.id).state
        moved = {"indexed": "synced", "rolled_back": "synced", "validated": "synced"}.get(before)
        unsettled = before == "validated" and not any(each.difference for each in passes)
        ownership.change(state=None if unsettled else moved)
    last = passes[-1]
    return {
        "passes": [each.summary() for each in passes],
        "clean": True,
        **last.summary(),
        "next": "embedshift validate",
    }


def would_carry(
    settings: Settings, store: Store, console: Console, migration: Migration, *, backwards: bool = False
) -> dict[str, int]:
    """Compare both tables and say how many rows a pass would carry, as they are now; nothing is written."""
    limit = orphan_limit(settings, store, migration, backwards=backwards)
    transfer = transfer_of(settings, store, migration, "preview", backwards=backwards, orphans_before_us=limit)
    table, other = migration.source.table, migration.target.table
    if backwards:
        table, other = other, table
    with spark_session(settings, "preview") as session:
        found = preview(session, transfer, plan_ranges(store, table, settings.load.ranges))
    console.say(
        f"{found.read:,} rows of {table} compared: {found.written:,} would be written to {other}, {found.deleted:,} "
        "deleted there"
    )
    return asdict(found)


def sync_passes(
    settings: Settings,
    store: Store,
    console: Console,
    session: SparkSession,
    ownership: Ownership,
    *,
    backwards: bool = False,
) -> list[Counts]:
    """Passes from source to target, or backwards, until one is clean.

    A pass that an earlier run left unfinished is ended first; it never counts as the clean one, since ranges of it were
    compared long ago.
    """
    passes: list[Counts] = []
    whole = 0
    while whole < settings.sync.passes:
        migration = read_migration(store, ownership.migration)
        number = int(migration.facts.get("sync_pass", 0))
        resumed = bool(migration.facts.get("sync_pass_open", False))
        if not resumed:
            number += 1
        ownership.change(sync_pass=number, sync_pass_open=True)
        counts, waiting = _pass(settings, store, console, session, ownership, number, backwards=backwards)
        ownership.change(sync_pass_open=False)
        passes.append(counts)
        whole += not resumed
        if counts.difference <= settings.sync.until and not resumed and not waiting:
            return passes
    raise CheckFailed(
        f"the tables still differ by {passes[-1].difference} rows after {len(passes)} passes",
        hint="run embedshift sync again, or accept a difference with sync.until",
    )


def _pass(
    settings: Settings,
    store: Store,
    console: Console,
    session: SparkSession,
    ownership: Ownership,
    number: int,
    *,
    backwards: bool,
) -> tuple[Counts, int]:
    """One pass. Returns its counts, and how many rows wait for the next one: clients could not write both tables."""
    migration = read_migration(store, ownership.migration)
    started = time.monotonic()
    name = "sync back" if backwards else "sync"
    step = f"{'back' if backwards else 'sync'}/{number}"
    limit = orphan_limit(settings, store, migration, backwards=backwards)
    transfer = transfer_of(
        settings, store, migration, step, backwards=backwards, read_back=True, orphans_before_us=limit
    )
    table = migration.target.table if backwards else migration.source.table
    total = progress(store, migration.id, "load").counts.read
    with console.watching(f"{name}, pass {number}", total) as watch:
        done = run_transfer(
            session,
            store,
            transfer,
            plan_ranges(store, table, settings.load.ranges),
            attempts=settings.load.attempts,
            report=lambda now: watch.show(now, now.counts.read, now.counts.dead),
            still_ours=ownership.check,
        )
    letters = settle_dead_letters(store, transfer)
    waiting = sum(letter.of_client for letter in letters)
    lasting = [letter for letter in letters if not letter.of_client]
    check_dead_letters(lasting, done.counts.read, settings.load.tolerate_dead)
    forget_step(store, migration.id, step)
    counts = done.counts
    mended = counts.written - counts.shadowed
    console.say(
        f"{name}, pass {number}: {counts.read:,} rows compared, {mended} mended, {counts.deleted} deleted, "
        f"{counts.shadowed} shadowed, in {time.monotonic() - started:.1f} s"
    )
    return counts, waiting


def orphan_limit(settings: Settings, store: Store, migration: Migration, *, backwards: bool) -> int | None:
    """Before which time a row must have been written for its absence on the other side to mean that it is an orphan.

    Before the switch the source is the truth, and everything else in the target an orphan. After it each table may have
    rows of its own: what was written since the switch, less the skew of clocks, is somebody's new article.
    """
    if not backwards and get_alias(store, migration.alias).target.table != migration.target.table:
        return None
    return int(migration.facts["switched_us"]) - int(settings.sync.clock_skew.total_seconds() * 1_000_000)


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["sync", *sys.argv[1:]]))
