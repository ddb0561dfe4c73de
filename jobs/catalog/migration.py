"""The row of a migration: what it moves from where to where, how far it is, and which run owns it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

from jobs.catalog.alias import is_dead, new_run
from jobs.catalog.changes import tell_change
from jobs.catalog.control import STEP, say_word
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.states import ENDED, check_step
from jobs.catalog.tables import (
    BUCKETS,
    CONTROL,
    DEAD_LETTER,
    MIGRATION,
    RANGE,
    SHADOW,
    VALIDATION,
    ensure_catalog,
    now_us,
)
from jobs.errors import EmbedshiftError, OwnedByAnother, RefusedError, SchemaError, StateError, StoreUnavailable
from jobs.settings import Settings
from jobs.stores.contract import Store
from jobs.stores.record import Record

#: States in which the target's index is built, and no longer the migration's own.
_SETTLED = ("switched", "rolling_back", "retired")


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration as the catalog has it. ``facts`` are figures of the steps: rows, seconds, times."""

    id: str
    alias: str
    source: Endpoint
    target: Endpoint
    result_keys: Mapping[str, str]
    state: str
    facts: Mapping[str, Any]
    owner: str
    owned_since_us: int
    lease_until_us: int
    created_us: int
    updated_us: int

    @property
    def copies_vectors(self) -> bool:
        """Whether source and target have one model, so that vectors are copied and not computed."""
        return self.source.model.fingerprint == self.target.model.fingerprint


def _of(row: Record) -> Migration:
    return Migration(
        row["id"],
        row["alias"],
        Endpoint.from_json(row["source_endpoint"]),
        Endpoint.from_json(row["target_endpoint"]),
        json.loads(row["result_keys"]),
        row["state"],
        json.loads(row["facts"]),
        row["owner"] or "",
        row["owned_since_us"] or 0,
        row["lease_until_us"] or 0,
        row["created_us"],
        row["updated_us"],
    )


def migrations(store: Store, alias: str | None = None) -> list[Migration]:
    """All migrations, or those of an alias, oldest first; none where there is no catalog yet."""
    try:
        rows = [row for row in store.records.select(MIGRATION, {}) if alias in (None, row["alias"])]
    except SchemaError:
        if store.records.has(MIGRATION):
            raise
        return []
    return sorted((_of(row) for row in rows), key=lambda each: each.created_us)


def find_migration(store: Store, settings: Settings) -> Migration | None:
    """The migration that these settings speak of, ended or not: the newest into this target."""
    fitting = [each for each in migrations(store, settings.alias) if each.target.table == settings.target.table]
    return fitting[-1] if fitting else None


def get_migration(store: Store, settings: Settings) -> Migration:
    """The migration of these settings.

    Raises:
        StateError: there is none.
        RefusedError: it was prepared under settings that give another result; the keys that differ are named.
    """
    migration = find_migration(store, settings)
    if migration is None:
        raise StateError(f"there is no migration into {settings.target.table}", hint="run embedshift prepare first")
    check_settings(migration, settings)
    return migration


def check_settings(migration: Migration, settings: Settings) -> None:
    """Raises RefusedError where the settings would change the migration's result."""
    now = settings.result_keys()
    names = sorted({*migration.result_keys, *now})
    if migration.state in _SETTLED:
        # The index of a live table may have been given other options in place since.
        names = [name for name in names if not name.startswith("target.index.")]
    changed = [
        f"{name} (was {migration.result_keys.get(name, 'unset')}, now {now.get(name, 'unset')})"
        for name in names
        if migration.result_keys.get(name) != now.get(name)
    ]
    if changed:
        raise RefusedError(
            f"migration {migration.id} was prepared under other settings: {', '.join(changed)}",
            hint="put them back, or name another target.table",
        )


def create_migration(store: Store, settings: Settings, source: Endpoint, target: Endpoint, **facts: Any) -> Migration:
    """Record a migration; where the same one is already there, that one is returned."""
    ended = sum(each.target.table == target.table for each in migrations(store, settings.alias) if each.state in ENDED)
    name = f"{source.table}-to-{target.table}" + (f"-{ended + 1}" if ended else "")
    store.records.insert(
        MIGRATION,
        {
            "id": name,
            "alias": settings.alias,
            "source": source.table,
            "target": target.table,
            "source_endpoint": source.to_json(),
            "target_endpoint": target.to_json(),
            "result_keys": json.dumps(settings.result_keys()),
            "settings_digest": settings.digest(),
            "state": "preparing",
            "facts": json.dumps(facts),
            "owner": "",
            "owned_since_us": 0,
            "lease_until_us": 0,
            "created_us": now_us(),
            "updated_us": now_us(),
        },
    )
    return get_migration(store, settings)


def forget_work(store: Store, migration: str) -> None:
    """Forget the ranges, dead letters, validations, words and shadow readings of a migration; its own row stays."""
    rows = store.records.select(RANGE, {})
    steps = {(row["step"], row["bucket"]) for row in rows if row["migration"] == migration}
    store.records.delete(RANGE, *({"migration": migration, "step": step, "bucket": at} for step, at in steps))
    for bucket in range(BUCKETS):
        store.records.delete(DEAD_LETTER, {"migration": migration, "bucket": bucket})
    for table in (VALIDATION, CONTROL, SHADOW):
        store.records.delete(table, {"migration": migration})


