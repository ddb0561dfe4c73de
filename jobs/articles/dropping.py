"""The end of an alias: its table, its index, and everything that the catalog has of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobs.catalog.alias import get_alias
from jobs.catalog.endpoint import Endpoint
from jobs.catalog.migration import Migration, forget_work, migrations
from jobs.catalog.states import ENDED
from jobs.catalog.tables import ALIAS, ALIAS_HISTORY, FEED, MIGRATION, ensure_catalog
from jobs.errors import RefusedError
from jobs.settings import Settings
from jobs.stores.contract import Store

#: States in which no migration runs: its source is gone, or the alias is back and the target was never needed.
_AT_REST = (*ENDED, "rolled_back")


@dataclass(frozen=True, slots=True)
class Dropped:
    """What went: tables, and migrations whose records are gone with them."""

    alias: str
    tables: tuple[str, ...]
    migrations: tuple[str, ...]


def drop(settings: Settings, store: Store, confirm: Callable[[str], str] | None) -> Dropped:
    """Drop the alias's table and catalog rows. Run again after a failure, it goes on.

    Args:
        confirm: asks for the live table's name and returns what was typed; None where the caller has said yes.

    Raises:
        StateError: there is no such alias.
        RefusedError: a migration runs, another alias names the table, or its name was not typed.
    """
    live = get_alias(store, settings.alias).target
    # The catalog of an older version may lack tables that are looked through here.
    ensure_catalog(store)
    known = migrations(store, settings.alias)
    running = next((each for each in known if each.state not in _AT_REST), None)
    if running is not None:
        raise RefusedError(
            f"{live.table} was not dropped: migration {running.id} is {running.state.replace('_', ' ')}",
            hint="end it first: embedshift retire, rollback or abort",
        )
    endpoints = _endpoints(live, known)
    _check_other_aliases(store, settings.alias, endpoints)
    if confirm is not None and confirm(live.table) != live.table:
        raise RefusedError(f"{live.table} was not dropped: its name was not typed", hint="type it, or say --yes")
    gone = []
    for endpoint in endpoints:
        if store.exists(endpoint.table):
            store.drop_index(endpoint.index)
            store.drop(endpoint.table)
            gone.append(endpoint.table)
    for migration in known:
        forget_work(store, migration.id)
        store.records.delete(MIGRATION, {"id": migration.id})
    # The alias last: as long as it is there, the rest can be found again.
    store.records.delete(FEED, {"alias": settings.alias})
    store.records.delete(ALIAS_HISTORY, {"alias": settings.alias})
    store.records.delete(ALIAS, {"alias": settings.alias})
    return Dropped(settings.alias, tuple(gone), tuple(each.id for each in known))


def _endpoints(live: Endpoint, known: list[Migration]) -> list[Endpoint]:
    """The live table, and the targets of migrations that were rolled back: nothing else leads to them."""
    left = [each.target for each in known if each.state == "rolled_back"]
    return [live, *{each.table: each for each in left if each.table != live.table}.values()]


def _check_other_aliases(store: Store, alias: str, endpoints: list[Endpoint]) -> None:
    tables = {endpoint.table for endpoint in endpoints}
    for row in store.records.select(ALIAS, {}):
        if row["alias"] != alias and Endpoint.from_json(row["target"]).table in tables:
            table = Endpoint.from_json(row["target"]).table
            raise RefusedError(f"{table} is live: the alias {row['alias']} names it too", hint="drop that alias first")
