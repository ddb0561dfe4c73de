"""Pause, resume and throttle: what an operator tells a running migration, from any terminal or machine."""

from __future__ import annotations

import json
from typing import Any

from jobs.catalog.control import forget_words, read_word, say_word
from jobs.catalog.migration import Migration, find_migration
from jobs.catalog.pace import PAUSE, THROTTLE, Limits, pace_of, person
from jobs.catalog.states import ENDED
from jobs.catalog.tables import ensure_catalog
from jobs.console import Console
from jobs.errors import StateError, UsageError
from jobs.hours import parse_hours
from jobs.settings import Settings
from jobs.stores.contract import Store


def pause(settings: Settings, store: Store, console: Console) -> dict[str, Any]:
    """Let load and sync carry nothing more, in this run and the next ones, until ``resume``.

    Raises:
        StateError: there is no migration that has not ended.
    """
    migration = _open_migration(settings, store)
    word = read_word(store, migration.id, PAUSE)
    if word is None:
        word = say_word(store, migration.id, PAUSE)
        console.say(f"{migration.id} is paused: its tasks stop within five seconds")
    else:
        console.say(f"{migration.id} was paused before, by {person(word)}")
    return {"migration": migration.id, "paused": True, "by": person(word), "next": "embedshift resume"}


def resume(settings: Settings, store: Store, console: Console) -> dict[str, Any]:
    """Take a pause back. Limits stay as they are.

    Raises:
        StateError: there is no migration that has not ended.
    """
    migration = _open_migration(settings, store)
    was = read_word(store, migration.id, PAUSE)
    forget_words(store, migration.id, [PAUSE])
    console.say(f"{migration.id} goes on" if was else f"{migration.id} was not paused")
    return {"migration": migration.id, "paused": False, "next": "embedshift status"}


def throttle(
    settings: Settings,
    store: Store,
    console: Console,
    *,
    rows_per_second: float | None = None,
    max_latency_ms: float | None = None,
    between: str | None = None,
    off: bool = False,
    as_settings: bool = False,
) -> dict[str, Any]:
    """Limit how fast load and sync go, in this run and the next ones. What is not named stays as it was said before.

    Args:
        rows_per_second: of the whole run.
        max_latency_ms: of the 99th percentile of the store's writes.
        between: hours (``parse_hours``).
        off: no limits at all, not even those of the settings.
        as_settings: forget what was said: the limits of the settings hold.

    Raises:
        UsageError: nothing is asked for, or several things that exclude each other.
        StateError: there is no migration that has not ended.
    """
    asked = {"rows_per_second": rows_per_second, "max_latency_ms": max_latency_ms, "between": _hours(between)}
    named = {name: value for name, value in asked.items() if value is not None}
    if bool(named) + off + as_settings != 1:
        raise UsageError(
            "throttle takes limits, or --off, or --as-settings",
            hint="say one of them; several limits may be given: --rows-per-second, --max-latency-ms, --between",
        )
    migration = _open_migration(settings, store)
    if as_settings:
        forget_words(store, migration.id, [THROTTLE])
    else:
        before = read_word(store, migration.id, THROTTLE)
        said = dict.fromkeys(asked) if off else (json.loads(before.text) if before else {}) | named
        say_word(store, migration.id, THROTTLE, json.dumps(said))
    pace = pace_of(store, migration, settings.throttle)
    lines = Limits(**pace["limits"]).lines()
    console.say(f"{migration.id}: {', '.join(lines) or 'no limits'}")
    return {"migration": migration.id, "limits": pace["limits"], "next": "embedshift status"}


def _hours(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(parse_hours(text))
    except ValueError as error:
        raise UsageError(f"--between {error}") from error


def _open_migration(settings: Settings, store: Store) -> Migration:
    # Whatever the settings have become since: a run that is too fast must be stopped under any.
    migration = find_migration(store, settings)
    if migration is None:
        raise StateError(f"there is no migration into {settings.target.table}", hint="run embedshift prepare first")
    if migration.state in ENDED:
        raise StateError(f"migration {migration.id} is {migration.state}: nothing of it runs any more")
    ensure_catalog(store)
    return migration
