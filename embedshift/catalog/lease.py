"""The lease of a migration: the right of one run to change it. A thread renews it as long as the run lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from embedshift.catalog.actor import new_run, shown
from embedshift.catalog.claim import revoke_claim
from embedshift.catalog.migration import Migration, is_owned, read_migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.signals import STEP, send
from embedshift.catalog.states import check_step
from embedshift.catalog.tables import MIGRATION
from embedshift.errors import EmbedshiftError, OwnedByAnother, SchemaError, StoreUnavailable
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us, to_us, utc_text

#: Called at each change of state with the migration's id, the state before and the state now.
Listener = Callable[[str, str, str], None]


def nobody(migration: str, before: str, now: str) -> None:
    """A listener that does nothing."""
    del migration, before, now


def never() -> None:
    """A stop condition that never stops a run."""


class Lease:
    """The right of one run to change a migration.

    Args:
        store: has the catalog.
        migration: its id.
        duration: a run that does not renew the lease for this long loses it.
        stop: raises a RefusedError if the run must not go on for another reason.
        listener: is called at each change of state that this run makes.
    """

    def __init__(
        self,
        store: Store,
        migration: str,
        duration: timedelta,
        *,
        stop: Callable[[], None] = never,
        listener: Listener = nobody,
    ) -> None:
        self._store = store
        self.migration = migration
        self._duration_us = to_us(duration)
        self._stop = stop
        self._listener = listener
        self.owner = new_run()
        self._ended = Event()
        self._lost = ""
        self._renewing = Thread(target=self._renew, name="embedshift-lease", daemon=True)

    def take(self) -> None:
        """Take the lease. Raises OwnedByAnother if a living run has it."""
        seen = read_migration(self._store, self.migration)
        now = now_us()
        if is_owned(seen):
            raise OwnedByAnother(
                f"migration {self.migration} is owned by {shown(seen.owner)} since {utc_text(seen.owned_since_us)}",
                hint=f"wait for it; a dead run loses it in {(seen.lease_until_us - now) / 1e6:.0f} s at most",
            )
        taken = self._store.records.update_if(
            MIGRATION,
            {"id": self.migration},
            {"owner": self.owner, "owned_since_us": now, "lease_until_us": now + self._duration_us},
            {"owner": seen.owner, "lease_until_us": seen.lease_until_us},
        )
        if not taken:
            other = shown(read_migration(self._store, self.migration).owner) or "another run"
            raise OwnedByAnother(f"migration {self.migration} was just taken by {other}", hint="wait for it")
        self._renewing.start()
        # A run that had the lease before may be about to move the alias, and only sleep.
        revoke_claim(self._store, seen.alias, self.migration)

    def change(self, *, state: str | None = None, **facts: Any) -> Migration:
        """Set the state and fields of ``Facts`` while the lease is ours. Raises OwnedByAnother if it was lost."""
        self._check_not_lost()
        seen = read_migration(self._store, self.migration)
        changes: Record = {"facts": json.dumps(asdict(replace(seen.facts, **facts))), "updated_us": now_us()}
        if state is not None:
            changes["state"] = state
        if not self._store.records.update_if(MIGRATION, {"id": self.migration}, changes, {"owner": self.owner}):
            self._lost = "another run took it"
            self._check_not_lost()
        if state not in (None, seen.state):
            self._listener(self.migration, seen.state, str(state))
        return read_migration(self._store, self.migration)

    def check(self) -> None:
        """Check with the catalog. Raises OwnedByAnother if the lease was lost, and whatever ``stop`` raises."""
        # If the store does not answer now, the lease is not lost: the renewing thread knows when it expires.
        with suppress(StoreUnavailable):
            if read_migration(self._store, self.migration).owner != self.owner:
                self._lost = self._lost or "another run took it"
        self._check_not_lost()
        self._stop()

    def confirm(self) -> None:
        """Renew the lease serially, immediately before something that cannot be undone.

        Raises:
            OwnedByAnother: the lease was lost, for instance while this process slept.
            StoreUnavailable: the store cannot say whether it was.
        """
        until = now_us() + self._duration_us
        if not self._store.records.update_if(
            MIGRATION, {"id": self.migration}, {"lease_until_us": until}, {"owner": self.owner}
        ):
            self._lost = self._lost or "another run took it"
        self._check_not_lost()

    def _check_not_lost(self) -> None:
        if self._lost:
            raise OwnedByAnother(
                f"this run lost migration {self.migration} ({self._lost})", hint="look at embedshift status"
            )

    def give_back(self) -> None:
        """End the lease, so that the next run need not wait for it to run out."""
        self._ended.set()
        self._renewing.join()
        # If the store does not answer now, that must not hide why the run ended: the lease will expire.
        with suppress(StoreUnavailable):
            self._store.records.update_if(
                MIGRATION, {"id": self.migration}, {"owner": "", "lease_until_us": 0}, {"owner": self.owner}
            )

    def _renew(self) -> None:
        held_until = now_us() + self._duration_us
        while not self._ended.wait(self._duration_us / 3e6):
            until = now_us() + self._duration_us
            try:
                ours = self._store.records.update_if(
                    MIGRATION, {"id": self.migration}, {"lease_until_us": until}, {"owner": self.owner}
                )
            except EmbedshiftError:
                # The store may answer again before the lease expires; otherwise the run fails with the error itself.
                if now_us() > held_until:
                    self._lost = "the store did not answer until its lease had run out"
                    return
                continue
            if not ours:
                self._lost = "its lease ran out and another run took it"
                return
            held_until = until


@contextmanager
def held(
    store: Store,
    migration: Migration,
    duration: timedelta,
    *,
    stop: Callable[[], None] = never,
    listener: Listener = nobody,
) -> Iterator[Lease]:
    """Own a migration until the block ends, so that no other run comes in between two steps.

    Raises:
        OwnedByAnother: a living run has it.
    """
    # The catalog of an older version may lack tables that this one writes.
    ensure_catalog(store)
    lease = Lease(store, migration.id, duration, stop=stop, listener=listener)
    lease.take()
    try:
        yield lease
    except SchemaError:
        # Whoever has taken the migration meanwhile may have dropped a table of it: then that is the reason.
        lease.check()
        raise
    finally:
        lease.give_back()


@contextmanager
def owned(
    store: Store,
    migration: Migration,
    step: str,
    duration: timedelta,
    *,
    lease: Lease | None = None,
    listener: Listener = nobody,
) -> Iterator[Lease]:
    """Own a migration while a step runs: refuse a step that may not follow, or a second run beside a living one.

    Args:
        lease: what the caller holds already; the step uses it, and leaves it held.
    """
    if lease is not None and lease.migration == migration.id:
        lease.check()
        _begin(store, migration, step)
        yield lease
        return
    with held(store, migration, duration, listener=listener) as own:
        _begin(store, migration, step)
        yield own


def _begin(store: Store, migration: Migration, step: str) -> None:
    check_step(step, read_migration(store, migration.id).state, migration.id)
    send(store, migration.id, STEP, step)
