"""Step 7, retire: drop the old table and its index after the grace time. From then on there is no way back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from jobs.catalog.alias import aliases_of
from jobs.catalog.migration import Migration, get_migration, migrations, owned
from jobs.catalog.states import ENDED, check_step
from jobs.catalog.tables import now_us
from jobs.catalog.versions import as_prepared
from jobs.console import Console
from jobs.errors import RefusedError
from jobs.settings import Settings, format_duration
from jobs.stores.contract import Store

#: Asks a person to type the table's name; returns what was typed.
Confirm = Callable[[str], str]


def retire(
    settings: Settings,
    store: Store,
    console: Console,
    *,
    dry_run: bool = False,
    snapshot: bool = False,
    confirm: Confirm | None = None,
) -> dict[str, Any]:
    """Drop the source table of a migration that has been cut over.

    Args:
        snapshot: refuse where no copy outlives the table.
        confirm: asks for the table's name; None where the caller has said yes.

    Raises:
        RefusedError: the grace time is not over, somebody still uses the table, or the name was not typed.
        SchemaError: the store offers no snapshot.
    """
    migration = get_migration(store, settings)
    old = migration.source.table
    console.say(f"drop {old} and its index {migration.source.index_name}; after that there is no rollback")
    if migration.state != "retired":
        check_step("retire", migration.state, migration.id)
        _check(settings, store, console, migration)
    if dry_run or migration.state == "retired":
        return {"dry_run": dry_run, "table": old, "state": migration.state}
    if confirm is not None and confirm(old) != old:
        raise RefusedError(f"{old} was not dropped: its name was not typed", hint="type it, or say --yes")
    with owned(store, migration, "retire", settings.cutover.lease) as ownership:
        _check_unnamed(store, migration)
        kept = store.snapshot(old) if snapshot else None
        store.drop_index(migration.source.index)
        store.drop(old)
        ownership.change(state="retired", retired_us=now_us())
    console.say(f"dropped {old}" + (f"; kept: {kept}" if kept else ""))
    return {"table": old, "state": "retired", "snapshot": kept, "next": "nothing: the migration is over"}


def retire_old(settings: Settings, store: Store, console: Console) -> list[str]:
    """Retire the old tables of an alias, all but the newest ``retire.keep``, oldest first; returns their names.

    Whatever retire refuses, for its grace time, an alias, another migration or a reader, waits for the next call.
    """
    keep = settings.retire.keep
    if keep is None:
        return []
    old = [each for each in migrations(store, settings.alias) if each.state == "switched"]
    old.sort(key=lambda each: int(each.facts["switched_us"]))
    gone: list[str] = []
    for migration in old[: max(0, len(old) - keep)]:
        try:
            retire(as_prepared(settings, migration), store, console)
        except RefusedError as error:
            console.say(f"not retired yet: {error}")
            break
        gone.append(migration.source.table)
    return gone


def _check(settings: Settings, store: Store, console: Console, migration: Migration) -> None:
    _check_unnamed(store, migration)
    old = migration.source.table
    left_s = settings.retire.after.total_seconds() - (now_us() - int(migration.facts["switched_us"])) / 1e6
    if left_s > 0:
        raise RefusedError(
            f"{old} is kept for {format_duration(settings.retire.after)} after the cutover, {left_s:.0f} s more",
            hint="wait, or set retire.after",
        )
    _check_unread(settings, store, console, old)


def _check_unnamed(store: Store, migration: Migration) -> None:
    """Raises RefusedError where an alias or another migration names the table."""
    old = migration.source.table
    if naming := aliases_of(store, old):
        raise RefusedError(f"{old} is live: the alias {naming[0]} names it", hint="move that alias first")
    for other in migrations(store):
        if other.id != migration.id and other.state not in ENDED and old in (other.source.table, other.target.table):
            raise RefusedError(
                f"{old} belongs to the migration {other.id} too, which is {other.state.replace('_', ' ')}",
                hint="end that one first: embedshift abort or retire, with its settings",
            )


def _check_unread(settings: Settings, store: Store, console: Console, old: str) -> None:
    """Raises RefusedError where somebody reads the table at this very time, whichever way they came to its name."""
    if not settings.retire.watch:
        return
    before = store.reads(old)
    if before is None:
        console.say(f"{store.label} does not count reads: make sure that nobody reads {old} any more")
        return
    threading.Event().wait(settings.retire.watch.total_seconds())
    more = (store.reads(old) or 0) - before
    if more > 0:
        raise RefusedError(
            f"{old} was read {more} times within {format_duration(settings.retire.watch)}",
            hint="find who reads it and let them search through the alias; retire.watch: 0 looks away",
        )


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["retire", *sys.argv[1:]]))
