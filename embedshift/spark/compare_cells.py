"""The cells in a comparison of two tables: which are the same, which are copied, and which are deleted."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.spark.rows import Layout
from embedshift.stores.cql_types import is_many_celled
from embedshift.stores.model import Column, write_time

KnownCells = Callable[[pa.RecordBatch, pa.Array, pa.Array], pa.Array]


class Cells:
    """The cells that are carried, in pairs of rows: ``left`` of the source and ``right`` of the target, n rows each.

    Every method returns a boolean array of n values, unless it says otherwise.

    Args:
        layout: which columns are carried.
        orphans_before_us: a cell that was written to the target at this time or later is deleted only if it is known.
        clock_skew_us: how far the clocks of writers may be apart.
        into_live: whether the target is live: if write times do not decide, the target's value stays.
        known: of rows of the target, their write times, and a choice of young ones among them: which of these cells are
            known to have been in both tables.
        spared: of rows of the target, in which of them nothing is deleted.

    Attributes:
        many_celled: the columns whose values are several cells, such as collections.
    """

    def __init__(
        self,
        layout: Layout,
        orphans_before_us: int,
        clock_skew_us: int,
        *,
        into_live: bool,
        known: KnownCells,
        spared: Callable[[pa.RecordBatch], pa.Array],
    ) -> None:
        self._known, self._spared = known, spared
        self._carried = layout.carried
        self.many_celled = [column for column in layout.carried if is_many_celled(column.type)]
        self._orphans_before_us, self._clock_skew_us, self._into_live = orphans_before_us, clock_skew_us, into_live

    def same(self, left: pa.RecordBatch, right: pa.RecordBatch) -> list[pa.Array]:
        """For each thing that is compared, where a quick look shows it to be the same."""
        names = [write_time(column.name) for column in self._carried]
        # Elements of a collection may differ below one write time.
        names += [column.name for column in self.many_celled]
        return [_alike(left.column(name), right.column(name)) for name in names]

    def erasures(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.Array:
        """Where a pair has a cell, or an element of a collection, in the target only."""
        nowhere = pa.array(np.full(left.num_rows, False))
        erased = [self._erasable(left, right, column.name) for column in self._carried]
        apart = [self._apart(left, right, column) for column in self.many_celled]
        return reduce(pc.or_, [*erased, *apart], nowhere)

    def _apart(self, left: pa.RecordBatch, right: pa.RecordBatch, column: Column) -> pa.Array:
        """Where two collections differ but their times do not show it: an element was removed, or expired."""
        if self._into_live:
            return pa.array(np.full(left.num_rows, False))
        name = column.name
        differ = pc.not_equal(left.column(name), right.column(name))
        if column.untimed:
            return pc.fill_null(differ, pc.xor(pc.is_valid(left.column(name)), pc.is_valid(right.column(name))))
        ours, theirs = left.column(write_time(name)), right.column(write_time(name))
        apart = pc.fill_null(pc.and_(differ, pc.less_equal(ours, theirs)), False)
        # A newer value of the target's own stays, unless an element of it is known to have been removed in the source.
        young = pc.and_(apart, pc.fill_null(pc.greater_equal(theirs, self._orphans_before_us), False))
        young = pc.and_(young, pc.fill_null(pc.greater(theirs, ours), False))
        if not pc.any(young).as_py():
            return apart
        return pc.or_(pc.and_not(apart, young), self._known(right, theirs, young))

    def kept(self, left: pa.RecordBatch, right: pa.RecordBatch, name: str) -> pa.Array:
        """Where a cell of the target stays although the source has an older one, or none."""
        ours, theirs = left.column(write_time(name)), right.column(write_time(name))
        alone = pc.and_(pc.is_null(ours), pc.is_valid(theirs))
        alone = pc.and_not(alone, self._erasable(left, right, name))
        return pc.or_(alone, pc.fill_null(pc.greater(theirs, ours), False))

    def copied(
        self, left: pa.RecordBatch, right: pa.RecordBatch, column: Column, looked_us: int | None
    ) -> tuple[pa.Array, pa.Array]:
        """Where a cell is copied; and when it counts as written or, if it is not copied, as deleted; null: neither.

        ``looked_us`` is when ``left`` was read again, when ``right`` was already known; None: it was not.
        """
        ours, theirs = (rows.column(write_time(column.name)) for rows in (left, right))
        taken = pc.and_(pc.fill_null(pc.greater(ours, theirs), True), pc.is_valid(ours))
        erased = self._erasable(left, right, column.name)
        if looked_us is None or column not in self.many_celled:
            return taken, pc.if_else(taken, ours, pc.if_else(erased, theirs, None))
        # Later than what the target has (CQL replaces a collection by deleting what is older than the new elements),
        # and earlier than what comes after the source was read.
        above = pc.max_element_wise(pc.add(theirs, 1), looked_us - self._clock_skew_us, skip_nulls=True)
        apart = self._apart(left, right, column)
        written = pc.and_(pc.or_(taken, apart), pc.is_valid(ours))
        at = pc.if_else(apart, above, ours)
        return written, pc.if_else(written, at, pc.if_else(erased, above, None))

    def _erasable(self, left: pa.RecordBatch, right: pa.RecordBatch, name: str) -> pa.Array:
        ours, theirs = left.column(write_time(name)), right.column(write_time(name))
        gone = pc.and_(pc.is_null(ours), pc.is_valid(theirs))
        if pc.any(gone).as_py():
            gone = pc.and_not(gone, self._spared(right))
        young = pc.and_(gone, pc.fill_null(pc.greater_equal(theirs, self._orphans_before_us), False))
        if not pc.any(young).as_py():
            return gone
        return pc.or_(pc.and_not(gone, young), self._known(right, theirs, young))


def _alike(one: pa.Array, other: pa.Array) -> pa.Array:
    """Where two columns are equal, or both null."""
    equal = pc.equal(one, other)
    return pc.coalesce(equal, pc.and_(pc.is_null(one), pc.is_null(other))) if equal.null_count else equal
