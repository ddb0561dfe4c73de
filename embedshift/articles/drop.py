"""Drop an alias: its table, its index, and everything that the catalog has of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from embedshift.catalog.alias import Alias, check_unmoved, get_alias, history
from embedshift.catalog.claim import Claim, check_claim, claim_alias
from embedshift.catalog.guard import drop_table
from embedshift.catalog.migration import Migration, forget_work, is_owned, migrations, read_migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.states import STATES, label
from embedshift.catalog.table_use import leave_table
from embedshift.catalog.tables import ALIAS, ALIAS_HISTORY, CLAIM, FEED, MIGRATION
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import RefusedError
from embedshift.settings import Settings
from embedshift.stores.contract import Store


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped: tables, and the migrations whose records were removed with them."""

    alias: str
    tables: tuple[str, ...]
    migrations: tuple[str, ...]


def drop(settings: Settings, store: Store, confirm: Callable[[str], str] | None) -> Dropped:
    """Drop the alias's table and catalog rows. If it fails and is run again, it continues.

    Args:
        confirm: asks for the live table's name and returns what was typed; None if no confirmation is needed.

    Raises:
        StateError: there is no such alias.
        RefusedError: a migration is running, another alias names the table, or its name was not typed.
    """
    alias = get_alias(store, settings.alias)
    live = alias.target
    # The catalog of an older version may lack tables that are read here.
    ensure_catalog(store)
    known = migrations(store, settings.alias)
    running = next((each for each in known if not STATES[each.state].at_rest), None)
    if running is not None:
        raise RefusedError(
            f"{live.table} was not dropped: migration {running.id} is {label(running.state)}",
            hint="end it first: embedshift retire, rollback or abort",
        )
    vector_tables = _vector_tables(live, known)
    check_other_aliases(store, settings.alias, vector_tables)
    if confirm is not None and confirm(live.table) != live.table:
        raise RefusedError(f"{live.table} was not dropped: its name was not typed", hint="type it, or add --yes")
    # From now on no run that had claimed the alias can move it.
    claim = claim_alias(store, settings.alias, "")
    gone = []
    for vector_table in vector_tables:
        if store.exists(vector_table.table):
            still = partial(
                _confirm, store, alias, claim, known, (vector_table.table, store.table_id(vector_table.table))
            )
            still()
            drop_table(store, None, vector_table.table, of=settings.alias, still=still)
            gone.append(vector_table.table)
        else:
            leave_table(store, vector_table.table, settings.alias)
    for migration in known:
        forget_work(store, migration.id)
        store.records.delete_if(MIGRATION, {"id": migration.id}, {})
    # The alias goes last: as long as it exists, the rest can be found again.
    store.records.delete(FEED, {"alias": settings.alias})
    for move in history(store, settings.alias):
        store.records.delete_if(ALIAS_HISTORY, {"alias": settings.alias, "version": move["version"]}, {})
    if not store.records.delete_if(CLAIM, {"alias": settings.alias}, claim.expected):
        check_claim(store, claim)
    return Dropped(settings.alias, tuple(gone), tuple(each.id for each in known))


def _confirm(store: Store, alias: Alias, claim: Claim, known: list[Migration], table: tuple[str, str]) -> None:
    """The last check before a table is dropped: everything is as it was when it was decided.

    Nobody has claimed or moved the alias since, no run works on a migration of it, and the table, by name and id, is
    not another one that was created since.
    """
    check_unmoved(store, alias)
    check_claim(store, claim)
    name, identity = table
    if store.table_id(name) != identity:
        raise RefusedError(f"{name} was created anew meanwhile", hint="look at embedshift status and decide again")
    for seen in known:
        now = read_migration(store, seen.id)
        if not STATES[now.state].at_rest or is_owned(now):
            raise RefusedError(
                f"{alias.target.table} was not dropped: migration {now.id} is {label(now.state)}",
                hint="look at embedshift status and decide again",
            )


def _vector_tables(live: VectorTable, known: list[Migration]) -> list[VectorTable]:
    """The live table, and the targets of migrations that were rolled back, to which nothing else refers."""
    left = [each.target for each in known if each.state == "rolled_back"]
    return [live, *{each.table: each for each in left if each.table != live.table}.values()]


def check_other_aliases(store: Store, alias: str, vector_tables: list[VectorTable]) -> None:
    """Raises RefusedError if another alias points to one of the tables."""
    tables = {vector_table.table for vector_table in vector_tables}
    for row in store.records.select(ALIAS, {}):
        if row["alias"] != alias and VectorTable.from_json(row["target"]).table in tables:
            table = VectorTable.from_json(row["target"]).table
            raise RefusedError(f"{table} is live: the alias {row['alias']} names it too", hint="drop that alias first")
