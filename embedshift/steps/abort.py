"""Abort: end a migration before cutover, drop its target, and leave the live table as it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from embedshift.catalog.alias import find_alias
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.guard import check_not_live, drop_table
from embedshift.catalog.migration import Migration, find_migration, forget_work
from embedshift.catalog.states import check_step
from embedshift.errors import RefusedError, StateError
from embedshift.steps.context import StepContext, StepResult
from embedshift.steps.retire import Confirm, NotDropped, check_unused
from embedshift.stores.contract import Store
from embedshift.times import now_us

_LIVE_HINT = "run embedshift rollback"


@dataclass(frozen=True, slots=True)
class AbortResult(StepResult):
    """The table that was dropped."""

    table: str
    state: str = "aborted"
    next: str = "embedshift prepare, for another try"


def abort(context: StepContext, *, dry_run: bool = False, confirm: Confirm | None = None) -> AbortResult | NotDropped:
    """Drop the target of a migration that is not live, and what the catalog has of its work.

    Killed in the middle and run again, it continues.

    Args:
        context: what the step works with.
        dry_run: check, and drop nothing.
        confirm: asks for the target's name; None if the caller has said yes.

    Raises:
        StateError: the alias has moved to the target: rollback comes first.
        RefusedError: an alias names the target, or the name was not typed.
    """
    settings, store, console = context.settings, context.store, context.console
    # Whatever the settings have become since: a migration under others is one that somebody wants to abort.
    migration = find_migration(store, settings)
    if migration is None:
        raise StateError(f"there is no migration into {settings.target.table}", hint="look at embedshift status")
    target = migration.target.table
    if migration.state == "aborted":
        console.say(f"{migration.id} was aborted before, and {target} dropped")
        return NotDropped(dry_run, target, "aborted")
    check_step("abort", migration.state, migration.id)
    _check(store, migration)
    console.say(f"drop {target}, its index {migration.target.index_name} and the progress of {migration.id}")
    if dry_run:
        return NotDropped(True, target, migration.state)
    if confirm is not None and confirm(target) != target:
        raise RefusedError(f"{target} was not dropped: its name was not typed", hint="type it, or add --yes")
    with context.owned(migration, "abort") as lease:
        _check(store, migration)
        lease.change(state="aborting")
        # Clients that know of the migration write into the target until they look again.
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        drop_table(store, lease, target)
        forget_work(store, migration.id)
        lease.change(state="aborted", aborted_us=now_us())
    console.say(f"dropped {target}; {migration.source.table} is live as before")
    return AbortResult(target)


def _check(store: Store, migration: Migration) -> None:
    """Raises RefusedError if the target holds what is nowhere else, or somebody uses it."""
    target = migration.target.table
    check_not_live(store, target, _LIVE_HINT)
    check_unused(store, migration, target)
    alias = find_alias(store, migration.alias)
    if migration.state == "rolling_back" and alias is not None and alias.target.table == migration.source.table:
        raise RefusedError(
            f"the rollback from {target} has not ended: clients may have written to it since", hint=_LIVE_HINT
        )
    only_copies = [each.id for each in read_dead_letters(store, migration.id) if each.of_way_back]
    if only_copies:
        raise RefusedError(
            f"{target} has the only copy of {len(only_copies)} rows that could not be carried back, such as "
            f"{only_copies[0]}",
            hint="try them again, or give them up: embedshift dead-letters retry, or dead-letters drop",
        )
