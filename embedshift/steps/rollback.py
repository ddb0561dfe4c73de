"""Rollback: carry what was written since the cutover into the old table, then move the alias back."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from embedshift.catalog.alias import Alias, get_alias, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.migration import Migration, get_migration, read_migration
from embedshift.catalog.states import check_step
from embedshift.errors import RefusedError
from embedshift.settings import Settings
from embedshift.steps.context import AliasMove, DryRun, StepContext, StepResult
from embedshift.steps.index import wait_until_serving
from embedshift.steps.sync import Syncing, would_carry
from embedshift.steps.twin import check_same_columns
from embedshift.times import format_duration
from embedshift.validation.index_probe import check_index_answers


@dataclass(frozen=True, slots=True)
class RollbackResult(StepResult):
    """The move of the alias back."""

    alias: AliasMove
    next: str


def rollback(context: StepContext, *, dry_run: bool = False) -> RollbackResult | DryRun:
    """Go back to the old table and the old model without losing a write made since the cutover.

    Raises:
        StateError: there was no cutover, or the old table is retired.
        RefusedError: somebody else moved the alias.
    """
    settings, store = context.settings, context.store
    migration = get_migration(store, settings)
    check_step("rollback", migration.state, migration.id)
    check_same_columns(store, migration)
    _check_target_known(get_alias(store, settings.alias), migration)
    plan = plan_lines(settings, migration)
    for line in plan:
        context.console.say(line)
    if dry_run:
        return DryRun(plan=plan, **would_carry(context, migration, backwards=True))
    with context.owned(migration, "rollback") as lease, context.spark(migration.id) as spark:
        syncing = Syncing(context, spark, lease, backwards=True, throttled=False)
        return _roll_back(syncing, read_migration(store, migration.id))


def _roll_back(syncing: Syncing, migration: Migration) -> RollbackResult:
    context, lease = syncing.context, syncing.lease
    settings, store, console = context.settings, context.store, context.console
    claim = claim_alias(store, settings.alias, migration.id)
    before = get_alias(store, settings.alias)
    _check_target_known(before, migration)
    if before.target.table == migration.source.table and migration.state == "switching":
        # The cutover ended before it moved the alias: the old table is still the live one.
        lease.change(state="validated")
        console.say(f"the alias never left {before.target.table}: there is nothing to carry back")
        return RollbackResult(_moved(before, before), "embedshift sync")
    lease.change(state="rolling_back")
    now = before
    if before.target.table == migration.target.table:
        syncing.passes()
        if store.index_on(migration.source.table, migration.source.vector) is None:
            # It was dropped meanwhile, or there never was one: readers of the old table need it now.
            console.say(f"build {migration.source.index_name}: {migration.source.table} has no vector index")
            store.create_index(migration.source.index)
            wait_until_serving(store, migration.source.index, settings, lease.check)
        check_index_answers(store, migration.source.index)
        now = move_alias(store, lease, claim, migration.source, migration=migration.id, reason="rollback")
    threading.Event().wait(settings.cutover.client_cache.total_seconds())
    syncing.passes()
    check_index_answers(store, now.target.index)
    lease.change(state="rolled_back")
    console.say(f"alias {now.name}: {before.target.table} → {now.target.table}, model {now.target.model.name}")
    return RollbackResult(_moved(before, now), "embedshift sync, once the reason for the rollback is fixed")


def _moved(before: Alias, now: Alias) -> AliasMove:
    return AliasMove(before.target.table, now.target.table, now.version)


def _check_target_known(alias: Alias, migration: Migration) -> None:
    if alias.target.table not in (migration.source.table, migration.target.table):
        raise RefusedError(
            f"the alias {alias.name} points to {alias.target.table}, which this migration does not know",
            hint="something else has moved it: look at embedshift status, and embedshift abort this migration if it is "
            "not wanted any more",
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
        "5. search through the alias for articles that are in the table",
    ]
