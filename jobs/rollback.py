"""The way back: carry what was written since the cutover into the old table, then move the alias back."""

from __future__ import annotations

import sys
import threading
from typing import Any

from jobs.catalog.alias import Alias, get_alias, move_alias
from jobs.catalog.migration import Migration, get_migration, owned, read_migration
from jobs.catalog.states import check_step
from jobs.console import Console
from jobs.errors import RefusedError
from jobs.quality.known import check_known
from jobs.settings import Settings, format_duration
from jobs.spark.session import spark_session
from jobs.stores.contract import Store
from jobs.sync import Syncing, would_carry


def rollback(settings: Settings, store: Store, console: Console, *, dry_run: bool = False) -> dict[str, Any]:
    """Go back to the old table and the old model without losing a write made since the cutover.

    Raises:
        StateError: there was no cutover, or the old table is retired.
        RefusedError: somebody else moved the alias.
    """
    migration = get_migration(store, settings)
    check_step("rollback", migration.state, migration.id)
    _check_known_target(get_alias(store, settings.alias), migration)
    for line in plan_lines(settings, migration):
        console.say(line)
    if dry_run:
        found = would_carry(settings, store, console, migration, backwards=True)
        return {"dry_run": True, "plan": plan_lines(settings, migration), **found}
    with (
        owned(store, migration, "rollback", settings.cutover.lease) as ownership,
        spark_session(settings, "rollback") as session,
    ):
        migration = read_migration(store, migration.id)
        before = get_alias(store, settings.alias)
        _check_known_target(before, migration)
        if before.target.table == migration.source.table and migration.state == "switching":
            # The cutover ended before it moved the alias: the old table never ceased to be the truth.
            ownership.change(state="validated")
            console.say(f"the alias never left {before.target.table}: there is nothing to carry back")
            return {"alias": _moved(before, before), "next": "embedshift sync"}
        ownership.change(state="rolling_back")
        syncing = Syncing(settings, store, console, session, ownership, backwards=True, paced=False)
        now = before
        if before.target.table == migration.target.table:
            syncing.passes()
            # While readers are still answered by the new table: the old index may have been dropped meanwhile.
            check_known(store, migration.source.index)
            now = move_alias(store, before, migration.source, migration=migration.id, reason="rollback")
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        syncing.passes()
        check_known(store, now.target.index)
        ownership.change(state="rolled_back")
    console.say(f"alias {now.name}: {before.target.table} → {now.target.table}, model {now.target.model.name}")
    return {"alias": _moved(before, now), "next": "embedshift sync, once the reason for the way back is mended"}


def _moved(before: Alias, now: Alias) -> dict[str, Any]:
    return {"before": before.target.table, "after": now.target.table, "version": now.version}


def _check_known_target(alias: Alias, migration: Migration) -> None:
    if alias.target.table not in (migration.source.table, migration.target.table):
        raise RefusedError(
            f"the alias {alias.name} points to {alias.target.table}, which this migration does not know",
            hint="look at embedshift status: something else has moved it",
        )


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
