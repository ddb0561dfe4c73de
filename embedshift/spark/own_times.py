"""The own times of cells, where a table has them with later ones (``catalog.raised_cells``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.spark.expiry import expiry
from embedshift.spark.known import Known
from embedshift.spark.rows import Layout
from embedshift.stores.model import write_time


@dataclass(frozen=True, slots=True)
class OwnTimes:
    """Shows rows as they would be if every table took writes of any time.

    Args:
        layout: which columns are carried.
        known: knows the cells that a table has with later times; None: there are none.
        lost_before_us: a cell older than this that the target lacks was deleted there, while it was live. Its own time
            would tell, but the table takes that no more, and above it would undo a newer deletion. None: it takes it.
    """

    layout: Layout
    known: Known | None
    lost_before_us: int | None = None

    @classmethod
    def of_pass(
        cls,
        layout: Layout,
        known: Known | None,
        *,
        floor_us: int | None,
        switched_us: int | None,
        indexed_from_us: int | None,
    ) -> OwnTimes:
        """Those of one pass.

        Args:
            layout: which columns are carried.
            known: of the pass.
            floor_us: before which time the target takes no write; None: it takes all.
            switched_us: what is older was in both tables when the target became live; None if it is not.
            indexed_from_us: before which time the target took no write when its index was built.
        """
        if switched_us is None or floor_us is None or floor_us <= (indexed_from_us or 0):
            return cls(layout, known)
        return cls(layout, known, min(floor_us, switched_us))

    def of(self, rows: pa.RecordBatch, table: str) -> pa.RecordBatch:
        """Rows of a table, each cell with its own time."""
        # Names are Python objects, one a row: nearly every table does without them.
        if self.known is None or not self.known.any_raised(table):
            return rows
        names = self.layout.names(rows)
        own = {(each.id, each.cell, each.at_us): each.own_us for each in self.known.raised(table, names)}
        if not own:
            return rows
        for column in self.layout.carried:
            name = write_time(column.name)
            if name not in rows.schema.names:
                continue
            at = rows.column(name).to_pylist()
            times = [own.get((id_, column.name, time), time) for id_, time in zip(names, at, strict=True)]
            rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(times, pa.int64()))
        return rows

    def without_lost(self, left: pa.RecordBatch, right: pa.RecordBatch | None) -> pa.RecordBatch:
        """Rows of the source, without the cells that were deleted in the target; None: it has none of these rows.

        What is younger than the switch was deleted there if it is known to have been in both tables.
        """
        if self.lost_before_us is None:
            return left
        waiting = self.known.never_arrived if self.known is not None else frozenset()
        arrived = pa.array([name not in waiting for name in self.layout.names(left)]) if waiting else None
        for column in self.layout.carried:
            name = write_time(column.name)
            times = left.column(name)
            missing = times.is_valid() if right is None else pc.and_(times.is_valid(), right.column(name).is_null())
            old = pc.fill_null(pc.less(times, self.lost_before_us), False)
            places = np.flatnonzero(pc.and_not(missing, old).to_numpy(zero_copy_only=False))
            known = np.zeros(left.num_rows, np.bool_)
            if len(places) and self.known is not None:
                young = left.take(pa.array(places))
                written = young.column(name).to_pylist()
                known[places] = self.known.deleted(self.layout.source.table, self.layout.names(young), written)
            lost = pc.and_(missing, pc.or_(old, pa.array(known)))
            lost = lost if arrived is None else pc.and_(lost, arrived)
            for part in (column.name, name, expiry(column.name)):
                kept = pc.if_else(lost, None, left.column(part))
                left = left.set_column(left.schema.get_field_index(part), part, kept)
        return left
