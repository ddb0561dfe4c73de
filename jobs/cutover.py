"""Step 6, cutover: drain, check the proof, move the alias by compare-and-set, catch up once more, and look."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pyspark.sql import SparkSession

from jobs.catalog.alias import Alias, get_alias, is_dead, move_alias
from jobs.catalog.control import GO, HOLD, read_word, say_word
from jobs.catalog.migration import Migration, get_migration, owned, read_migration
from jobs.catalog.start import AtTime, AtWord, Start
from jobs.catalog.states import check_step
from jobs.catalog.tables import now_us
from jobs.catalog.validations import ValidationRecord, last_validation
from jobs.console import Console
from jobs.errors import CheckFailed, EmbedshiftError, RefusedError, UnavailableError, UsageError
from jobs.hooks.asking import ask_before_cutover
from jobs.quality.content import Content
from jobs.quality.known import check_known
from jobs.rollback import rollback
from jobs.settings import Settings, format_duration
from jobs.spark.session import spark_session
from jobs.stores.contract import Store
from jobs.sync import Syncing, sync
from jobs.validate import content_now, rows_now, validate


def cutover(
    settings: Settings,
    store: Store,
    console: Console,
    *,
    dry_run: bool = False,
    at: str | None = None,
    hold: bool = False,
    or_rollback: bool = False,
) -> dict[str, Any]:
    """Switch readers to the new table and the new model in one write.

    A failure before the switch leaves the old table live; run again after a failure behind it, it goes on forward.

    Args:
        at: when to switch (``parse_at``): until then the target is kept ready.
        hold: keep the target ready until somebody gives the word (``give_word``).
        or_rollback: after a failure behind the switch go back.

    Raises:
        RefusedError: no fresh, passing validation of this very content, or somebody else moved the alias.
        CheckFailed: the tables do not come to rest, the new table does not answer, no word came, or a hook said no.
    """
    migration = get_migration(store, settings)
    check_step("cutover", migration.state, migration.id)
    if at is not None and hold:
        raise UsageError("a cutover waits for a time or for a word, not for both", hint="leave out --at or --hold")
    start: Start | None = AtTime(at) if at is not None else AtWord(settings, store, migration) if hold else None
    plan = plan_lines(settings, migration, start, or_rollback=or_rollback)
    for line in plan:
        console.say(line)
    if dry_run:
        if start is None:
            check_validation(settings, store, migration)
        return {"dry_run": True, "plan": plan}
    with spark_session(settings, "cutover") as session:
        if start is not None and migration.state == "validated":
            with start:
                _wait_ready(settings, store, console, session, start)
        try:
            return _cut_over(settings, store, console, session)
        except (CheckFailed, UnavailableError) as error:
            if not or_rollback or get_alias(store, settings.alias).target.table != migration.target.table:
                raise
            raise _gone_back(settings, store, console, error) from error


def _cut_over(settings: Settings, store: Store, console: Console, session: SparkSession) -> dict[str, Any]:
    migration = get_migration(store, settings)
    with owned(store, migration, "cutover", settings.cutover.lease) as ownership:
        syncing = Syncing(settings, store, console, session, ownership)
        migration = read_migration(store, migration.id)
        alias = get_alias(store, settings.alias)
        if alias.target.table != migration.target.table:
            _switch(settings, store, console, syncing, migration, alias)
        # No client can have the old alias after this; what such clients have written is fetched then.
        threading.Event().wait(settings.cutover.client_cache.total_seconds())
        replace(syncing, paced=False).passes()
        now = get_alias(store, settings.alias)
        check_known(store, now.target.index)
        ownership.change(state="switched")
    console.say(f"alias {now.name}: {alias.target.table} → {now.target.table}, model {now.target.model.name}")
    return {
        "alias": {"before": alias.target.table, "after": now.target.table, "version": now.version},
        "next": f"embedshift retire (after {format_duration(settings.retire.after)}; until then embedshift rollback)",
    }


def _gone_back(settings: Settings, store: Store, console: Console, error: EmbedshiftError) -> CheckFailed:
    """Go back after a failure behind the switch; returns what to raise."""
    console.say(f"the cutover failed behind the switch: {error}")
    rollback(settings, store, console)
    return CheckFailed(
        f"the cutover failed, and the alias is back at {settings.source.table} ({error.what})",
        hint="mend that, then run embedshift sync, validate and cutover",
    )


def give_word(settings: Settings, store: Store, console: Console) -> dict[str, Any]:
    """Tell a cutover that waits for the word to go on.

    Raises:
        RefusedError: none waits.
    """
    migration = get_migration(store, settings)
    waiting = read_word(store, migration.id, HOLD)
    if waiting is None or is_dead(waiting.said_by):
        raise RefusedError(
            f"no cutover of {migration.id} waits for the word", hint="run embedshift cutover --hold first"
        )
    say_word(store, migration.id, GO)
    console.say(f"the word is given: the cutover of {waiting.said_by} switches as soon as all is ready")
    return {"waiting": waiting.said_by, "next": "embedshift status"}


def _wait_ready(settings: Settings, store: Store, console: Console, session: SparkSession, start: Start) -> None:
    """Sync, and validate where the proof does not hold any more, again and again until the switch may be made."""
    if not settings.cutover.drift:
        console.say("a row written between the last validation and the switch will stop it: see cutover.drift")
    whole = True
    while True:
        began = time.monotonic()
        synced = sync(settings, store, console, whole=whole)
        changed = any(each["written"] or each["deleted"] for each in synced["passes"])
        if not _still_proven(settings, store, console, session, changed=changed):
            validate(settings, store, console)
        whole, rest_s = False, start.rest_s(time.monotonic() - began)
        console.say(f"ready; waiting for {start.label}")
        if start.wait(rest_s):
            return


def _still_proven(settings: Settings, store: Store, console: Console, session: SparkSession, *, changed: bool) -> bool:
    """Whether the last validation holds, for half of its time at least."""
    migration = get_migration(store, settings)
    try:
        proof = check_validation(settings, store, migration)
        if changed:
            _check_content(settings, store, console, session, migration, proof)
    except RefusedError:
        return False
    left_us = proof.made_us + settings.validation.max_age / timedelta(microseconds=1) - now_us()
    return left_us > settings.validation.max_age / timedelta(microseconds=2)


def plan_lines(
    settings: Settings, migration: Migration, start: Start | None = None, *, or_rollback: bool = False
) -> list[str]:
    """What a cutover does, in order."""
    cache, age = format_duration(settings.cutover.client_cache), format_duration(settings.validation.max_age)
    source, target = migration.source, migration.target
    lines = [
        f"sync {source.table} into {target.table} until a pass finds nothing",
        f"refuse without a passing validation of this content, made within {age}",
        f"move the alias {settings.alias} from {source.table} ({source.model.name}) to {target.table} "
        f"({target.model.name}) by compare-and-set",
        f"wait {cache} for the clients that still have the old alias",
        "sync once more, for what they wrote meanwhile",
        "search through the alias for known articles",
    ]
    if settings.hooks.before_cutover is not None:
        lines.insert(0, f"ask hooks.before_cutover ({settings.hooks.before_cutover}), and stop where it fails")
    if start is not None:
        lines.insert(0, f"sync and validate, and keep {target.table} ready, until {start.label}")
    if or_rollback:
        lines.append(f"where anything fails behind the move: rollback to {source.table}")
    return [f"{number}. {line}" for number, line in enumerate(lines, 1)]


def _switch(
    settings: Settings, store: Store, console: Console, syncing: Syncing, migration: Migration, alias: Alias
) -> None:
    if alias.target.table != migration.source.table:
        raise RefusedError(
            f"the alias {alias.name} points to {alias.target.table}, not to {migration.source.table}",
            hint="look at embedshift status: something else has moved it",
        )
    ownership = syncing.ownership
    if migration.state == "switching":
        # An earlier run ended just before the move: as long as the alias has not moved, sync and validate may follow.
        ownership.change(state="validated")
    check_validation(settings, store, migration)
    # Before the last passes, so that nothing but them lies between the proof of the content and the move.
    ask_before_cutover(settings, migration, console.say)
    syncing.passes()
    proof = check_validation(settings, store, migration)
    _check_content(settings, store, console, syncing.session, migration, proof)
    # Before the alias moves, so that the time from which the target has rows of its own is always known.
    ownership.change(state="switching", switched_us=now_us())
    move_alias(store, alias, migration.target, migration=migration.id, reason="cutover")


def _check_content(
    settings: Settings,
    store: Store,
    console: Console,
    session: SparkSession,
    migration: Migration,
    proof: ValidationRecord,
) -> None:
    """Raises RefusedError where the target is neither the one that was proven, nor near to it and complete."""
    then, table = Content.parse(proof.content), migration.target.table
    skew_us = int(settings.sync.clock_skew.total_seconds() * 1_000_000)
    now = content_now(settings, store, session, migration, int(proof.report.get("started_us", proof.made_us)) - skew_us)
    if now == then:
        return
    changed, allowed = now.newer + max(0, then.rows - now.rows), settings.cutover.drift
    if not allowed or changed > allowed * then.rows:
        raise RefusedError(
            f"{table} has changed since it was validated: {changed} of {then.rows:,} rows",
            hint="run embedshift validate again and cutover soon after, or allow a share of the rows in cutover.drift",
        )
    failed = [check.name for check in rows_now(settings, store, session, migration) if not check.passed]
    if failed:
        raise RefusedError(
            f"{table} has changed since it was validated, and not for the better: {', '.join(failed)}",
            hint="run embedshift sync and validate",
        )
    console.say(f"{changed} rows of {table} have changed since the validation, and every row compares well again")


def check_validation(settings: Settings, store: Store, migration: Migration) -> ValidationRecord:
    """The last validation. Raises RefusedError where it failed, is too old, or is missing."""
    proof = last_validation(store, migration.id)
    if proof is None:
        raise RefusedError(f"{migration.target.table} was never validated", hint="run embedshift validate")
    if not proof.passed:
        failed = ", ".join(check["name"] for check in proof.report.get("checks", []) if not check["passed"])
        raise RefusedError(
            f"the last validation of {migration.target.table} did not pass ({failed})",
            hint="mend that and run embedshift validate",
        )
    age_s = (now_us() - proof.made_us) / 1e6
    if age_s > settings.validation.max_age.total_seconds():
        raise RefusedError(
            f"the validation of {migration.target.table} is {age_s:.0f} s old, "
            f"more than {format_duration(settings.validation.max_age)}",
            hint="run embedshift validate",
        )
    return proof


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["cutover", *sys.argv[1:]]))
