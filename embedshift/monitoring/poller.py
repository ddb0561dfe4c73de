"""Reads the catalog repeatedly and cheaply: the longer a large table takes to read, the less often it is read."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Lock

from embedshift.catalog.activity import Activity, activity_of
from embedshift.catalog.actor import shown
from embedshift.catalog.alias import find_alias
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.migration import Migration, find_migration, is_owned
from embedshift.catalog.service_account import spending
from embedshift.catalog.signals import STEP, read_signal
from embedshift.catalog.states import next_command
from embedshift.catalog.throttle import throttle_of
from embedshift.catalog.versions import settings_now
from embedshift.monitoring.progress import (
    ProgressSnapshot,
    bare_snapshot,
    step_of_ranges,
    steps_of,
    work_of,
)
from embedshift.monitoring.range_totals import RangeTotal, RangeTotals
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.times import now_us

#: Reading the ranges, or the dead letters, may take at most this share of the time.
_SHARE = 0.1
#: Dead letters are counted one by one, so not on every poll.
_LETTERS_EVERY_S = 10.0


class Poller:
    """Polls one migration. Several threads may use it; they share a result that is fresh enough."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._lock = Lock()
        self._totals: RangeTotals | None = None
        self._total, self._total_us = RangeTotal(), 0
        self._letters = 0
        self._ranges_due = self._letters_due = 0.0
        self._last: tuple[float, ProgressSnapshot] | None = None

    def look(self, max_age_s: float = 0.0) -> ProgressSnapshot:
        """The progress of the migration, as of now or as another thread has just read it.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= max_age_s:
                snapshot = self._look()
                self._last = (time.monotonic(), snapshot)
            return self._last[1]

    def _look(self) -> ProgressSnapshot:
        # A server may run longer than a migration: it follows the migrations that upgrades begin.
        settings = settings_now(self._settings, self._store)
        alias, migration = find_alias(self._store, settings.alias), find_migration(self._store, settings)
        at_us = now_us()
        bare = bare_snapshot(at_us, self._settings.alias, alias)
        if migration is None:
            return bare
        owned = is_owned(migration)
        running = self._running(migration) if owned else None
        step = step_of_ranges(migration, running)
        total = self._ranges(migration.id, step) if step else RangeTotal()
        since_us = migration.owned_since_us if owned else at_us
        # A range that ends between this and the reading of the ranges is in neither for a moment.
        activity = activity_of(self._store, migration.id, step or "", since_us) if owned else Activity("", "")
        return replace(
            bare,
            migration=migration.id,
            source=migration.source.table,
            target=migration.target.table,
            model=migration.target.model.name,
            state=migration.state,
            steps=steps_of(migration.state, running),
            running=running,
            owner=shown(migration.owner) if owned else None,
            since_us=since_us if owned else None,
            work=work_of(step, total, since_us, self._total_us, _about(migration), activity.rows)
            if step and total.ranges
            else None,
            doing=activity.doing,
            dead_letters=self._dead_letters(migration.id),
            slowed=throttle_of(self._store, migration, settings.throttle)["reason"] or "",
            services=spending(self._store, migration.id),
            next="" if owned else next_command(migration.state),
        )

    def _running(self, migration: Migration) -> str:
        signal = read_signal(self._store, migration.id, STEP)
        # A run of an older version sends no signal: the most likely step follows from the state.
        step = signal.text if signal and signal.sent_us >= migration.owned_since_us else ""
        return step or next_command(migration.state).rpartition(" ")[2]

    def _ranges(self, migration: str, step: str) -> RangeTotal:
        if self._totals is None or self._totals.key != (migration, step):
            self._totals, self._ranges_due = RangeTotals(self._store, migration, step), 0.0
        if time.monotonic() >= self._ranges_due:
            started = time.monotonic()
            self._total, self._total_us = self._totals.look(), now_us()
            self._ranges_due = _due(started)
        return self._total

    def _dead_letters(self, migration: str) -> int:
        if time.monotonic() >= self._letters_due:
            started = time.monotonic()
            self._letters = sum(1 for _ in read_dead_letters(self._store, migration))
            self._letters_due = max(_due(started), started + _LETTERS_EVERY_S)
        return self._letters


def _due(started: float) -> float:
    """When the data that was read from ``started`` on may be read again."""
    ended = time.monotonic()
    return ended + (ended - started) * (1 / _SHARE - 1)


def _about(migration: Migration) -> int:
    """About how many rows the table has: as many as the load has read, before that as the store estimates."""
    return migration.facts.rows or migration.facts.rows_estimated
