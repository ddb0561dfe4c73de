"""Holding a migration from step to step, so that no other run comes in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from jobs.catalog.migration import HELD, Migration, Ownership
from jobs.catalog.tables import ensure_catalog
from jobs.stores.contract import Store


@contextmanager
def held(store: Store, migration: Migration, lease: timedelta, stop: Callable[[], None]) -> Iterator[None]:
    """Own a migration until the block ends; the steps in it find it owned, and leave it so.

    Args:
        stop: asked between steps, and while one waits; raises a RefusedError where the run must not go on.

    Raises:
        OwnedByAnother: a living run has it.
    """
    ensure_catalog(store)
    ownership = Ownership(store, migration.id, lease, stop)
    ownership.take()
    before = HELD.set(ownership)
    try:
        yield
    finally:
        HELD.reset(before)
        ownership.give_back()
