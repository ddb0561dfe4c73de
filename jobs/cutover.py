"""Step 6, cutover: drain, check the proof, move the alias by compare-and-set, catch up once more, and look."""

from __future__ import annotations

import sys
import threading
from typing import Any

from pyspark.sql import SparkSession

from jobs.catalog.alias import Alias, get_alias, move_alias
from jobs.catalog.migration import Migration, Ownership, get_migration, owned
from jobs.catalog.states import check_step
from jobs.catalog.tables import now_us
from jobs.catalog.validations import ValidationRecord, last_validation
from jobs.console import Console
from jobs.errors import RefusedError
from jobs.quality.content import Content
from jobs.quality.known import check_known
from jobs.settings import Settings, format_duration
from jobs.spark.session import spark_session
from jobs.stores.contract import Store
from jobs.sync import sync_passes
from jobs.validate import content_now, rows_now


def cutover(settings: Settings, store: Store, console: Console, *, dry_run: bool = False) -> dict[str, Any]:
    """Switch readers to the new table and the new model in one write.

    A failure before the switch leaves the old table live; run again after a failure behind it, it goes on forward.

    Raises:
        RefusedError: no fresh, passing validation of this very content, or somebody else moved the alias.
        CheckFailed: the tables do not come to rest, or the new table does not answer.
    """
    migration = get_migration(store, settings)
    check_step("cutover", migration.state, migration.id)
    for line in plan_lines(settings, migration):
        console.say(line)
    if dry_run:
        check_validation(settings, store, migration)
        return {"dry_run": True, "plan": plan_lines(settings, migration)}
    with (
        owned(store, migration, "cutover", settings.cutover.lease) as ownership,
        spark_session(settings, "cutover") as session,
    ):
        alias = get_alias(store, settings.alias)
        if alias.target.table != migration.target.table:
            _switch(settings, store, console, session, ownership, migration, alias)
        _settle(settings, store, console, session, ownership)
        now = get_alias(store, settings.alias)
        check_known(store, now.target.index)
        ownership.change(state="switched")
    console.say(f"alias {now.name}: {alias.target.table} → {now.target.table}, model {now.target.model.name}")
    return {
        "alias": {"before": alias.target.table, "after": now.target.table, "version": now.version},
        "next": f"embedshift retire (after {format_duration(settings.retire.after)}; until then embedshift rollback)",
    }


def plan_lines(settings: Settings, migration: Migration) -> list[str]:
    """What a cutover does, in order."""
    cache, age = format_duration(settings.cutover.client_cache), format_duration(settings.validation.max_age)
    return [
        f"1. sync {migration.source.table} into {migration.target.table} until a pass finds nothing",
        f"2. refuse without a passing validation of this content, made within {age}",
        f"3. move the alias {settings.alias} from {migration.source.table} ({migration.source.model.name}) to "
        f"{migration.target.table} ({migration.target.model.name}) by compare-and-set",
        f"4. wait {cache} for the clients that still have the old alias",
        "5. sync once more, for what they wrote meanwhile",
        "6. search through the alias for known articles",
    ]


def _switch(
    settings: Settings,
    store: Store,
    console: Console,
    session: SparkSession,
    ownership: Ownership,
    migration: Migration,
    alias: Alias,
) -> None:
    if alias.target.table != migration.source.table:
        raise RefusedError(
            f"the alias {alias.name} points to {alias.target.table}, not to {migration.source.table}",
            hint="look at embedshift status: something else has moved it",
        )
    if migration.state == "switching":
        # An earlier run ended just before the move: as long as the alias has not moved, sync and validate may follow.
        ownership.change(state="validated")
    check_validation(settings, store, migration)
    sync_passes(settings, store, console, session, ownership)
    _check_content(settings, store, console, session, migration, check_validation(settings, store, migration))
    # Before the alias moves, so that the time from which the target has rows of its own is always known.
    ownership.change(state="switching", switched_us=now_us())
    move_alias(store, alias, migration.target, migration=migration.id, reason="cutover")


def _settle(settings: Settings, store: Store, console: Console, session: SparkSession, ownership: Ownership) -> None:
    """Wait until no client can have the old alias, then fetch what such clients have written."""
    threading.Event().wait(settings.cutover.client_cache.total_seconds())
    sync_passes(settings, store, console, session, ownership)


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
