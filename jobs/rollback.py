"""The way back: carry what was written since the cutover into the old table, then move the alias back."""

from __future__ import annotations

import sys
import threading
from typing import Any

from jobs.catalog.alias import get_alias, move_alias
from jobs.catalog.migration import Migration, get_migration, owned
from jobs.catalog.tables import ensure_catalog
from jobs.console import Console
from jobs.errors import RefusedError
from jobs.quality.known import check_known
from jobs.settings import Settings, format_duration
from jobs.spark.session import spark_session
from jobs.stores.contract import Store
from jobs.sync import sync_passes


def rollback(settings: Settings, store: Store, console: Console, *, dry_run: bool = False) -> dict[str, Any]:
    """Go back to the old table and the old model without losing a write made since the cutover.

    Raises:
        StateError: there was no cutover, or the old table is retired.
        RefusedError: somebody else moved the alias.
    """
    ensure_catalog(store)
    migration = get_migration(store, settings)
    for line in plan_lines(settings, migration):
        console.say(line)
    if dry_run:
        return {"dry_run": True, "plan": plan_lines(settings, migration)}
    with (
        owned(store, migration, "rollback", settings.cutover.lease) as ownership,
        spark_session(settings, "rollback") as session,
    ):
        ownership.change(state="rolling_back")
        alias = get_alias(store, settings.alias)
        before = alias.target.table
        if before not in (migration.source.table, migration.target.table):
            raise RefusedError(
                f"the alias {alias.name} points to {before}, which this migration does not know",
                hint="look at embedshift status: something else has moved it",
            )
        sync_passes(settings, store, console, session, ownership, backwards=True)
        if before == migration.target.table:
            alias = move_alias(store, alias, migration.source, migration=migration.id, reason="rollback")
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        sync_passes(settings, store, console, session, ownership, backwards=True)
        check_known(store, alias.target.index)
        ownership.change(state="rolled_back")
    console.say(f"alias {alias.name}: {before} → {alias.target.table}, model {alias.target.model.name}")
    return {
        "alias": {"before": before, "after": alias.target.table, "version": alias.version},
        "next": "embedshift sync, once the reason for the way back is mended",
    }


def plan_lines(settings: Settings, migration: Migration) -> list[str]:
    """What a rollback does, in order."""
    cache = format_duration(settings.cutover.client_cache)
    return [
        f"1. carry what was written to {migration.target.table} since the cutover into {migration.source.table}, "
        f"embedded with {migration.source.model.name}",
        f"2. move the alias {settings.alias} back to {migration.source.table} by compare-and-set",
        f"3. wait {cache} for the clients that still have the new alias",
        "4. carry once more, for what they wrote meanwhile",
        "5. search through the alias for known articles",
    ]


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["rollback", *sys.argv[1:]]))
