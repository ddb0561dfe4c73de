"""Give a migration up: drop its target, which no reader has ever to miss, and leave the live table as it is."""

from __future__ import annotations

import sys
import threading
from typing import Any

from jobs.catalog.alias import aliases_of
from jobs.catalog.migration import Migration, find_migration, forget_work, owned
from jobs.catalog.states import check_step
from jobs.catalog.tables import now_us
from jobs.console import Console
from jobs.errors import RefusedError, StateError
from jobs.retire import Confirm
from jobs.settings import Settings
from jobs.stores.contract import Store


def abort(
    settings: Settings, store: Store, console: Console, *, dry_run: bool = False, confirm: Confirm | None = None
) -> dict[str, Any]:
    """Drop the target of a migration that is not live, and what the catalog has of its work.

    Killed in the middle and run again, it goes on.

    Args:
        confirm: asks for the target's name; None where the caller has said yes.

    Raises:
        StateError: the alias has moved to the target: rollback comes first.
        RefusedError: an alias names the target, or the name was not typed.
    """
    # Whatever the settings have become since: a migration under others is one that somebody wants to give up.
    migration = find_migration(store, settings)
    if migration is None:
        raise StateError(f"there is no migration into {settings.target.table}", hint="look at embedshift status")
    target = migration.target.table
    console.say(f"drop {target}, its index {migration.target.index_name} and the progress of {migration.id}")
    if migration.state == "aborted":
        return {"dry_run": dry_run, "table": target, "state": "aborted"}
    check_step("abort", migration.state, migration.id)
    _check_not_live(store, migration)
    if dry_run:
        return {"dry_run": True, "table": target, "state": migration.state}
    if confirm is not None and confirm(target) != target:
        raise RefusedError(f"{target} was not dropped: its name was not typed", hint="type it, or say --yes")
    with owned(store, migration, "abort", settings.cutover.lease) as ownership:
        ownership.change(state="aborting")
        # Clients that know of the migration write into the target until they look again.
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        _check_not_live(store, migration)
        store.drop_index(migration.target.index)
        store.drop(target)
        forget_work(store, migration.id)
        ownership.change(state="aborted", aborted_us=now_us())
    console.say(f"dropped {target}; {migration.source.table} is live as before")
    return {"table": target, "state": "aborted", "next": "embedshift prepare, for another try"}


def _check_not_live(store: Store, migration: Migration) -> None:
    target = migration.target.table
    if naming := aliases_of(store, target):
        raise RefusedError(f"{target} is live: the alias {naming[0]} names it", hint="run embedshift rollback")


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["abort", *sys.argv[1:]]))
