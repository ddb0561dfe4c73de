"""The alias row: it is all that readers follow, and only a compare-and-set on version and claim moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from embedshift.catalog.actor import shown, whoami
from embedshift.catalog.claim import Claim, check_claim
from embedshift.catalog.lease import Lease
from embedshift.catalog.table_use import leave_table, renew_table, use_table
from embedshift.catalog.tables import ALIAS, ALIAS_HISTORY, WHOLE_ALIAS
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import RefusedError, SchemaError, StateError
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us


@dataclass(frozen=True, slots=True)
class Alias:
    """Where an alias points now, and where it pointed before."""

    name: str
    target: VectorTable
    version: int
    migration: str
    previous: VectorTable | None
    moved_us: int
    moved_by: str


def find_alias(store: Store, name: str) -> Alias | None:
    """The alias row; None if there is none yet, or no catalog."""
    try:
        row = store.records.get(ALIAS, {"alias": name})
    except SchemaError:
        if store.records.has(ALIAS):
            raise
        return None
    if row is None:
        return None
    previous = VectorTable.from_json(row["previous"]) if row["previous"] else None
    return Alias(
        name,
        VectorTable.from_json(row["target"]),
        row["version"],
        row["migration"],
        previous,
        row["moved_us"],
        row["moved_by"],
    )


def get_alias(store: Store, name: str) -> Alias:
    """The alias row. Raises StateError if there is none."""
    alias = find_alias(store, name)
    if alias is None:
        raise StateError(f"there is no alias {name}", hint="run embedshift import or embedshift prepare first")
    return alias


def aliases_of(store: Store, table: str) -> list[str]:
    """The aliases that point to a table now. Each row is read serially, so that no move is missed."""
    names = [row["alias"] for row in store.records.select(ALIAS, {})]
    return [name for name in names if get_alias(store, name).target.table == table]


def create_alias(store: Store, name: str, target: VectorTable) -> Alias:
    """Point a new alias at a table that exists; if the alias exists, return it unchanged."""
    row = _row(name, target, version=1, migration="", previous=None)
    if find_alias(store, name) is None:
        renew_table(store, target.table)
        use_table(store, target.table, name)
    if store.records.insert(ALIAS, row):
        _remember(store, row, reason="created")
    return get_alias(store, name)


def check_unmoved(store: Store, seen: Alias) -> None:
    """Raises RefusedError if somebody else has moved the alias since it was seen. A serial read."""
    now = get_alias(store, seen.name)
    if now.version != seen.version:
        raise RefusedError(
            f"{shown(now.moved_by)} has moved the alias {seen.name} to {now.target.table} (version {now.version})",
            hint="look at embedshift status and decide again",
        )


def move_alias(
    store: Store, lease: Lease | None, claim: Claim, target: VectorTable, *, migration: str, reason: str
) -> Alias:
    """Move the alias to a new target, under a claim: table and model in one write.

    Args:
        store: has the catalog.
        lease: of the migration that moves it, confirmed after the claim was made; None if no migration does.
        claim: made before the last look at whatever the decision to move was based on.
        target: where it will point.
        migration: its id, for the record.
        reason: for the record.

    Raises:
        OwnedByAnother: this run has lost its lease; nothing is changed.
        RefusedError: somebody else has claimed or moved it since, or the target is being dropped; nothing is changed.
    """
    if lease is not None:
        lease.confirm()
    seen = get_alias(store, claim.alias)
    _check_still_claimed(store, claim, seen)
    use_table(store, target.table, seen.name)
    row = _row(seen.name, target, version=claim.version + 1, migration=migration, previous=seen.target)
    changes = {key: value for key, value in row.items() if key != "alias"}
    if not store.records.update_if(WHOLE_ALIAS, {"alias": seen.name}, changes, claim.expected):
        # What was said of the target's use stays: whoever wants to drop that table finds out that it is not true.
        _check_still_claimed(store, claim, seen)
        raise RefusedError(f"the alias {seen.name} could not be moved", hint="look at embedshift status")
    if seen.target.table != target.table:
        leave_table(store, seen.target.table, seen.name)
    _remember(store, row, reason=reason)
    return get_alias(store, seen.name)


def _check_still_claimed(store: Store, claim: Claim, seen: Alias) -> None:
    check_unmoved(store, replace(seen, version=claim.version))
    check_claim(store, claim)


def history(store: Store, name: str) -> list[Record]:
    """Every move of the alias, oldest first."""
    return list(store.records.select(ALIAS_HISTORY, {"alias": name}))


def _row(name: str, target: VectorTable, *, version: int, migration: str, previous: VectorTable | None) -> Record:
    return {
        "alias": name,
        "target": target.to_json(),
        "version": version,
        "migration": migration,
        "previous": previous.to_json() if previous else "",
        "moved_us": now_us(),
        "moved_by": whoami(),
    }


def _remember(store: Store, row: Record, *, reason: str) -> None:
    kept = {key: row[key] for key in ("alias", "version", "target", "migration", "moved_us", "moved_by")}
    store.records.insert(ALIAS_HISTORY, {**kept, "reason": reason})
