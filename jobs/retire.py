"""Step 7, retire: drop the old table and its index after the grace time. From then on there is no way back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from jobs.catalog.alias import aliases_of
from jobs.catalog.migration import Migration, get_migration, owned
from jobs.catalog.states import check_step
from jobs.catalog.tables import now_us
from jobs.console import Console
from jobs.errors import RefusedError
from jobs.settings import Settings, format_duration
from jobs.stores.contract import Store

#: Asks a person to type the table's name; returns what was typed.
Confirm = Callable[[str], str]


def retire(
    settings: Settings, store: Store, console: Console, *, dry_run: bool = False, confirm: Confirm | None = None
) -> dict[str, Any]:
    """Drop the source table of a migration that has been cut over.

    Args:
        confirm: asks for the table's name; None where the caller has said yes.

    Raises:
        RefusedError: the grace time is not over, an alias still names the table, or the name was not typed.
    """
    migration = get_migration(store, settings)
    old = migration.source.table
    console.say(f"drop {old} and its index {migration.source.index_name}; after that there is no rollback")
    if migration.state != "retired":
        check_step("retire", migration.state, migration.id)
        _check(settings, store, migration)
    if dry_run or migration.state == "retired":
        return {"dry_run": dry_run, "table": old, "state": migration.state}
    if confirm is not None and confirm(old) != old:
        raise RefusedError(f"{old} was not dropped: its name was not typed", hint="type it, or say --yes")
    with owned(store, migration, "retire", settings.cutover.lease) as ownership:
        _check(settings, store, migration)
        store.drop_index(migration.source.index)
        store.drop(old)
        ownership.change(state="retired", retired_us=now_us())
    console.say(f"dropped {old}")
    return {"table": old, "state": "retired", "next": "nothing: the migration is over"}


def _check(settings: Settings, store: Store, migration: Migration) -> None:
    old = migration.source.table
    if naming := aliases_of(store, old):
        raise RefusedError(f"{old} is live: the alias {naming[0]} names it", hint="move that alias first")
    left_s = settings.retire.after.total_seconds() - (now_us() - int(migration.facts["switched_us"])) / 1e6
    if left_s > 0:
        raise RefusedError(
            f"{old} is kept for {format_duration(settings.retire.after)} after the cutover, {left_s:.0f} s more",
            hint="wait, or set retire.after",
        )


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["retire", *sys.argv[1:]]))
