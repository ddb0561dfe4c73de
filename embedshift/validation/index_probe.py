"""Whether an index finds vectors that are known to be in its table."""

from __future__ import annotations

import threading
import time

import numpy as np
import pyarrow as pa

from embedshift.errors import CheckFailed
from embedshift.stores.contract import Store
from embedshift.stores.model import Hit, Index, Table
from embedshift.tokens import WHOLE_RING

#: Parts of the ring of which one row each is asked for.
PARTS = 16
#: A vector must be among so many nearest to itself. An index is approximate, and searches more widely for more of them:
#: one that is found by any of these is in it.
NEAREST = (10, 100, 1000)
#: The share of known vectors that searches may miss. A graph that several writers build at once can leave a node that
#: nothing leads to; Cassandra's index misses one now and then. Recall measures how many; this asks for an answer.
_STRAY_SHARE = 0.125
#: Seconds that an index may lag behind its table, and between two looks.
_LAG_S_MAX, _LOOK_S = 60.0, 1.0


def missing_from_index(store: Store, index: Index) -> int:
    """Ask for one known vector of each part of the ring. Returns how many were not found; 0 where it is a stray few."""
    table = store.describe(index.table)
    samples = _samples(store, table, index.column)
    lost = sum(_is_lost(store, table, index, rows) for rows in samples)
    return lost if lost > round(_STRAY_SHARE * len(samples)) else 0


def check_known(store: Store, index: Index) -> None:
    """Raises CheckFailed where a known vector is not found within a minute: an index may lag behind its table."""
    deadline = time.monotonic() + _LAG_S_MAX
    while (lost := missing_from_index(store, index)) and time.monotonic() < deadline:
        threading.Event().wait(_LOOK_S)
    if lost:
        raise CheckFailed(
            f"{index.table} does not find {lost} known articles",
            hint="run embedshift cutover again to look again, or rollback to go back",
        )


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
    vector = np.array(rows.column(index.column)[0].as_py(), np.float32)
    for nearest in NEAREST:
        hits = store.search(table, index, vector, nearest)
        if any(_same(hit, rows, table) for hit in hits) or _twins(hits, nearest):
            return False
        if len(hits) < nearest:
            break
    return True


def _same(hit: Hit, rows: pa.RecordBatch, table: Table) -> bool:
    return all(hit.values[key.name] == rows.column(key.name)[0].as_py() for key in table.keys)


def _twins(hits: list[Hit], nearest: int) -> bool:
    """Whether the results are all at one distance: rows of one text crowd each other out."""
    return len(hits) == nearest and abs(hits[0].score - hits[-1].score) < 1e-6
