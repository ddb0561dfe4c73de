"""Where articles are at this moment: the live table of the alias, and the other table of each running migration.

The view is cached for a stated time. A write that ends after its view has run out looks again, and is made once more
where the alias has moved meanwhile: so every write reaches the new table, or comes before the last sync of the cutover.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from jobs.catalog.alias import get_alias
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.migration import migrations
from jobs.catalog.states import ENDED
from jobs.errors import EmbedshiftError, SchemaError, StateError
from jobs.settings import Settings
from jobs.stores.contract import Store, Table

_LOG = logging.getLogger(__name__)
#: How often one call looks again and is made anew; an alias does not move more often than that.
_TRIES = 4

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Place:
    """A table that holds the articles, as the catalog and as the store describe it.

    ``migration`` is the running migration in which it is the other table, empty for the live one; ``way_back`` says
    that the live table is that migration's target, so that this one is kept for a rollback.
    """

    endpoint: Endpoint
    table: Table
    migration: str = ""
    way_back: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The live table, the second tables, and when they were looked up (seconds of the monotonic clock)."""

    live: Place
    seconds: tuple[Place, ...]
    seen_s: float

    def same(self, other: View) -> bool:
        """Whether both name the same tables, with the same columns."""
        return (self.live, self.seconds) == (other.live, other.seconds)

    def reaches(self, other: View) -> bool:
        """Whether a write by this view has reached every table of the other."""
        mine = {place.endpoint.table for place in self.seconds}
        return self.live.endpoint == other.live.endpoint and all(
            place.endpoint.table in mine for place in other.seconds
        )


class Following:
    """Follows the alias. Threads may share it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._alias = settings.alias
        self._cache_s = settings.articles_cache.total_seconds()
        self._view: View | None = None
        self._lock = Lock()

    def now(self) -> View:
        """The view, not older than the cache allows.

        Raises:
            StateError: there is no such alias.
            SchemaError: it points to a table that does not exist.
        """
        view = self._view
        if view is not None and self._fresh(view):
            return view
        with self._lock:
            if self._view is not None and self._fresh(self._view):
                return self._view
            self._view = self._look()
            return self._view

    def seen(self) -> View | None:
        """The last view, however old, without a look at the store; None before the first."""
        return self._view

    def refresh(self) -> View:
        """The view as it is now, whatever the cache holds."""
        view = self._look()
        with self._lock:
            if self._view is None or self._view.seen_s < view.seen_s:
                self._view = view
        return view

    def reading(self, operation: Callable[[View], Result]) -> Result:
        """Read by the view; where that fails and the view has changed, once more by the new one."""
        view = self.now()
        try:
            return operation(view)
        except EmbedshiftError:
            fresh = self.refresh()
            if fresh.same(view):
                raise
            return operation(fresh)

    def writing(
        self, operation: Callable[[View], Result], doubtful: Callable[[Result], bool] = lambda result: False
    ) -> Result:
        """Write by the view; anew where it fails or has run out, and the tables are others by then.

        Args:
            operation: writes at times of its own, so that it may be repeated.
            doubtful: whether a result holds failures that a view too old may have caused.
        """
        view = self.now()
        for _ in range(_TRIES):
            try:
                result = operation(view)
            except EmbedshiftError:
                fresh = self.refresh()
                if fresh.same(view):
                    raise
            else:
                doubted = doubtful(result)
                if self._fresh(view) and not doubted:
                    return result
                fresh = self.refresh()
                if fresh.same(view) if doubted else view.reaches(fresh):
                    return result
            _LOG.info("the alias %s is at %s now: writing once more", self._alias, fresh.live.endpoint.table)
            view = fresh
        raise StateError(f"the alias {self._alias} moved {_TRIES} times during one call", hint="try again")

    def _fresh(self, view: View) -> bool:
        return time.monotonic() - view.seen_s <= self._cache_s

    def _look(self) -> View:
        seen_s = time.monotonic()
        endpoint = get_alias(self._store, self._alias).target
        if not self._store.exists(endpoint.table):
            raise SchemaError(
                f"the alias {self._alias} points to {endpoint.table}, which does not exist",
                hint="look at embedshift status; restore the table, or run embedshift articles drop",
            )
        return View(Place(endpoint, self._store.describe(endpoint.table)), self._seconds(endpoint), seen_s)

    def _seconds(self, live: Endpoint) -> tuple[Place, ...]:
        places = []
        for migration in migrations(self._store, self._alias):
            if migration.state in ("preparing", "aborting", *ENDED):
                continue
            pair = migration.source, migration.target
            if live.table not in [each.table for each in pair]:
                continue
            way_back = migration.target.table == live.table
            other = migration.source if way_back else migration.target
            try:
                table = self._store.describe(other.table)
            except SchemaError:
                continue  # dropped by hand, or by a retire that is under way
            places.append(Place(other, table, migration.id, way_back))
        return tuple(places)
