"""Step 7, retire: drop the old table and its index after the grace time. After that no rollback is possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from embedshift.catalog.guard import check_not_live, drop_index, drop_table
from embedshift.catalog.migration import Migration, get_migration, migrations
from embedshift.catalog.states import ENDED, check_step, label
from embedshift.catalog.versions import as_prepared
from embedshift.errors import RefusedError
from embedshift.steps.context import StepContext, StepResult
from embedshift.stores.contract import Store
from embedshift.times import format_duration, now_us

#: Asks a person to type the table's name; returns what was typed.
Confirm = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class RetireResult(StepResult):
    """The table that was dropped, and where a copy of it is kept."""

    table: str
    snapshot: str | None
    state: str = "retired"
    next: str = ""


@dataclass(frozen=True, slots=True)
class NotDropped(StepResult):
    """The table that would be dropped, or was dropped before (``dry_run`` False)."""

    dry_run: bool
    table: str
    state: str


def retire(
    context: StepContext, *, dry_run: bool = False, snapshot: bool = False, confirm: Confirm | None = None
) -> RetireResult | NotDropped:
    """Drop the source table of a migration that has been cut over.

    Args:
        context: what the step works with.
        dry_run: check, and drop nothing.
        snapshot: refuse if no copy outlives the table.
        confirm: asks for the table's name; None if the caller has said yes.

    Raises:
        RefusedError: the grace time is not over, somebody still uses the table, or the name was not typed.
        SchemaError: the store offers no snapshot.
    """
    store, console = context.store, context.console
    migration = get_migration(store, context.settings)
    old = migration.source.table
    console.say(f"drop {old} and its index {migration.source.index_name}; after that no rollback is possible")
    if migration.state != "retired":
        check_step("retire", migration.state, migration.id)
        _check(context, migration)
    if dry_run or migration.state == "retired":
        return NotDropped(dry_run, old, migration.state)
    if confirm is not None and confirm(old) != old:
        raise RefusedError(f"{old} was not dropped: its name was not typed", hint="type it, or add --yes")
    with context.owned(migration, "retire") as lease:
        check_unused(store, migration)
        kept = store.snapshot(old) if snapshot else None
        drop_index(store, lease, migration.source.index)
        drop_table(store, lease, old)
        lease.change(state="retired", retired_us=now_us())
    console.say(f"dropped {old}" + (f"; kept: {kept}" if kept else ""))
    return RetireResult(old, kept)


def retire_old(context: StepContext) -> list[str]:
    """Retire the old tables of an alias, all but the newest ``retire.keep``, oldest first; returns their names.

    Whatever retire refuses, for its grace time, an alias, another migration or a reader, waits for the next call.
    """
    settings = context.settings
    keep = settings.retire.keep
    if keep is None:
        return []
    old = [each for each in migrations(context.store, settings.alias) if each.state == "switched"]
    old.sort(key=lambda each: each.facts.switched_us or 0)
    gone: list[str] = []
    for migration in old[: max(0, len(old) - keep)]:
        try:
            retire(context.replaced(settings=as_prepared(settings, migration)))
        except RefusedError as error:
            context.console.say(f"not retired yet: {error}")
            break
        gone.append(migration.source.table)
    return gone


def _check(context: StepContext, migration: Migration) -> None:
    check_unused(context.store, migration)
    old, grace = migration.source.table, context.settings.retire.after
    left_s = grace.total_seconds() - (now_us() - (migration.facts.switched_us or 0)) / 1e6
    if left_s > 0:
        raise RefusedError(
            f"{old} is kept for {format_duration(grace)} after the cutover, {left_s:.0f} s more",
            hint="wait, or set retire.after",
        )
    _check_unread(context, old)


def check_unused(store: Store, migration: Migration) -> None:
    """Raises RefusedError if an alias or another migration names the table."""
    old = migration.source.table
    check_not_live(store, old)
    for other in migrations(store):
        if other.id != migration.id and other.state not in ENDED and old in (other.source.table, other.target.table):
            raise RefusedError(
                f"{old} also belongs to the migration {other.id}, which is {label(other.state)}",
                hint="end that one first: embedshift abort or retire, with its settings",
            )


def _check_unread(context: StepContext, old: str) -> None:
    """Raises RefusedError if somebody reads the table now, by whatever name."""
    span, store = context.settings.retire.watch, context.store
    if not span:
        return
    before = store.reads(old)
    if before is None:
        context.console.say(f"{store.label} does not count reads: make sure that nobody reads {old} any more")
        return
    threading.Event().wait(span.total_seconds())
    more = (store.reads(old) or 0) - before
    if more > 0:
        raise RefusedError(
            f"{old} was read {more} times within {format_duration(span)}",
            hint="find who reads it and let them search through the alias; retire.watch: 0 skips this check",
        )
