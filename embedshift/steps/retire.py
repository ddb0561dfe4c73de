"""Step 7, retire: drop the old table and its index after the grace time. After that no rollback is possible."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from embedshift.catalog.alias import get_alias
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.guard import check_not_live, drop_table
from embedshift.catalog.ledger import forget_ledger
from embedshift.catalog.migration import Migration, get_migration, migrations
from embedshift.catalog.raised_cells import forget_raised
from embedshift.catalog.states import ENDED, check_step, label
from embedshift.catalog.versions import as_prepared
from embedshift.errors import NotPermitted, RefusedError, SchemaError
from embedshift.steps.context import StepContext, StepResult
from embedshift.steps.sync import left_behind
from embedshift.steps.twin import give_late_options
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
    context: StepContext,
    *,
    dry_run: bool = False,
    snapshot: bool = False,
    discard: bool = False,
    confirm: Confirm | None = None,
) -> RetireResult | NotDropped:
    """Drop the source table of a migration that has been cut over.

    Args:
        context: what the step works with.
        dry_run: check, and drop nothing.
        snapshot: refuse if no copy outlives the table.
        discard: drop it even if it has rows that are nowhere else.
        confirm: asks for the table's name; None if the caller has said yes.

    Raises:
        RefusedError: the grace time is not over, somebody still uses the table, it has rows that are nowhere else, or
            the name was not typed.
        SchemaError: the store offers no snapshot, or refuses to drop the table; nothing is dropped.
    """
    store, console = context.store, context.console
    migration = get_migration(store, context.settings)
    old = migration.source.table
    if migration.state == "retired":
        console.say(f"{old} was dropped before")
        return NotDropped(dry_run, old, migration.state)
    check_step("retire", migration.state, migration.id)
    _check(context, migration)
    _check_copied(context, migration, discard=discard)
    console.say(f"drop {old} and its index {migration.source.index_name}; after that no rollback is possible")
    before = migration.state
    if before == "retiring":  # a run was killed in the middle
        live = get_alias(store, migration.alias).target.table
        before = "switched" if live == migration.target.table else "closed"
    if dry_run:
        return NotDropped(True, old, migration.state)
    if confirm is not None and confirm(old) != old:
        raise RefusedError(f"{old} was not dropped: its name was not typed", hint="type it, or add --yes")
    with context.owned(migration, "retire") as lease:
        check_unused(store, migration, old)
        kept = store.snapshot(old) if snapshot else None
        # Written down first: from now on a rollback is refused in one line.
        lease.change(state="retiring")
        try:
            # Once more: somebody may have written to it while its name was typed.
            _check_copied(context, migration, discard=discard)
            give_late_options(context, migration)
            drop_table(store, lease, old)
        except (RefusedError, SchemaError, NotPermitted):
            lease.change(state=before)
            raise
        forget_ledger(store, migration.id)
        forget_raised(store, migration.id)
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
    old = [
        each for each in migrations(context.store, settings.alias) if each.state in ("switched", "closed", "retiring")
    ]
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
    old, grace = migration.source.table, context.settings.retire.after
    check_unused(context.store, migration, old)
    left_s = grace.total_seconds() - (now_us() - (migration.facts.switched_us or 0)) / 1e6
    if left_s > 0:
        raise RefusedError(
            f"{old} is kept for {format_duration(grace)} after the cutover, {left_s:.0f} s more",
            hint="wait, or set retire.after",
        )
    _check_unread(context, old)


def _check_copied(context: StepContext, migration: Migration, *, discard: bool) -> None:
    """Compare once more what was written to the old table since the cutover, and look at what never left it.

    Raises:
        RefusedError: some of it is not in the new table, and ``discard`` does not accept that.
    """
    old, new = migration.source.table, migration.target.table
    if not context.store.exists(old):
        return  # an earlier run has dropped it, and was killed
    lost = []
    if stuck := [each.id for each in read_dead_letters(context.store, migration.id) if not each.of_way_back]:
        lost.append(f"{len(stuck)} rows that could not be carried to {new}, such as {stuck[0]}")
    if context.store.exists(new) and (rows := left_behind(context, migration)):
        lost.append(f"{rows:,} rows that were written to it since the cutover and are not in {new}")
    if lost and not discard:
        raise RefusedError(
            f"{old} has {' and '.join(lost)}",
            hint="run embedshift sync to carry them over, dead-letters to see why some could not be; "
            "or drop them with the table: --discard",
        )
    for each in lost:
        context.console.say(f"dropped with {old}: {each}")


def check_unused(store: Store, migration: Migration, table: str) -> None:
    """Raises RefusedError if an alias, or another migration than this one, names the table."""
    check_not_live(store, table)
    for other in migrations(store):
        if other.id != migration.id and other.state not in ENDED and table in (other.source.table, other.target.table):
            raise RefusedError(
                f"{table} also belongs to the migration {other.id}, which is {label(other.state)}",
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
