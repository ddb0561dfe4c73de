"""Where articles are now: the live table of the alias, and the other table of each running migration.

The routing is cached for a configured time. If a write ends after the routing has expired, the routing is looked up
again, and the write is repeated if the alias has moved. So every write reaches the new table, or happens before the
last sync of the cutover.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from embedshift.catalog.alias import get_alias
from embedshift.catalog.migration import migrations
from embedshift.catalog.states import ENDED
from embedshift.catalog.vector_table import VectorTable, reached
from embedshift.embedding.digest import DIGEST
from embedshift.errors import EmbedshiftError, SchemaError, StateError
from embedshift.settings import Settings
from embedshift.stores.contract import Store
from embedshift.stores.model import Column, Table

_LOG = logging.getLogger(__name__)
#: How often one call may look up the routing and be repeated; an alias does not move more often than that.
_TRIES = 4

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LiveTable:
    """A table that holds the articles, as described by the catalog and by the store.

    ``id`` tells the table from one that is created anew under its name. ``migration`` is the running migration whose
    other table this is, empty for the live table. ``way_back`` says that the live table is that migration's target, so
    that this table is kept for a rollback.
    """

    vector_table: VectorTable
    table: Table
    id: str
    migration: str = ""
    way_back: bool = False

    @classmethod
    def of(cls, store: Store, vector_table: VectorTable, migration: str = "", *, way_back: bool = False) -> LiveTable:
        """The table as its store describes it now. Raises SchemaError if it does not exist."""
        name = vector_table.table
        return cls(vector_table, store.describe(name), store.table_id(name), migration, way_back)

    @property
    def made(self) -> tuple[Column, ...]:
        """The columns of the vector and, if there is one, of its digest."""
        names = [self.vector_table.vector, *([DIGEST] if self.vector_table.digests else [])]
        return tuple(column for column in map(self.table.column, names) if column is not None)

    @property
    def identity(self) -> tuple[str, str]:
        """Name and id."""
        return self.vector_table.table, self.id


@dataclass(frozen=True, slots=True)
class Routing:
    """The live table, the other tables, and when they were looked up (seconds of the monotonic clock)."""

    live: LiveTable
    others: tuple[LiveTable, ...]
    seen_s: float

    def same(self, other: Routing) -> bool:
        """Whether both name the same tables, with the same columns."""
        return (self.live, self.others) == (other.live, other.others)

    def reaches(self, other: Routing) -> bool:
        """Whether a write by this routing has reached every table of the other routing."""
        mine = {live_table.identity for live_table in self.others}
        live, theirs = self.live, other.live
        same = live.vector_table == theirs.vector_table and live.id == theirs.id
        return same and all(live_table.identity in mine for live_table in other.others)


class AliasCache:
    """Follows the alias. Threads may share it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._alias, self._settings = settings.alias, settings
        self._cache_s = settings.articles_cache.total_seconds()
        self._routing: Routing | None = None
        self._lock = Lock()

    def now(self) -> Routing:
        """The routing, not older than the cache allows.

        Raises:
            StateError: there is no such alias.
            SchemaError: the alias points to a table that does not exist.
        """
        routing = self._routing
        if routing is not None and self._fresh(routing):
            return routing
        with self._lock:
            if self._routing is not None and self._fresh(self._routing):
                return self._routing
            self._routing = self._look()
            return self._routing

    def seen(self) -> Routing | None:
        """The last routing, however old, without asking the store; None before the first lookup."""
        return self._routing

    def refresh(self) -> Routing:
        """The routing as it is now, whatever is in the cache."""
        routing = self._look()
        with self._lock:
            if self._routing is None or self._routing.seen_s < routing.seen_s:
                self._routing = routing
        return routing

    def reading(self, operation: Callable[[Routing], Result]) -> Result:
        """Read by the routing; if that fails and the routing has changed, read once more by the new one."""
        routing = self.now()
        try:
            return operation(routing)
        except EmbedshiftError:
            fresh = self.refresh()
            if fresh.same(routing):
                raise
            return operation(fresh)

    def writing(
        self, operation: Callable[[Routing], Result], doubtful: Callable[[Result], bool] = lambda result: False
    ) -> Result:
        """Write by the routing; repeat the write if it failed or the routing expired, and the tables have changed.

        Args:
            operation: writes with times of its own, so that it may be repeated.
            doubtful: whether a result has failures that an outdated routing may have caused.
        """
        routing = self.now()
        for _ in range(_TRIES):
            try:
                result = operation(routing)
            except EmbedshiftError:
                fresh = self.refresh()
                if fresh.same(routing):
                    raise
            else:
                doubted = doubtful(result)
                if self._fresh(routing) and not doubted:
                    return result
                fresh = self.refresh()
                if fresh.same(routing) if doubted else routing.reaches(fresh):
                    return result
            _LOG.info("the alias %s now points to %s: writing again", self._alias, fresh.live.vector_table.table)
            routing = fresh
        raise StateError(f"the alias {self._alias} moved {_TRIES} times during one call", hint="try again")

    def _fresh(self, routing: Routing) -> bool:
        return time.monotonic() - routing.seen_s <= self._cache_s

    def _look(self) -> Routing:
        seen_s = time.monotonic()
        vector_table = get_alias(self._store, self._alias).target
        if not self._store.exists(vector_table.table):
            raise SchemaError(
                f"the alias {self._alias} points to {vector_table.table}, which does not exist",
                hint="look at embedshift status; restore the table, or run embedshift articles drop",
            )
        return Routing(
            LiveTable.of(self._store, reached(vector_table, self._settings)),
            self._others(vector_table),
            seen_s,
        )

    def _others(self, live: VectorTable) -> tuple[LiveTable, ...]:
        live_tables = []
        for migration in migrations(self._store, self._alias):
            if migration.state in ("preparing", "aborting", "retiring", *ENDED):
                continue
            pair = migration.source, migration.target
            if live.table not in [each.table for each in pair]:
                continue
            way_back = migration.target.table == live.table
            other = migration.source if way_back else migration.target
            try:
                at = reached(other, self._settings)
                live_tables.append(LiveTable.of(self._store, at, migration.id, way_back=way_back))
            except SchemaError:
                continue  # dropped by hand, or by a retire that is running
        return tuple(live_tables)
