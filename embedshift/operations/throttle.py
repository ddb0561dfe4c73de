"""Pause, resume and throttle: what an operator tells a running migration, from any terminal or machine."""

from __future__ import annotations

import json
from typing import Any

from embedshift.catalog.migration import Migration, find_migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.signals import read_signal, send, withdraw_signals
from embedshift.catalog.states import ENDED, label
from embedshift.catalog.throttle import PAUSE, THROTTLE, Limits, person, throttle_of
from embedshift.errors import StateError, UsageError
from embedshift.steps.context import StepContext
from embedshift.times import parse_window


def pause(context: StepContext) -> dict[str, Any]:
    """Stop load and sync, in this run and the next ones, until ``resume``.

    Raises:
        StateError: there is no migration that has not ended.
    """
    store, console = context.store, context.console
    migration = _open_migration(context)
    paused = read_signal(store, migration.id, PAUSE)
    if paused is None:
        paused = send(store, migration.id, PAUSE)
        console.say(f"{migration.id} is paused: its tasks stop within five seconds")
    else:
        console.say(f"{migration.id} was already paused, by {person(paused)}")
    return {"migration": migration.id, "paused": True, "by": person(paused), "next": "embedshift resume"}


def resume(context: StepContext) -> dict[str, Any]:
    """End a pause. Limits stay as they are.

    Raises:
        StateError: there is no migration that has not ended.
    """
    store = context.store
    migration = _open_migration(context)
    paused = read_signal(store, migration.id, PAUSE)
    withdraw_signals(store, migration.id, [PAUSE])
    context.console.say(f"{migration.id} continues" if paused else f"{migration.id} was not paused")
    return {"migration": migration.id, "paused": False, "next": "embedshift status"}


def throttle(
    context: StepContext,
    *,
    rows_per_second: float | None = None,
    max_latency_ms: float | None = None,
    between: str | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    off: bool = False,
    as_settings: bool = False,
) -> dict[str, Any]:
    """Limit how fast load and sync go, in this run and the next ones. A limit that is not named does not change.

    Args:
        context: what the operation works with.
        rows_per_second: for the whole run.
        max_latency_ms: for the 99th percentile of the store's writes.
        between: a window of hours for ``parse_window``.
        requests_per_minute: to an embedding service, for the whole run.
        tokens_per_minute: the same.
        off: no limits at all, not even those of the settings.
        as_settings: forget what was set, so that the limits of the settings apply.

    Raises:
        UsageError: no option is given, or options that exclude each other.
        StateError: there is no migration that has not ended.
    """
    store = context.store
    window = None if between is None else str(parse_window(between))
    asked = {
        "rows_per_second": rows_per_second,
        "max_latency_ms": max_latency_ms,
        "between": window,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
    }
    named = {name: value for name, value in asked.items() if value is not None}
    if bool(named) + off + as_settings != 1:
        raise UsageError(
            "throttle takes limits, or --off, or --as-settings",
            hint="use one of them; several limits may be given, such as --rows-per-second and --between",
        )
    migration = _open_migration(context)
    if as_settings:
        withdraw_signals(store, migration.id, [THROTTLE])
    else:
        before = read_signal(store, migration.id, THROTTLE)
        limits = dict.fromkeys(asked) if off else (json.loads(before.text) if before else {}) | named
        send(store, migration.id, THROTTLE, json.dumps(limits))
    now = throttle_of(store, migration, context.settings.throttle)["limits"]
    context.console.say(f"{migration.id}: {', '.join(Limits(**now).lines()) or 'no limits'}")
    return {"migration": migration.id, "limits": now, "next": "embedshift status"}


def _open_migration(context: StepContext) -> Migration:
    # Under any settings: it must always be possible to stop a run that is too fast.
    migration = find_migration(context.store, context.settings)
    if migration is None:
        raise StateError(
            f"there is no migration into {context.settings.target.table}", hint="run embedshift prepare first"
        )
    if migration.state in ENDED:
        raise StateError(f"migration {migration.id} is {label(migration.state)}: nothing of it is running")
    ensure_catalog(context.store)
    return migration
