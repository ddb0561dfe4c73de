"""Check that an index finds vectors that are known to be in its table."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import CheckFailed
from embedshift.stores.contract import Store
from embedshift.stores.model import Hit, Index, Table
from embedshift.times import now_us
from embedshift.tokens import WHOLE_RING

#: The ring is cut into this many parts, and one row of each is searched for.
PARTS = 16
#: A vector must be among this many nearest to itself. An index is approximate, and searches more widely if it is asked
#: for more: a vector that is found by any of these searches is in the index.
NEAREST = (10, 100, 1000)
#: The share of vectors that searches of a usable index may miss. If several writers build a graph at once, no edge may
#: lead to some nodes: Cassandra's index misses one or another of a table that was written row by row.
_STRAY_SHARE = 0.125
#: The share that an index must find to count as one that answers. Recall measures how many are missed; a few that the
#: old index has always missed must not stand in the way of a rollback.
_ANSWERED_SHARE = 0.5
#: Scores that differ by less are those of one vector: databases compute them in float32.
_ALIKE = 1e-4
#: How many seconds an index may lag behind its table, and the seconds between two checks.
_LAG_S_MAX, _LOOK_S = 60.0, 1.0


def missing_from_index(store: Store, index: Index) -> int:
    """Search for one vector of each part of the ring. Returns how many were missed; 0 if that is within tolerance."""
    lost, of = _lost_samples(store, index)
    return lost if lost > round(_STRAY_SHARE * of) else 0


def check_index_answers(store: Store, index: Index) -> None:
    """Search for one vector of each part of the ring. An index may lag behind its table for a minute.

    Raises:
        CheckFailed: it does not find half of them then.
    """
    deadline = time.monotonic() + _LAG_S_MAX
    while True:
        lost, of = _lost_samples(store, index)
        if of - lost >= _ANSWERED_SHARE * of:
            return
        if time.monotonic() > deadline:
            break
        threading.Event().wait(_LOOK_S)
    raise CheckFailed(
        f"the index {index.name} of {index.table} does not find {lost} of {of} articles that are in it",
        hint="run embedshift cutover to check again; embedshift rollback, if the alias has moved already",
    )


def lost_rows(store: Store, index: Index, rows: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Which rows the index does not find by their own vectors, within a minute, one batch each.

    A row that it finds behind others which are less alike is one of which it has another vector.

    Args:
        rows: primary keys and vectors.
    """
    table = store.describe(index.table)
    left = [batch.slice(row, 1) for batch in rows for row in range(batch.num_rows)]
    deadline = time.monotonic() + _LAG_S_MAX
    while True:
        left = [row for row in left if _is_lost(store, table, index, row) or _is_misplaced(store, table, index, row)]
        if not left or time.monotonic() > deadline:
            return left
        threading.Event().wait(_LOOK_S)


def settled_rows(store: Store, index: Index, began_us: int, wanted: int) -> tuple[int, int]:
    """Ask a log-fed index that has too many rows again, until all from before ``began_us`` must have reached it.

    Args:
        began_us: when the count of the table began.
        wanted: what it came to.

    Returns:
        How many rows the index has, and by how many both counts may differ: rows that changed since then.
    """
    while (rows := store.index_state(index).rows or 0) > wanted and now_us() < began_us + _LAG_S_MAX * 1e6:
        threading.Event().wait(_LOOK_S)
    return rows, _changed(store, index.table, began_us, enough=abs(rows - wanted))


def _changed(store: Store, table: str, since_us: int, *, enough: int) -> int:
    """How many rows the change log names since then, read no further than to ``enough``; 0 if there is no log."""
    described = store.describe(table)
    if not store.keeps_changes(described):
        return 0
    names = [key.name for key in described.keys]
    keys: set[tuple[Any, ...]] = set()
    for batch in store.changes(described, WHOLE_RING, since_us, now_us()):
        if len(keys) >= enough:
            break
        keys |= set(zip(*(batch.column(name).to_pylist() for name in names), strict=True))
    return len(keys)


def _lost_samples(store: Store, index: Index) -> tuple[int, int]:
    """How many vectors a search for themselves does not find, and of how many: one of each part of the ring."""
    table = store.describe(index.table)
    samples = _samples(store, table, index.column)
    return sum(_is_lost(store, table, index, rows) for rows in samples), len(samples)


def _samples(store: Store, table: Table, column: str) -> list[pa.RecordBatch]:
    samples = []
    for part in WHOLE_RING.split(PARTS):
        for rows in store.scan(table, part, values=[column], batch_rows=16):
            filled = rows.filter(rows.column(column).is_valid())
            if filled.num_rows:
                samples.append(filled.slice(0, 1))
                break
    return samples


def _is_lost(store: Store, table: Table, index: Index, rows: pa.RecordBatch) -> bool:
    vector = _vector(index, rows)
    for nearest in NEAREST:
        hits = store.search(table, index, vector, nearest, where=_within(index, rows))
        if any(_same(hit, rows, table) for hit in hits) or _twins(hits, nearest):
            return False
        if len(hits) < nearest:
            break
    return True


def _is_misplaced(store: Store, table: Table, index: Index, rows: pa.RecordBatch) -> bool:
    """Whether the index puts a row behind others which are less like its own vector: the order is the index's."""
    if index.options.quantization not in (None, "f32"):
        return False  # others may have the same rounded vector
    hits = store.search(table, index, _vector(index, rows), NEAREST[-1], where=_within(index, rows))
    place = next((at for at, hit in enumerate(hits) if _same(hit, rows, table)), 0)
    return any(hit.score < hits[place].score - _ALIKE for hit in hits[:place])


def _vector(index: Index, rows: pa.RecordBatch) -> NDArray[np.float32]:
    return np.array(rows.column(index.column)[0].as_py(), np.float32)


def _within(index: Index, rows: pa.RecordBatch) -> dict[str, Any]:
    return index.within({name: rows.column(name)[0].as_py() for name in index.partition})


def _same(hit: Hit, rows: pa.RecordBatch, table: Table) -> bool:
    return all(hit.values[key.name] == rows.column(key.name)[0].as_py() for key in table.keys)


def _twins(hits: list[Hit], nearest: int) -> bool:
    """Whether the results are all at one distance: rows with the same text then crowd each other out."""
    return len(hits) == nearest and abs(hits[0].score - hits[-1].score) < 1e-6