def read_migration(store: Store, migration: str) -> Migration:
    """The row of that id, as it is now."""
    row = store.records.get(MIGRATION, {"id": migration})
    if row is None:
        raise StateError(f"there is no migration {migration}")
    return _of(row)


def peek_owner(store: Store, migration: str) -> tuple[str, int]:
    """Which run owns it, and until when (microseconds): read at a quorum, for the many that look again and again."""
    row = next(store.records.select(MIGRATION, {"id": migration}), None)
    return ("", 0) if row is None else (row["owner"] or "", row["lease_until_us"] or 0)


class Ownership:
    """The right of one run to change a migration: a lease, renewed by a thread as long as the run lives.

    ``stop`` raises, as a RefusedError, where the run must not go on for another reason.
    """

    def __init__(self, store: Store, migration: str, lease: timedelta, stop: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self.migration = migration
        self._lease_us = int(lease.total_seconds() * 1_000_000)
        self._stop = stop
        self.owner = new_run()
        self._ended = Event()
        self._lost = ""
        self._renewing = Thread(target=self._renew, name="embedshift-lease", daemon=True)

    def take(self) -> None:
        """Take the lease. Raises OwnedByAnother where a living run has it."""
        seen = read_migration(self._store, self.migration)
        now = now_us()
        if seen.owner and seen.lease_until_us > now and not is_dead(seen.owner):
            since = datetime.fromtimestamp(seen.owned_since_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            wait = (seen.lease_until_us - now) / 1e6
            raise OwnedByAnother(
                f"migration {self.migration} is owned by {seen.owner} since {since}",
                hint=f"wait for it; a dead run loses it in {wait:.0f} s at most",
            )
        taken = self._store.records.update_if(
            MIGRATION,
            {"id": self.migration},
            {"owner": self.owner, "owned_since_us": now, "lease_until_us": now + self._lease_us},
            {"owner": seen.owner, "lease_until_us": seen.lease_until_us},
        )
        if not taken:
            other = read_migration(self._store, self.migration).owner or "another run"
            raise OwnedByAnother(f"migration {self.migration} was taken by {other} this moment", hint="wait for it")
        self._renewing.start()

    def change(self, *, state: str | None = None, **facts: Any) -> Migration:
        """Set the state and add facts, while the lease is ours. Raises OwnedByAnother where it was lost."""
        self._check_lease()
        seen = read_migration(self._store, self.migration)
        changes: Record = {"facts": json.dumps({**seen.facts, **facts}), "updated_us": now_us()}
        if state is not None:
            changes["state"] = state
        if not self._store.records.update_if(MIGRATION, {"id": self.migration}, changes, {"owner": self.owner}):
            self._lost = "another run took it"
            self._check_lease()
        if state not in (None, seen.state):
            tell_change(self.migration, seen.state, str(state))
        return read_migration(self._store, self.migration)

    def check(self) -> None:
        """Asks the catalog. Raises OwnedByAnother where the lease was lost, and what ``stop`` raises."""
        # A store that does not answer now takes the lease from nobody: the renewing thread knows when it has run out.
        with suppress(StoreUnavailable):
            if read_migration(self._store, self.migration).owner != self.owner:
                self._lost = self._lost or "another run took it"
        self._check_lease()
        self._stop()

    def _check_lease(self) -> None:
        if self._lost:
            raise OwnedByAnother(f"this run lost migration {self.migration} ({self._lost})", hint="look at status")

    def give_back(self) -> None:
        """End the lease, so that the next run need not wait for it to run out."""
        self._ended.set()
        self._renewing.join()
        # A store that does not answer now must not hide why the run ended: the lease runs out by itself.
        with suppress(StoreUnavailable):
            self._store.records.update_if(
                MIGRATION, {"id": self.migration}, {"owner": "", "lease_until_us": 0}, {"owner": self.owner}
            )

    def _renew(self) -> None:
        held_until = now_us() + self._lease_us
        while not self._ended.wait(self._lease_us / 3e6):
            until = now_us() + self._lease_us
            try:
                ours = self._store.records.update_if(
                    MIGRATION, {"id": self.migration}, {"lease_until_us": until}, {"owner": self.owner}
                )
            except EmbedshiftError:
                # The store may be back before the lease is over; the run itself meets the error too.
                if now_us() > held_until:
                    self._lost = "the store did not answer until its lease had run out"
                    return
                continue
            if not ours:
                self._lost = "its lease ran out and another run took it"
                return
            held_until = until


#: The migration that this run holds from step to step (``holding``).
HELD: ContextVar[Ownership | None] = ContextVar("held", default=None)


@contextmanager
def owned(store: Store, migration: Migration, step: str, lease: timedelta) -> Iterator[Ownership]:
    """Own a migration while a step runs: refuses a step that may not follow, or a second run beside a living one."""
    # The catalog of an older version may lack tables that this one writes.
    ensure_catalog(store)
    ownership = HELD.get()
    if ownership is not None and ownership.migration == migration.id:
        ownership.check()
        check_step(step, read_migration(store, migration.id).state, migration.id)
        yield ownership
        return
    ownership = Ownership(store, migration.id, lease)
    ownership.take()
    try:
        check_step(step, read_migration(store, migration.id).state, migration.id)
        say_word(store, migration.id, STEP, step)
        yield ownership
    finally:
        ownership.give_back()
