"""Step 2, load: scan the source by token ranges, embed every row with the new model, write it into the target."""

from __future__ import annotations

import sys
import time
from typing import Any

from jobs.catalog.migration import get_migration, owned
from jobs.catalog.ranges import Progress, progress
from jobs.console import Console
from jobs.settings import Settings
from jobs.spark.dead import check_dead_letters, settle_dead_letters
from jobs.spark.pacing import paced
from jobs.spark.plan import plan_ranges
from jobs.spark.run import run_transfer
from jobs.spark.session import spark_session
from jobs.spark.transfer import transfer_of
from jobs.stores.contract import Store


def load(settings: Settings, store: Store, console: Console, *, dry_run: bool = False) -> dict[str, Any]:
    """Fill the target. Killed at any moment and run again, it does only what is not recorded as done.

    Returns:
        Rows read, written, unchanged and dead, ranges, and the seconds that this run took.

    Raises:
        CheckFailed: ranges failed every try, or more rows are dead than tolerated.
        StateError, OwnedByAnother: the state forbids it, or another run does it.
    """
    migration = get_migration(store, settings)
    before = progress(store, migration.id, "load")
    total = max(int(migration.facts.get("rows_estimated", 0)), before.counts.read)
    what = "copy the vectors of" if migration.copies_vectors else f"embed with {migration.target.model.name}"
    console.say(
        f"{what} about {total - before.counts.read:,} rows of {migration.source.table}, into {migration.target.table}"
    )
    if dry_run:
        return {"dry_run": True, "rows_left": total - before.counts.read}
    if before.complete and migration.state == "loaded":
        console.say(f"all {before.ranges} ranges are loaded already")
        return {**before.counts.summary(), "ranges": before.ranges, "seconds": 0.0, "next": "embedshift index"}
    started = time.monotonic()
    with owned(store, migration, "load", settings.cutover.lease) as ownership:
        plan = plan_ranges(store, migration.source.table, settings.load.ranges)
        transfer = transfer_of(settings, store, migration, "load", run=ownership.owner)
        model = None if migration.copies_vectors else migration.target.model
        with (
            spark_session(settings, "load", model=model) as session,
            console.watching("load", total) as watch,
            paced(session, store, transfer, settings.throttle, console.say),
        ):
            done = run_transfer(
                session,
                store,
                transfer,
                plan,
                attempts=settings.load.attempts,
                report=lambda now: watch.show(now, now.counts.read, now.counts.dead),
                still_ours=ownership.check,
            )
        letters = settle_dead_letters(store, transfer)
        ownership.change(rows=done.counts.read, dead=len(letters))
        # What a client could not write here may lie in a range that was done before: sync repairs it.
        lasting = [letter for letter in letters if not letter.of_client]
        check_dead_letters(lasting, done.counts.read, settings.load.tolerate_dead)
        seconds = time.monotonic() - started
        spent = float(migration.facts.get("load_seconds", 0)) + seconds
        ownership.change(state="loaded" if migration.state == "prepared" else None, load_seconds=spent)
    console.say(_summary(done, seconds))
    return {**done.counts.summary(), "ranges": done.ranges, "seconds": round(seconds, 3), "next": "embedshift index"}


def _summary(done: Progress, seconds: float) -> str:
    counts = done.counts
    return (
        f"loaded {counts.read:,} rows in {seconds:.1f} s, in {done.ranges} ranges: {counts.written:,} written, "
        f"{counts.unchanged:,} there already, {counts.dead} dead"
    )


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["load", *sys.argv[1:]]))
