"""Abort: end a migration before cutover, drop its target, and leave the live table as it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from embedshift.catalog.guard import check_not_live, drop_index, drop_table
from embedshift.catalog.migration import find_migration, forget_work
from embedshift.catalog.states import check_step
from embedshift.errors import RefusedError, StateError
from embedshift.steps.context import StepContext, StepResult
from embedshift.steps.retire import Confirm, NotDropped
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
    console.say(f"drop {target}, its index {migration.target.index_name} and the progress of {migration.id}")
    if migration.state == "aborted":
        return NotDropped(dry_run, target, "aborted")
    check_step("abort", migration.state, migration.id)
    check_not_live(store, target, _LIVE_HINT)
    if dry_run:
        return NotDropped(True, target, migration.state)
    if confirm is not None and confirm(target) != target:
        raise RefusedError(f"{target} was not dropped: its name was not typed", hint="type it, or add --yes")
    with context.owned(migration, "abort") as lease:
        lease.change(state="aborting")
        # Clients that know of the migration write into the target until they look again.
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        check_not_live(store, target, _LIVE_HINT)
        drop_index(store, lease, migration.target.index)
        drop_table(store, lease, target)
        forget_work(store, migration.id)
        lease.change(state="aborted", aborted_us=now_us())
    console.say(f"dropped {target}; {migration.source.table} is live as before")
    return AbortResult(target)
