"""Step 6, cutover: drain, check the proof, move the alias by compare-and-set, catch up once more, and search."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from embedshift.catalog.actor import is_dead, shown
from embedshift.catalog.alias import Alias, get_alias, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.lease import held
from embedshift.catalog.migration import Migration, get_migration, migrations, read_migration
from embedshift.catalog.signals import GO, HOLD, read_signal, send
from embedshift.catalog.states import STATES, check_step
from embedshift.catalog.validations import ValidationRecord, last_validation, outcomes
from embedshift.errors import CheckFailed, EmbedshiftError, RefusedError, UnavailableError, UsageError
from embedshift.hooks import ask_before_cutover
from embedshift.settings import Settings
from embedshift.steps.context import AliasMove, DryRun, StepContext, StepResult
from embedshift.steps.cutover_trigger import AtTime, CutoverTrigger, OnRelease
from embedshift.steps.proof import Surveyor
from embedshift.steps.rollback import rollback
from embedshift.steps.row_expiry import give_row_ttl
from embedshift.steps.sync import Syncing, sync_until_clean
from embedshift.steps.twin import check_twin
from embedshift.steps.validate import validate
from embedshift.stores.contract import Store
from embedshift.times import format_duration, now_us
from embedshift.validation.content_hash import Content
from embedshift.validation.index_probe import check_index_answers
from embedshift.validation.remedies import remedies


@dataclass(frozen=True, slots=True)
class CutoverResult(StepResult):
    """The move of the alias."""

    alias: AliasMove
    next: str


@dataclass(frozen=True, slots=True)
class ReleaseResult(StepResult):
    """The run whose cutover was released."""

    waiting: str
    next: str = "embedshift status"


def cutover(
    context: StepContext,
    *,
    dry_run: bool = False,
    at: str | None = None,
    hold: bool = False,
    or_rollback: bool = False,
) -> CutoverResult | DryRun:
    """Switch readers to the new table and the new model in one write.

    A failure before the switch leaves the old table live; run again after a later failure, it continues.

    Args:
        context: what the step works with.
        dry_run: say what would be done, and check the proof.
        at: when to switch (``parse_at``): until then the target is kept ready.
        hold: keep the target ready until somebody releases the cutover (``release_cutover``).
        or_rollback: roll back if anything fails after the switch.

    Raises:
        RefusedError: no fresh, passing validation of this very content, or somebody else moved the alias.
        CheckFailed: the tables never became equal, the new table does not answer, no release came, or a hook refused.
    """
    settings, store = context.settings, context.store
    migration = get_migration(store, settings)
    if migration.state == "synced" and (proof := last_validation(store, migration.id)) is not None and not proof.passed:
        check_validation(settings, store, migration)  # it says which checks failed
    check_step("cutover", migration.state, migration.id)
    trigger = _trigger(context, migration, at=at, hold=hold)
    row_ttl = store.describe(migration.source.table).row_ttl
    plan = plan_lines(settings, migration, trigger, or_rollback=or_rollback, row_ttl=row_ttl)
    for line in plan:
        context.console.say(line)
    if dry_run:
        if trigger is None:
            check_validation(settings, store, migration)
        return DryRun(plan=plan)
    with context.spark(migration.id) as spark:
        context = context.replaced(spark_context=spark)
        if trigger is not None and migration.state == "validated":
            with trigger:
                _keep_ready(context, trigger)
        try:
            return _cut_over(context)
        except (CheckFailed, UnavailableError) as error:
            if not or_rollback or get_alias(store, settings.alias).target.table != migration.target.table:
                raise
            raise _rolled_back(context, error) from error


def _trigger(context: StepContext, migration: Migration, *, at: str | None, hold: bool) -> CutoverTrigger | None:
    if at is not None and hold:
        raise UsageError("a cutover waits for a time or for a release, not for both", hint="leave out --at or --hold")
    if at is not None:
        return AtTime(at)
    return OnRelease(context.settings, context.store, migration) if hold else None


def _cut_over(context: StepContext) -> CutoverResult:
    settings, store = context.settings, context.store
    migration = get_migration(store, settings)
    with context.owned(migration, "cutover") as lease, context.spark(migration.id) as spark:
        syncing = Syncing(context, spark, lease)
        migration = read_migration(store, migration.id)
        alias = get_alias(store, settings.alias)
        if alias.target.table != migration.target.table:
            _switch(syncing, migration, alias)
        # No client can have the old alias after this; what such clients have written is fetched then.
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        replace(syncing, throttled=False).passes()
        now = get_alias(store, settings.alias)
        check_index_answers(store, now.target.index)
        lease.change(state="switched")
    # Not where it was when this run began: an earlier one may have moved it already.
    before = migration.source.table
    context.console.say(f"alias {now.name}: {before} → {now.target.table}, model {now.target.model.name}")
    return CutoverResult(
        AliasMove(before, now.target.table, now.version),
        f"embedshift retire (after {format_duration(settings.retire.after)}; until then embedshift rollback)",
    )


def _switch(syncing: Syncing, migration: Migration, alias: Alias) -> None:
    context, lease = syncing.context, syncing.lease
    settings, store = context.settings, context.store
    if alias.target.table != migration.source.table:
        raise RefusedError(
            f"the alias {alias.name} points to {alias.target.table}, not to {migration.source.table}",
            hint="something else has moved it: look at embedshift status, and embedshift abort this migration if it is "
            "not wanted any more",
        )
    if migration.state == "switching":
        # An earlier run ended just before the move: as long as the alias has not moved, sync and validate may follow.
        lease.change(state="validated")
    claim = claim_alias(store, alias.name, migration.id)
    check_validation(settings, store, migration)
    check_twin(store, migration)
    # Readers are not sent to a table that somebody's reindex has left without an index.
    check_index_answers(store, migration.target.index)
    # Before the last passes, so that nothing but them lies between the proof of the content and the move.
    ask_before_cutover(settings, migration, context.command, context.console.say)
    syncing.passes()
    proof = check_validation(settings, store, migration)
    surveyor = Surveyor(settings, store, syncing.spark, lease)
    context.console.say(_check_content(surveyor, migration.target.table, proof))
    give_row_ttl(context, migration)
    with _older_ways_back_closed(context, migration):
        # Before the alias moves, so that the time from which the target has rows of its own is always known.
        lease.change(state="switching", switched_us=now_us())
        move_alias(store, lease, claim, migration.target, migration=migration.id, reason="cutover")


@contextmanager
def _older_ways_back_closed(context: StepContext, migration: Migration) -> Iterator[None]:
    """After the switch clients no longer write to tables that were left earlier, so nothing can go back to them.

    If the block refuses to switch, they are open as before.

    Raises:
        OwnedByAnother: a run is just going back to one of them.
    """
    store, duration = context.store, context.settings.cutover.lease
    closed: list[Migration] = []
    try:
        for other in migrations(store, migration.alias):
            if STATES[other.state].switched and other.target.table == migration.source.table:
                with held(store, other, duration) as lease:
                    lease.change(state="closed")
                closed.append(other)
        yield
    except RefusedError:
        for other in closed:
            with held(store, other, duration) as lease:
                lease.change(state=other.state)
        raise
    for other in closed:
        context.console.say(
            f"there is no way back to {other.source.table} any more, only to {migration.source.table}: clients no "
            "longer write to it"
        )


def _rolled_back(context: StepContext, error: EmbedshiftError) -> CheckFailed:
    """Roll back after a failure that came after the switch; returns what to raise."""
    context.console.say(f"the cutover failed after the switch: {error}")
    rollback(context)
    return CheckFailed(
        f"the cutover failed, and the alias is back at {context.settings.source.table} ({error.what})",
        hint="fix that, then run embedshift sync, validate and cutover",
    )


def release_cutover(context: StepContext) -> ReleaseResult:
    """Let a cutover that waits with ``--hold`` go on.

    Raises:
        RefusedError: none waits.
    """
    store = context.store
    migration = get_migration(store, context.settings)
    waiting = read_signal(store, migration.id, HOLD)
    if waiting is None or is_dead(waiting.sent_by):
        raise RefusedError(
            f"no cutover of {migration.id} is waiting for release", hint="run embedshift cutover --hold first"
        )
    send(store, migration.id, GO)
    context.console.say(f"released: the cutover of {shown(waiting.sent_by)} switches as soon as the target is ready")
    return ReleaseResult(shown(waiting.sent_by))


def _keep_ready(context: StepContext, trigger: CutoverTrigger) -> None:
    """Sync, and validate if the proof no longer holds, again and again until the switch may be made."""
    if not context.settings.cutover.drift:
        context.console.say("a row written between the last validation and the switch will stop it: see cutover.drift")
    whole = True
    while True:
        began = time.monotonic()
        migration = get_migration(context.store, context.settings)
        sync_until_clean(context, migration, whole=whole)
        if not _still_proven(context):
            validate(context)
        whole, rest_s = False, trigger.rest_s(time.monotonic() - began)
        context.console.say(f"ready; waiting for {trigger.label}")
        if trigger.wait(rest_s):
            return


def _still_proven(context: StepContext) -> bool:
    """Whether the last validation holds, and for half of its time at least; the migration is then validated."""
    settings, store = context.settings, context.store
    migration = get_migration(store, settings)
    try:
        proof = check_validation(settings, store, migration)
        # Whatever sync has found: applications that write both tables change the target too.
        with context.owned(migration, "validate") as lease, context.spark(migration.id) as spark:
            _check_content(Surveyor(settings, store, spark, lease), migration.target.table, proof)
            lease.change(state="validated")
    except RefusedError:
        return False
    left_us = proof.made_us + settings.validation.max_age / timedelta(microseconds=1) - now_us()
    return left_us > settings.validation.max_age / timedelta(microseconds=2)


def plan_lines(
    settings: Settings,
    migration: Migration,
    trigger: CutoverTrigger | None = None,
    *,
    or_rollback: bool = False,
    row_ttl: str | None = None,
) -> list[str]:
    """What a cutover does, in order; row_ttl: the column by which rows of the source expire."""
    cache, age = format_duration(settings.cutover.client_cache), format_duration(settings.validation.max_age)
    source, target = migration.source, migration.target
    lines = [
        f"sync {source.table} into {target.table} until a pass finds nothing",
        f"refuse without a passing validation of this content, made within {age}",
        f"move the alias {settings.alias} from {source.table} ({source.model.name}) to {target.table} "
        f"({target.model.name}) by compare-and-set",
        f"wait {cache} for the clients that still have the old alias",
        "sync once more, for what they wrote meanwhile",
        "search through the alias for articles that are in the table",
    ]
    if row_ttl is not None:
        lines.insert(2, f"let the rows of {target.table} expire by {row_ttl}, as those of {source.table} do")
    if settings.hooks.before_cutover is not None:
        lines.insert(0, f"ask hooks.before_cutover ({settings.hooks.before_cutover}), and stop if it fails")
    if trigger is not None:
        lines.insert(0, f"sync and validate, and keep {target.table} ready, until {trigger.label}")
    if or_rollback:
        lines.append(f"if anything fails after the move: rollback to {source.table}")
    return [f"{number}. {line}" for number, line in enumerate(lines, 1)]


def _check_content(surveyor: Surveyor, table: str, proof: ValidationRecord) -> str:
    """Say what has changed. Raises RefusedError if the target is not as it was proven, or near that and complete."""
    then, now, proven = proven_content(proof), surveyor.content(), outcomes(proof.report)
    unproved = int(proof.report.get("counts", {}).get("unproved", 0))
    if now == then and not unproved:
        return f"{table} is as it was validated"
    changed, allowed = now.changed(then), surveyor.settings.cutover.drift
    if changed > allowed * then.rows:
        raise RefusedError(
            f"{table} has changed since it was validated: {changed:,} of {then.rows:,} rows",
            hint="run embedshift validate again and cutover soon after, or allow a share of rows in cutover.drift",
        )
    found = surveyor.row_checks()
    # What the proof had measured must be measured now.
    wanting = (each for each in found if not each.passed)
    if failed := [each.name for each in wanting if each.passed is False or each.name in proven.passed]:
        raise RefusedError(
            f"{table} has changed since it was validated, and now fails: {', '.join(failed)}",
            hint=remedies(failed),
        )
    written = sum(int(each.value or 0) for each in found if each.name == "unproved")
    but = f" but {written:,}, which are being written," if written else ""
    return f"{changed:,} rows of {table} have changed since the validation, and every row{but} compares equal"


def check_validation(settings: Settings, store: Store, migration: Migration) -> ValidationRecord:
    """The last validation. Raises RefusedError if it failed, is too old, is missing, or is of another version."""
    proof = last_validation(store, migration.id)
    if proof is None:
        raise RefusedError(f"{migration.target.table} was never validated", hint="run embedshift validate")
    if not proof.passed:
        failed = ", ".join(outcomes(proof.report).failed)
        raise RefusedError(
            f"the last validation of {migration.target.table} did not pass ({failed})",
            hint=f"{remedies(outcomes(proof.report).failed)}; then embedshift validate",
        )
    age_s = (now_us() - proof.made_us) / 1e6
    if age_s > settings.validation.max_age.total_seconds():
        raise RefusedError(
            f"the validation of {migration.target.table} is {age_s:.0f} s old, "
            f"more than {format_duration(settings.validation.max_age)}",
            hint="run embedshift validate",
        )
    proven_content(proof)
    return proof


def proven_content(proof: ValidationRecord) -> Content:
    """The content that was proven. Raises RefusedError if the record is of another version."""
    return Content.parse(proof.content, proof.report.get("sketch", ""))
