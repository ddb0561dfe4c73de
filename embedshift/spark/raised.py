"""Cells that were copied with a later time than they have in the source, since the target takes none so old."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.spark.known import Known
from embedshift.spark.rows import Layout
from embedshift.stores.contract import Store
from embedshift.stores.merge_join import key_array
from embedshift.stores.model import Column, write_time


@dataclass(frozen=True, slots=True)
class Raised:
    """Finds these cells in a comparison, where they would look newer than the source's.

    Args:
        layout: which columns are carried.
        target: the store that has the target.
        known: knows which cells were raised.
    """

    layout: Layout
    target: Store
    known: Known

    @classmethod
    def in_target(cls, layout: Layout, target: Store, known: Known | None) -> Raised | None:
        """None if the target takes writes of any time."""
        if known is None or target.write_floor(layout.target.table) is None:
            return None
        return cls(layout, target, known)

    def as_raised(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.RecordBatch:
        """The source's rows, such cells with the times that they got in the target.

        Where the source has another value since, whatever its time, that counts as written just after.
        """
        for column in self.layout.carried:
            name = write_time(column.name)
            newer = pc.fill_null(pc.greater(right.column(name), left.column(name)), False)
            if pc.any(newer).as_py():
                times = pc.replace_with_mask(left.column(name), newer, self._times(left, right, newer, column))
                left = left.set_column(left.schema.get_field_index(name), name, times)
        return left

    def _times(self, left: pa.RecordBatch, right: pa.RecordBatch, newer: pa.Array, column: Column) -> pa.Array:
        """For the rows whose cell looks newer in the target: the time of the source's cell there; int64."""
        ours, theirs = left.filter(newer), right.filter(newer)
        own, raised = ours.column(write_time(column.name)), theirs.column(write_time(column.name))
        known = np.array(self.known.raised(self.layout.names(theirs), raised.to_pylist()), np.bool_)
        if not known.any():
            return own
        keys = [key.name for key in self.layout.keys]
        held = self.target.fetch(self.layout.target_table, theirs.select(keys), values=[column.name])
        value = held.column(column.name).take(pc.index_in(key_array(theirs, keys), value_set=key_array(held, keys)))
        differs = pc.fill_null(pc.not_equal(ours.column(column.name), value), True)
        return pc.if_else(pa.array(known), pc.add(raised, pc.cast(differs, pa.int64())), own)
