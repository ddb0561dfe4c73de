"""Other index options for the live table, in place: its index is dropped and built anew; search is away meanwhile."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from jobs.catalog.alias import Alias, get_alias, move_alias
from jobs.catalog.migration import migrations, owned
from jobs.catalog.states import ENDED
from jobs.console import Console
from jobs.errors import RefusedError
from jobs.index import describe_options, wait_until_serving
from jobs.settings import Settings
from jobs.stores.contract import Store


def reindex(
    settings: Settings, store: Store, console: Console, *, dry_run: bool = False, accepted: bool = False
) -> dict[str, Any]:
    """Drop and create the index of the table that the alias names, with ``target.index``.

    Killed in the middle and run again, it builds the index that is missing.

    Args:
        accepted: the caller knows that search fails until the new index serves.
    """
    alias = get_alias(store, settings.alias)
    wanted = replace(alias.target, index_options=settings.target.index)
    store.check_index(wanted.index)
    console.say(f"{alias.target.table}: {describe_options(alias.target.index_options)}")
    console.say(f"becomes {describe_options(wanted.index_options)}")
    console.say("warning: search through the alias fails from the drop until the new index serves")
    if dry_run:
        return {"dry_run": True, "table": alias.target.table}
    if not accepted:
        raise RefusedError(
            "reindex --in-place takes search away for a while",
            hint="say --yes to accept that, or leave target.model out and migrate: that builds beside the live table",
        )
    with _alone(settings, store, alias):
        # The alias row first: a run that is killed in between leaves the wish written down, and is run again.
        if wanted != alias.target:
            move_alias(store, alias, wanted, migration=alias.migration, reason="reindex")
        present = store.index_on(wanted.table, wanted.vector)
        store.drop_index(present or alias.target.index)
        store.create_index(wanted.index)
        wait_until_serving(store, wanted.index, settings)
    console.say(f"{wanted.index.name} serves with the new options")
    return {"table": alias.target.table, "index": wanted.index.name, "next": 'embedshift search "…"'}


def _alone(settings: Settings, store: Store, alias: Alias) -> AbstractContextManager[object]:
    """Own the migration that the live table takes part in, so that no step of it meets a table without an index."""
    for migration in migrations(store, alias.name):
        tables = (migration.source.table, migration.target.table)
        if migration.state not in ENDED and alias.target.table in tables:
            return owned(store, migration, "reindex", settings.cutover.lease)
    return nullcontext()


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["reindex", *sys.argv[1:]]))
