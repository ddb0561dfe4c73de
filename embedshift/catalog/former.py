"""A catalog that embedshift 0.1 has written, before tables, columns and checks got their present names: taken over.

The former columns stay, so that a row which a process of the former version still writes is seen, and taken over too.
"""

from __future__ import annotations

import json
from typing import Any

from embedshift.catalog.actor import is_dead, shown
from embedshift.catalog.tables import CONTROL, MIGRATION, SHADOW, VALIDATION
from embedshift.errors import StateError
from embedshift.stores.contract import Store
from embedshift.stores.records import Record, declared
from embedshift.times import now_us

#: The tables as they were, as far as something in them has another name now.
_MIGRATION = declared(
    "migration",
    "id text, source_endpoint text, target_endpoint text, result_keys text, owner text, lease_until_us bigint",
    partition="id",
)
_SHADOW = declared(
    "shadow", "migration text, run text, tally text, stats text", partition="migration", clustering="run"
)
#: What checks, counts and timings of a validation were called, and are called now.
_CHECKS = {"apart": "mixed", "outdated": "older_cells", "agreement": "reembedding_differs"}
_RECORD = {"weaker": "unlabelled", "endpoints": "tables"}
_INDEX = "target.index."


def is_former(store: Store) -> bool:
    """Whether the catalog has the former layout, and was not taken over yet."""
    columns = store.records.columns(MIGRATION)
    return bool(columns) and not set(MIGRATION.columns) <= columns


def has_former_columns(store: Store) -> bool:
    """Whether the catalog was made by the former version, taken over or not."""
    return "source_endpoint" in store.records.columns(MIGRATION)


def take_over(store: Store) -> None:
    """Give a former catalog the present names. Run again, or by two processes at once, it ends in the same state.

    Raises:
        StateError: a run of the former version is at work; nothing is changed.
    """
    if not has_former_columns(store):
        return
    former = list(store.records.select(_MIGRATION, {}))
    known: set[str] = set()
    if not is_former(store):
        known = {row["id"] for row in store.records.select(MIGRATION, {}) if row["source_vector_table"] is not None}
    # A row without its former columns was written by this version. Who owns what is taken over already is no matter.
    left = [row for row in former if row["id"] not in known and row["source_endpoint"] is not None]
    _check_at_rest(left)
    store.records.add_columns(MIGRATION)
    store.records.add_columns(SHADOW)
    for row in former:
        _take_over_shadow(store, row["id"])
    for row in left:
        _take_over_migration(store, row)


def _check_at_rest(rows: list[Record]) -> None:
    for row in rows:
        owner, until_us = row["owner"] or "", row["lease_until_us"] or 0
        if owner and until_us > now_us() and not is_dead(owner):
            raise StateError(
                f"migration {row['id']} is owned by {shown(owner)}, maybe a run of a former version of embedshift",
                hint="wait until it has ended, then run the same command again",
            )


def _take_over_shadow(store: Store, migration: str) -> None:
    """Copy the figures of shadow reading; an application of the former version may still write them."""
    for shadow in list(store.records.select(_SHADOW, {"migration": migration})):
        if shadow["tally"] not in (None, shadow["stats"]):
            key = {"migration": migration, "run": shadow["run"]}
            store.records.put(SHADOW, [{**key, "stats": shadow["tally"], "updated_us": now_us()}])


def _take_over_migration(store: Store, row: Record) -> None:
    migration = row["id"]
    for record in list(store.records.select(VALIDATION, {"migration": migration})):
        report = json.dumps(_renamed(json.loads(record["report"])))
        store.records.put(VALIDATION, [{**record, "report": report}])
    for signal in list(store.records.select(CONTROL, {"migration": migration})):
        if signal["name"].startswith("order/"):
            store.records.delete(CONTROL, {"migration": migration, "name": signal["name"]})
    # The migration's row last: as long as it is not done, all of this is done again.
    changes = {
        "source_vector_table": row["source_endpoint"],
        "target_vector_table": row["target_endpoint"],
        "result_keys": _result_keys(row),
    }
    # A run of the former version that has begun meanwhile keeps its row, which the next command takes over.
    expected = {"source_vector_table": None, "owner": row["owner"]}
    store.records.update_if(MIGRATION, {"id": migration}, changes, expected)


def _result_keys(row: Record) -> str:
    """The settings that decide the result: an index option that was left to its default is null now."""
    keys: dict[str, str] = json.loads(row["result_keys"])
    given = json.loads(row["target_endpoint"])["index_options"]
    unset = {key for key in keys if key.startswith(_INDEX) and key.removeprefix(_INDEX) not in ("metric", *given)}
    return json.dumps({key: "null" if key in unset else value for key, value in keys.items()})


def _renamed(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a validation under the present names."""
    tree = {_RECORD.get(key, key): value for key, value in record.items()}
    for check in tree.get("checks") or []:
        check["name"] = _CHECKS.get(check["name"], check["name"])
    for part in ("counts", "examples", "timings"):
        if isinstance(tree.get(part), dict):
            tree[part] = {_CHECKS.get(key, key): value for key, value in tree[part].items()}
    return tree
