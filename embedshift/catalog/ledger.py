"""What was written to both tables of a migration: primary key and write time of rows that are younger than a pass.

A row that is in one table and missing in the other is either new in the one, or deleted in the other. For a row of
long ago the switch decides. For one that was written since, or just before it, the ledger does: at this write time the
row was in both tables, so it was deleted where it is missing. Without an entry it is somebody's new article.

An entry is written before the row itself. That it was written to a table shows once the row is seen there, at that
very write time: at once if it is read back, and else by whoever finds it there.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embedshift.catalog.tables import LEDGER
from embedshift.stores.contract import Store
from embedshift.stores.records import Record

HOUR_US = 3_600_000_000
#: Partitions of the rows of one hour.
_SPREAD = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A row, by its primary key as JSON, and the write time of its newest cell in microseconds."""

    id: str
    written_us: int


def enter(store: Store, migration: str, table: str, entries: Iterable[Entry]) -> None:
    """Say that rows are about to be written to a table, from the other one."""
    _put(store, [{**_key(migration, each), "into": table} for each in entries])


def confirm(store: Store, migration: str, entries: Iterable[Entry]) -> None:
    """Say that these rows were seen in both tables, at these write times."""
    _put(store, [{**_key(migration, each), "arrived": True} for each in entries])


def known_in_both(store: Store, migration: str, table: str, entries: Sequence[Entry]) -> list[bool]:
    """For each row that is in a table and missing in the other one, whether it was in both, and so was deleted there.

    Args:
        store: has the catalog.
        migration: its id.
        table: where these rows are now.
        entries: the rows.
    """
    wanted: dict[int, set[str]] = defaultdict(set)
    for each in entries:
        wanted[_slot(each)].add(each.id)
    known = set()
    for slot, ids in wanted.items():
        for id_ in ids:
            for row in store.records.select(LEDGER, {"migration": migration, "slot": slot, "id": id_}):
                # It was written here, and here it is; or it was written there, and was seen there.
                if row["into"] == table or row["arrived"]:
                    known.add((id_, row["written_us"]))
    return [(each.id, each.written_us) in known for each in entries]


def forget_hours(store: Store, migration: str, since_us: int, until_us: int) -> None:
    """Forget the rows of the whole hours within a span of write times."""
    hours = range(since_us // HOUR_US, until_us // HOUR_US)
    slots = [hour * _SPREAD + part for hour in hours for part in range(_SPREAD)]
    if slots:
        store.records.delete(LEDGER, *({"migration": migration, "slot": slot} for slot in slots))


def forget_ledger(store: Store, migration: str) -> None:
    """Forget every row of a migration."""
    slots = {row["slot"] for row in store.records.select(LEDGER, {}) if row["migration"] == migration}
    if slots:
        store.records.delete(LEDGER, *({"migration": migration, "slot": slot} for slot in slots))


def forget_row(store: Store, migration: str, id_: str) -> int:
    """Forget one row, at whatever times it was written. Reads the whole ledger. Returns how many entries it had."""
    if not store.records.has(LEDGER):
        return 0
    rows = [row for row in store.records.select(LEDGER, {}) if (row["migration"], row["id"]) == (migration, id_)]
    store.records.delete(LEDGER, *({name: row[name] for name in LEDGER.keys} for row in rows))
    return len(rows)


def _put(store: Store, rows: list[Record]) -> None:
    if rows:
        store.records.put(LEDGER, rows)


def _key(migration: str, entry: Entry) -> Record:
    return {"migration": migration, "slot": _slot(entry), "id": entry.id, "written_us": entry.written_us}


def _slot(entry: Entry) -> int:
    """The partition of an entry: whoever knows row and write time finds it, and an hour is forgotten at once."""
    return entry.written_us // HOUR_US * _SPREAD + zlib.crc32(entry.id.encode()) % _SPREAD
