"""What is live, what is running, and how far it is: read from the catalog, changing nothing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobs.catalog.alias import Alias, find_alias, is_dead
from jobs.catalog.control import HOLD, read_word
from jobs.catalog.dead_letters import read_dead_letters
from jobs.catalog.migration import Migration, find_migration
from jobs.catalog.pace import pace_line, pace_of
from jobs.catalog.ranges import progress
from jobs.catalog.states import NEXT
from jobs.catalog.validations import last_validation
from jobs.console import Console
from jobs.settings import Settings, ThrottleSettings
from jobs.stores.contract import Store


def status(settings: Settings, store: Store, console: Console) -> dict[str, Any]:
    """The alias, the migration of these settings, its progress and its last validation."""
    alias, migration = find_alias(store, settings.alias), find_migration(store, settings)
    result: dict[str, Any] = {"store": store.label}
    result["alias"] = _alias(alias, settings.alias)
    result["migration"] = _migration(store, migration, settings.throttle) if migration else None
    result["next"] = _next(alias, migration)
    _say(result, console)
    return result


def _next(alias: Alias | None, migration: Migration | None) -> str:
    if migration is not None:
        step = NEXT[migration.state]
        return f"embedshift {step}" if step else ""
    return "embedshift prepare" if alias else "embedshift import FILE.jsonl, or prepare where the table is there"


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
        "moved": _time(alias.moved_us),
        "moved_by": alias.moved_by,
    }


def _migration(store: Store, migration: Migration, throttle: ThrottleSettings) -> dict[str, Any]:
    load = progress(store, migration.id, "load")
    total = max(int(migration.facts.get("rows_estimated", 0)), load.counts.read)
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
        "owner": migration.owner or None,
        "owned_since": _time(migration.owned_since_us) if migration.owner else None,
        "updated": _time(migration.updated_us),
        "waiting": _waiting(store, migration),
        "pace": pace_of(store, migration, throttle),
        "validation": None if proof is None else {"made": _time(proof.made_us), "passed": proof.passed},
    }


def _waiting(store: Store, migration: Migration) -> dict[str, str] | None:
    """The cutover that is held until somebody gives the word."""
    word = read_word(store, migration.id, HOLD)
    if word is None or is_dead(word.said_by):
        return None
    return {"cutover": word.said_by, "since": _time(word.said_us)}


def _time(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


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
    if pace := pace_line(migration["pace"]):
        console.say(f"pace: {pace}")
    if waiting := migration["waiting"]:
        console.say(
            f"a cutover of {waiting['cutover']} waits for the word since {waiting['since']}: embedshift cutover --go"
        )
    if migration["validation"]:
        outcome = "passed" if migration["validation"]["passed"] else "did not pass"
        console.say(f"validation of {migration['validation']['made']}: {outcome}")


if __name__ == "__main__":
    from jobs.cli import main

    sys.exit(main(["status", *sys.argv[1:]]))
