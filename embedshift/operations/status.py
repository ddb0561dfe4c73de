"""What is live, what is running, and how far it is. Reads the catalog and changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from embedshift.catalog.actor import is_dead, shown
from embedshift.catalog.alias import Alias, find_alias
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.migration import Migration, find_migration
from embedshift.catalog.ranges import progress
from embedshift.catalog.service_account import Spent, spending
from embedshift.catalog.signals import HOLD, read_signal
from embedshift.catalog.states import next_command
from embedshift.catalog.throttle import throttle_line, throttle_of
from embedshift.catalog.validations import ValidationRecord, last_validation, outcomes
from embedshift.settings import ThrottleSettings
from embedshift.steps.context import StepContext
from embedshift.stores.contract import Store
from embedshift.telemetry.console import Console
from embedshift.times import utc_iso


def status(context: StepContext) -> dict[str, Any]:
    """The alias, the migration of these settings, its progress and its last validation."""
    settings, store, console = context.settings, context.store, context.console
    alias, migration = find_alias(store, settings.alias), find_migration(store, settings)
    result: dict[str, Any] = {"store": store.label}
    result["alias"] = _alias(alias, settings.alias)
    result["migration"] = _migration(store, migration, settings.throttle) if migration else None
    result["next"] = _next(alias, migration)
    _say(result, console)
    return result


def _next(alias: Alias | None, migration: Migration | None) -> str:
    if migration is not None:
        return next_command(migration.state)
    return "embedshift prepare" if alias else "embedshift import FILE.jsonl, or embedshift prepare if the table exists"


def _alias(alias: Alias | None, name: str) -> dict[str, Any]:
    if alias is None:
        return {"name": name, "table": None, "model": None, "dimension": None, "version": None}
    return {
        "name": name,
        "table": alias.target.table,
        "model": alias.target.model.name,
        "dimension": alias.target.model.dimension,
        "fingerprint": alias.target.model.fingerprint,
        "version": alias.version,
        "previous": alias.previous.table if alias.previous else None,
        "moved": utc_iso(alias.moved_us),
        "moved_by": alias.moved_by,
    }


def _migration(store: Store, migration: Migration, throttle: ThrottleSettings) -> dict[str, Any]:
    load = progress(store, migration.id, "load")
    total = max(migration.facts.rows_estimated, load.counts.read)
    proof = last_validation(store, migration.id)
    return {
        "id": migration.id,
        "state": migration.state,
        "source": migration.source.table,
        "target": migration.target.table,
        "model": migration.target.model.name,
        "rows_done": load.counts.read,
        "rows_total": load.counts.read if load.complete else total,
        "ranges": {"done": load.done, "failed": load.failed, "total": load.ranges},
        "load": asdict(load.counts),
        "dead_letters": sum(1 for _ in read_dead_letters(store, migration.id)),
        "owner": shown(migration.owner) or None,
        "owned_since": utc_iso(migration.owned_since_us) if migration.owner else None,
        "updated": utc_iso(migration.updated_us),
        "waiting": _waiting(store, migration),
        "throttle": throttle_of(store, migration, throttle),
        "services": [asdict(each) for each in spending(store, migration.id)],
        "validation": None if proof is None else _validation(proof),
    }


def _validation(proof: ValidationRecord) -> dict[str, Any]:
    ended = outcomes(proof.report)
    return {
        "made": utc_iso(proof.made_us),
        "passed": proof.passed,
        "failed": list(ended.failed),
        "not_measured": list(ended.not_measured),
        "said": ended.words,
    }


def _waiting(store: Store, migration: Migration) -> dict[str, str] | None:
    """The cutover that waits until somebody releases it."""
    held = read_signal(store, migration.id, HOLD)
    if held is None or is_dead(held.sent_by):
        return None
    return {"cutover": shown(held.sent_by), "since": utc_iso(held.sent_us)}


def _say(result: dict[str, Any], console: Console) -> None:
    alias, migration = result["alias"], result["migration"]
    console.say(f"store: {result['store']}")
    if alias["table"] is None:
        console.say(f"alias {alias['name']}: none yet")
    else:
        console.say(
            f"alias {alias['name']}: {alias['table']}, model {alias['model']} ({alias['dimension']}), "
            f"version {alias['version']}, moved {alias['moved']} by {alias['moved_by']}"
        )
    if migration is None:
        console.say("migration: none")
        return
    ranges = migration["ranges"]
    console.say(
        f"migration {migration['id']}: {migration['state']}, {migration['rows_done']:,} of {migration['rows_total']:,} "
        f"rows, {ranges['done']} of {ranges['total']} ranges, {ranges['failed']} failed, "
        f"{migration['dead_letters']} dead letters"
    )
    if migration["owner"]:
        console.say(f"owned by {migration['owner']} since {migration['owned_since']}")
    if held := throttle_line(migration["throttle"]):
        console.say(f"throttle: {held}")
    for spent in migration["services"]:
        console.say(f"service {Spent(**spent)}")
    if waiting := migration["waiting"]:
        console.say(
            f"a cutover of {waiting['cutover']} has been waiting for release since {waiting['since']}: "
            "embedshift cutover --go"
        )
    if migration["validation"]:
        outcome = "passed" if migration["validation"]["passed"] else "did not pass"
        console.say(f"validation of {migration['validation']['made']}: {outcome}: {migration['validation']['said']}")
