"""Cells that a table has with a later time than their own, since it takes no write so old.

So that nobody takes such a cell for a newer one, it is written down here, before it is written there: the time that it
has in the table, and its own, by which it is compared. A deletion of a row, or of a cell, is written down in the same
way: what is newer than its own time is put above it.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from embedshift.catalog.tables import RAISED_CELL
from embedshift.stores.contract import Store
from embedshift.stores.records import Record

#: In place of a column's name: the deletion of the whole row.
WHOLE_ROW = ""
#: Partitions that the cells of one migration are spread over; and the one that names the tables which have any.
_SPREAD, _TABLES = 16, -1


@dataclass(frozen=True, slots=True)
class RaisedCell:
    """A cell of a row, which the primary key names as JSON: its time in the table, and its own, in microseconds."""

    id: str
    cell: str
    at_us: int
    own_us: int


def enter_raised(store: Store, migration: str, table: str, cells: Iterable[RaisedCell]) -> None:
    """Say that cells are about to be written to a table, or deleted there, with a later time than their own."""
    rows = [
        {
            **_key(migration, each.id),
            "table_name": table,
            "cell": each.cell,
            "at_us": each.at_us,
            "own_us": each.own_us,
        }
        for each in cells
    ]
    if rows:
        mark: Record = {"migration": migration, "slot": _TABLES, "id": "", "table_name": table, "cell": "", "at_us": 0}
        store.records.put(RAISED_CELL, [mark, *rows])


def any_raised(store: Store, migration: str, table: str) -> bool:
    """Whether a table has such cells."""
    marks = store.records.select(RAISED_CELL, {"migration": migration, "slot": _TABLES})
    return any(row["table_name"] == table for row in marks)


def raised_cells(store: Store, migration: str, table: str, ids: Collection[str]) -> list[RaisedCell]:
    """Such cells of some rows of a table."""
    return [
        RaisedCell(row["id"], row["cell"], row["at_us"], row["own_us"])
        for id_ in ids
        for row in store.records.select(RAISED_CELL, _key(migration, id_))
        if row["table_name"] == table
    ]


def forget_raised(store: Store, migration: str) -> None:
    """Forget every cell of a migration."""
    slots = range(_TABLES, _SPREAD)
    if store.records.has(RAISED_CELL):
        store.records.delete(RAISED_CELL, *({"migration": migration, "slot": slot} for slot in slots))


def forget_raised_row(store: Store, migration: str, id_: str) -> int:
    """Forget one row. Returns how many entries it had."""
    if not store.records.has(RAISED_CELL):
        return 0
    rows = list(store.records.select(RAISED_CELL, _key(migration, id_)))
    store.records.delete(RAISED_CELL, *({name: row[name] for name in RAISED_CELL.keys} for row in rows))
    return len(rows)


def _key(migration: str, id_: str) -> Record:
    return {"migration": migration, "slot": zlib.crc32(id_.encode()) % _SPREAD, "id": id_}
