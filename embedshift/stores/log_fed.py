"""Writes into a table whose vector index learns of them from a change log, as ScyllaDB's does.

Such a store refuses a write from before its log began, and its index reads the log forward by write time: what arrives
later than that is in the table, and never in the index. So what is copied gets the time at which the log began if its
own is older; and vectors are written, and deleted, at the present time, if their row is still as it was seen. A write
of an application in the same moment may still end under ours. Then the digest beside the vector is not that of the
text, and the next pass mends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type
from embedshift.stores.merge_join import key_array
from embedshift.stores.model import Column, Table
from embedshift.times import now_us

#: A write that is older than this may be below the floor, which is five seconds old when an index is created. The
#: index's slower reader follows the log 30 s behind.
LATE_US = 4_000_000


def delete_rows(
    store: Store, table: Table, made: Sequence[Column], keys: pa.RecordBatch, write_times: NDArray[np.int64]
) -> None:
    """Delete rows, each at its own time, and their vectors from the index, whether or not a log feeds it.

    Args:
        made: the columns of the vector and, if there is one, of its digest.
        keys, write_times: as ``Store.delete`` takes them.
    """
    late = bool((np.asarray(write_times) < now_us() - LATE_US).any())
    floor_us = store.write_floor(table.name) if late else None
    if floor_us is None:
        store.delete(table, keys, write_times)
    else:
        LogFed(store, table, tuple(made), floor_us).delete(keys, write_times)


@dataclass(frozen=True, slots=True)
class LogFed:
    """A table whose index a log feeds.

    Args:
        store: has the table.
        table: as described.
        made: the columns of the vector and, if there is one, of its digest.
        floor_us: before which time nothing may be written (``Store.write_floor``).
    """

    store: Store
    table: Table
    made: tuple[Column, ...]
    floor_us: int

    def delete(self, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
        """Delete rows: their vectors at the present time, which the index sees, and the rows at their own times."""
        names = [column.name for column in self.made]
        digests = names[1:]
        found = self.store.fetch(self.table, keys, values=names)
        found = found.filter(pc.is_valid(found.column(names[0])))
        if found.num_rows:
            own = [key.name for key in self.table.keys]
            arrays = [found.column(name) for name in own]
            arrays += [pa.nulls(found.num_rows, arrow_type(column.type)) for column in self.made]
            gone = pa.RecordBatch.from_arrays(arrays, [*own, *names])
            self.store.write_if(self.table, gone, found.select([*own, *digests]))
        self.store.delete(self.table, keys, np.maximum(np.asarray(write_times, np.int64), self.floor_us))

    def found(
        self, rows: pa.RecordBatch, values: Sequence[str], times: Sequence[str]
    ) -> tuple[pa.RecordBatch, pa.Array]:
        """Which of the rows are there, and their values and write times now, in the order of those that are.

        Returns:
            The rows of the table as a fetch gives them, and the places in ``rows`` to which they belong.
        """
        keys = [key.name for key in self.table.keys]
        now = self.store.fetch(self.table, rows.select(keys), values=values, times=times)
        return now, pc.index_in(key_array(now, keys), value_set=key_array(rows, keys))
