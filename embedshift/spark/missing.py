"""What a row, or a cell, that one of two tables has and the other lacks means: it is new, or was deleted there."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.spark.compare_vectors import greatest
from embedshift.spark.known import Known
from embedshift.spark.rows import Layout
from embedshift.stores.model import write_time


class Missing:
    """Decides for n rows at once. Rows have keys and write times as the comparison reads them.

    Args:
        layout: which columns are carried.
        orphans_before_us: what was written at this time or later was deleted only if ``known`` knows it.
        clock_skew_us: how far the clocks of writers may be apart.
        known: what is known of rows that one table has and the other lacks; None: nothing.
        made_late: whether vectors of the target have the time at which they were written, not that of their text.
        into_live: whether the target is live. Of a row without values no time is known: it stays there.
    """

    def __init__(
        self,
        layout: Layout,
        orphans_before_us: int,
        clock_skew_us: int,
        known: Known | None,
        *,
        made_late: bool = False,
        into_live: bool = False,
    ) -> None:
        self._into_live = into_live
        self._layout, self._known, self._made_late = layout, known, made_late
        self._orphans_before_us, self._clock_skew_us = orphans_before_us, clock_skew_us

    def gone(self, left: pa.RecordBatch, lost_before_us: int | None = None) -> pa.Array:
        """Which rows of the source that the target lacks were deleted there, while it was live; n booleans.

        ``lost_before_us``: what is older than this was there once (``own_times.OwnTimes``).
        """
        newest = self._newest(left)
        young = pc.fill_null(pc.greater_equal(newest, self._orphans_before_us), False)
        known = self._known_deleted(self._layout.source.table, left, newest, young)
        if lost_before_us is None:
            return known
        # Nor would a row without values, of unknown age, stay below its deletion there.
        old = pc.fill_null(pc.less(newest, lost_before_us), True)
        waiting = self._known.never_arrived if self._known is not None else frozenset()
        return pc.or_(known, pc.and_not(old, self._named(left, waiting)))

    def deletable(self, right: pa.RecordBatch) -> pa.Array:
        """Which rows of the target may be deleted if the source lacks them; n booleans."""
        newest = self._newest(right)
        # Vector and digest count only where there is nothing else: who refreshes them writes no article.
        newest = pc.coalesce(newest, greatest(self._times(right), right.num_rows))
        old = pc.fill_null(pc.less(newest, self._orphans_before_us), not self._into_live)
        young = pc.and_not(pc.is_valid(newest), old)
        return pc.or_(old, self._known_deleted(self._layout.target.table, right, newest, young))

    def deletable_cells(self, right: pa.RecordBatch, times: pa.Array, young: pa.Array) -> pa.Array:
        """Which of the young cells of the target, of one column, were deleted in the source; n booleans."""
        return self._known_deleted(self._layout.target.table, right, times, young)

    def spared(self, rows: pa.RecordBatch) -> pa.Array:
        """Which rows may be the only copy of what the other table could not be given; n booleans."""
        return self._named(rows, self._known.only_copies if self._known is not None else frozenset())

    def _named(self, rows: pa.RecordBatch, names: frozenset[str]) -> pa.Array:
        """Which rows have one of these names; nearly always there are none."""
        found = [name in names for name in self._layout.names(rows)] if names else np.zeros(rows.num_rows, np.bool_)
        return pa.array(found, pa.bool_())

    def deleted_by_clients(self, right: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.Array]:
        """What a client deleted in the source and could not delete here, of rows that have newer cells since.

        Returns:
            These rows, and when they were deleted, in microseconds.
        """
        if not right.num_rows or self._known is None or not self._known.deletions:
            return right.slice(0, 0), pa.array([], pa.int64())
        at = pa.array([self._known.deletions.get(name) for name in self._layout.names(right)], pa.int64())
        oldest = pc.min_element_wise(*self._times(right), skip_nulls=True)
        late = pc.fill_null(pc.less_equal(oldest, at), False)
        return right.filter(late), at.filter(late)

    def deletion_times(self, orphans: pa.RecordBatch, looked_us: int) -> pa.Array:
        """The time with which to delete each row of the target: that of its newest cell.

        A marker-only row has no cells, and no scan can tell its write time. It is deleted as of just before the source
        was seen to lack it, at ``looked_us``: what is inserted later, or by a clock within the skew, stays.
        """
        of_marker = looked_us - self._clock_skew_us
        newest = greatest(self._times(orphans), orphans.num_rows)
        if self._made_late:
            newest = pc.coalesce(self._newest(orphans), newest)
        return pc.fill_null(newest, of_marker)

    def _newest(self, rows: pa.RecordBatch) -> pa.Array:
        """When the newest carried cell of each row was written."""
        return greatest([rows.column(write_time(column.name)) for column in self._layout.carried], rows.num_rows)

    def _times(self, rows: pa.RecordBatch) -> list[pa.Array]:
        names = [write_time(column.name) for column in (*self._layout.carried, *self._layout.made)]
        return [rows.column(name) for name in names if name in rows.schema.names]

    def _known_deleted(self, table: str, rows: pa.RecordBatch, times: pa.Array, young: pa.Array) -> pa.Array:
        """Which of the young rows or cells of a table, missing in the other one, are known to have been deleted there.

        Args:
            table: which has them.
            rows: their primary keys.
            times: when they were written.
            young: which of them are asked for.
        """
        places = np.flatnonzero(young.to_numpy(zero_copy_only=False))
        found = np.zeros(rows.num_rows, np.bool_)
        if len(places) and self._known is not None:
            chosen = pa.array(places)
            names, written = self._layout.names(rows.take(chosen)), times.take(chosen).to_pylist()
            found[places] = self._known.deleted(table, names, written)
        return pa.array(found)
