"""What one table lacks of another, for a token range: rows to embed, cells to copy, rows and cells to delete.

Cells are compared by write time: a copied cell keeps its write time, so that equal times mean equal cells. Texts are
compared by digest. The newer side of a cell is never overwritten, whichever side that is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from time import time_ns

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.catalog.ranges import Counts
from embedshift.embedding import DIGEST
from embedshift.spark.compare_cells import Cells
from embedshift.spark.compare_vectors import Vectors
from embedshift.spark.expiry import expiry, expiry_schema, with_expiries
from embedshift.spark.known import Known
from embedshift.spark.missing import Missing
from embedshift.spark.own_times import OwnTimes
from embedshift.spark.rows import DELETED_AT, ENTERED, Action, Layout, Window, to_carry
from embedshift.spark.scan_limit import ScanLimit
from embedshift.spark.stores import Stores
from embedshift.stores.merge_join import Merged, empty_batch, key_array, merge, paired, scan_schema
from embedshift.stores.model import write_time
from embedshift.tokens import TokenRange


@dataclass(slots=True)
class RangeComparison:
    """Compares one token range of two tables.

    Args:
        stores: where the two tables are.
        layout: which columns are carried.
        orphans_before_us: what was written to the target at this time or later is deleted only if ``known`` knows it.
        window_rows: rows read at once from each side.
        known: what is known of rows that one table has and the other lacks; None: nothing.
        clock_skew_us: how far the clocks of writers may be apart.
        into_live: whether the target is live: if write times do not decide, the target's value stays.
        inspect: whether the target's vectors are read and checked.
        since_us: only rows of the source written at this time or later are compared; None: all rows of both tables.
        by_log: whether the source's change log says which rows these are. Write times do not show deleted rows.
        indexed_from_us: before which time the target took no write when its index was built; None: it took all.
    """

    stores: Stores
    layout: Layout
    orphans_before_us: int
    window_rows: int
    known: Known | None = None
    clock_skew_us: int = 0
    into_live: bool = False
    inspect: bool = False
    since_us: int | None = None
    by_log: bool = False
    indexed_from_us: int | None = None
    _read: int = 0
    _unchanged: int = 0
    _deleted: int = 0
    _vectors: Vectors = field(init=False)
    _missing: Missing = field(init=False)
    _cells: Cells = field(init=False)
    _own: OwnTimes = field(init=False)

    def __post_init__(self) -> None:
        self._vectors = Vectors(self.layout, inspect=self.inspect)
        # A table that is repaired from itself is given nothing but vectors.
        target = self.layout.target.table
        floor_us = None if self.layout.in_place else self.stores.target.write_floor(target)
        made_late = floor_us is not None or (self.known is not None and self.known.any_raised(target))
        self._own = OwnTimes.of_pass(
            self.layout,
            self.known,
            floor_us=floor_us,
            switched_us=self.orphans_before_us if self.into_live else None,
            indexed_from_us=self.indexed_from_us,
        )
        self._missing = Missing(
            self.layout,
            self.orphans_before_us,
            self.clock_skew_us,
            self.known,
            made_late=made_late,
            into_live=self.into_live,
        )
        self._cells = Cells(
            self.layout,
            self.orphans_before_us,
            self.clock_skew_us,
            into_live=self.into_live,
            known=self._missing.deletable_cells,
            spared=self._missing.spared,
        )

    def windows(self, within: TokenRange, scan_limit: ScanLimit | None = None) -> Generator[Window]:
        """The rows to embed, write or delete, and how many were compared; with a scan limit, only up to it."""
        if self.since_us is None:
            yield from self._of_all(scan_limit or ScanLimit(within))
            return
        for keys in self._written_since(self.since_us, within):
            if keys.num_rows:
                yield from self.of_keys(keys)

    def _of_all(self, scan_limit: ScanLimit) -> Iterator[Window]:
        source, target, within = self.layout.source_table, self.layout.target_table, scan_limit.within
        ours, theirs, rows = self._source_columns(), self._target_columns(), self.window_rows
        merged = merge(
            map(with_expiries, scan_limit.lead(self.stores.source.scan(source, within, **ours, batch_rows=rows))),
            map(with_expiries, scan_limit.follow(self.stores.target.scan(target, within, **theirs, batch_rows=rows))),
            schemas=(expiry_schema(scan_schema(source, **ours)), expiry_schema(scan_schema(target, **theirs))),
            keys=[key.name for key in self.layout.keys],
        )
        for each in merged:
            yield from self._windows(replace(each, right_only=scan_limit.trim(each.right_only)))

    def _windows(self, merged: Merged) -> Iterator[Window]:
        """What differs among these rows, at least one window; the first has the counts of all."""
        self._read = self._unchanged = self._deleted = 0
        found = list(self._of(merged))
        counts = Counts(self._read, unchanged=self._unchanged, deleted=self._deleted)
        yield Window(found[0] if found else empty_batch(self.layout.schema()), counts)
        yield from map(Window, found[1:])

    def _written_since(self, since_us: int, within: TokenRange) -> Iterator[pa.RecordBatch]:
        """Primary keys of rows of the source; some may occur several times."""
        source = self.layout.source_table
        if self.by_log:
            # A writer whose clock is ahead is in the log with a future time.
            yield from self.stores.source.changes(source, within, since_us, time_ns() // 1000 + self.clock_skew_us)
            return
        carried = [column.name for column in self.layout.carried]
        for rows in self.stores.source.scan(source, within, times=carried, batch_rows=self.window_rows):
            written = [pc.greater_equal(rows.column(write_time(name)), since_us) for name in carried]
            # Of rows that are only keys no write time is known: each may be recent.
            none = pa.array(np.full(rows.num_rows, not carried))
            recent = reduce(pc.or_, [pc.fill_null(each, False) for each in written], none)
            yield rows.filter(recent).select([key.name for key in self.layout.keys])

    def of_keys(self, keys: pa.RecordBatch) -> Iterator[Window]:
        """The same for the rows with some primary keys."""
        left = self._fetched_source(keys)
        right = with_expiries(self.stores.target.fetch(self.layout.target_table, keys, **self._target_columns()))
        yield from self._windows(paired(left, right, [key.name for key in self.layout.keys]))

    def _fetched_source(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        return with_expiries(self.stores.source.fetch(self.layout.source_table, keys, **self._source_columns()))

    def _source_columns(self) -> dict[str, list[str]]:
        carried = [column.name for column in self.layout.carried]
        values = list(carried)
        if self.layout.copies_vectors:
            values += [self.layout.source.vector, *([DIGEST] if self.layout.source.digests else [])]
        return {"values": values, "times": carried}

    def _target_columns(self) -> dict[str, list[str]]:
        carried = [column.name for column in self.layout.carried]
        text = [name for name in self._vectors.template.columns if name in carried]
        values = [DIGEST] if self.layout.target.digests else text
        values += [column.name for column in self._cells.many_celled]
        values += [self.layout.target.vector] * self.inspect
        return {"values": values, "times": [*carried, *(column.name for column in self.layout.made)]}

    def _of(self, merged: Merged) -> Iterator[pa.RecordBatch]:
        self._read += merged.left.num_rows + merged.left_only.num_rows
        if merged.left_only.num_rows:
            yield from self._absent(self._own.of(merged.left_only, self.layout.source.table))
        if merged.left.num_rows:
            yield from self._of_pairs(merged.left, merged.right)
        if not merged.right_only.num_rows:  # as in nearly every window
            return
        right_only = self._own.of(merged.right_only, self.layout.target.table)
        deletable = self._missing.deletable(right_only)
        doubtful = pc.or_(deletable, self._cells.erasures(self._nothing_of(right_only), right_only))
        yield from self._look_again(right_only.filter(doubtful), read=0)
        yield from self._delete(*self._missing.deleted_by_clients(right_only.filter(pc.invert(doubtful))))

    def _absent(self, left: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The rows that the target lacks, but for those that were deleted there while it was live."""
        if self.into_live:
            gone = self._missing.gone(left, self._own.lost_before_us)
            self._unchanged += pc.sum(gone).as_py()
            left = self._own.without_lost(left.filter(pc.invert(gone)), None)
        if left.num_rows:
            yield self._rows(left, None)

    def _of_pairs(self, left: pa.RecordBatch, right: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        same = self._same(left, right)
        count = pc.sum(same).as_py() or 0
        self._unchanged += count
        self._confirm(left, right)
        if count == left.num_rows:
            return
        if count:
            left, right = left.filter(pc.invert(same)), right.filter(pc.invert(same))
        left, right = self._own.of(left, self.layout.source.table), self._own.of(right, self.layout.target.table)
        doubtful = self._cells.erasures(left, right)
        settled = pc.invert(doubtful)
        yield from self._changed(left.filter(settled), right.filter(settled))
        again = right.filter(doubtful)
        yield from self._look_again(again, read=again.num_rows)

    def _confirm(self, left: pa.RecordBatch, right: pa.RecordBatch) -> None:
        """Enter in the ledger the young cells that both tables have."""
        if self.known is not None:
            self.known.seen(self.layout.entries(left, self.orphans_before_us, right))

    def _same(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.Array:
        """Which pairs are seen to be the same without a closer look: in a table that is up to date, nearly all."""
        return reduce(pc.and_, self._cells.same(left, right), self._vectors.same(left, right))

    def _look_again(self, right: pa.RecordBatch, *, read: int) -> Iterator[pa.RecordBatch]:
        """Read the source again before anything is deleted: a row may have been added since its range was scanned.

        Clients write the source first, so what was in the target before this reading is in the source, or was deleted
        there. ``read`` of these rows are already counted as read.
        """
        if right.num_rows == 0:
            return
        keys = [key.name for key in self.layout.keys]
        looked_us = time_ns() // 1000
        fresh = self._own.of(self._fetched_source(right.select(keys)), self.layout.source.table)
        partner = pc.index_in(key_array(right, keys), value_set=key_array(fresh, keys))
        there = pc.is_valid(partner)
        self._read += len(partner) - partner.null_count - read
        if pc.any(there).as_py():
            yield from self._changed(fresh.take(pc.drop_null(partner)), right.filter(there), looked_us)
        orphans = right.filter(pc.invert(there))
        # Where the target has something of its own, be it a newer row of the same key, only that stays.
        whole = self._missing.deletable(orphans)
        yield from self._left_in_part(orphans.filter(pc.invert(whole)), looked_us)
        orphans = orphans.filter(pc.and_not(whole, self._missing.spared(orphans)))
        yield from self._delete(orphans, self._missing.deletion_times(orphans, looked_us))

    def _left_in_part(self, right: pa.RecordBatch, looked_us: int) -> Iterator[pa.RecordBatch]:
        """Rows that the source lacks and the target keeps, without those of their cells that were deleted."""
        right = right.filter(self._cells.erasures(self._nothing_of(right), right))
        if right.num_rows:
            rows = self._rows(self._overlaid(self._nothing_of(right), right), right, looked_us)
            self._read += rows.num_rows
            yield rows

    def _nothing_of(self, right: pa.RecordBatch) -> pa.RecordBatch:
        """The keys of rows of the target, as rows of the source that have no cell."""
        keys = {key.name for key in self.layout.keys}
        schema = expiry_schema(scan_schema(self.layout.source_table, **self._source_columns()))
        arrays = [
            right.column(each.name) if each.name in keys else pa.nulls(right.num_rows, each.type) for each in schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _delete(self, rows: pa.RecordBatch, at_us: pa.Array) -> Iterator[pa.RecordBatch]:
        if rows.num_rows:
            self._deleted += rows.num_rows
            yield to_carry(self.layout, rows, Action.DELETE, {DELETED_AT: at_us})

    def _changed(
        self, left: pa.RecordBatch, right: pa.RecordBatch, looked_us: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        if left.num_rows:
            left = self._own.without_lost(left, right)
            rows = self._rows(self._overlaid(left, right), right, looked_us)
            self._unchanged += left.num_rows - rows.num_rows
            if rows.num_rows:
                yield rows

    def _overlaid(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.RecordBatch:
        """``left`` with the parts of the text that the target keeps as its own: a vector must fit its row's text."""
        names = [column.name for column in self.layout.carried if column.name in self._vectors.template.columns]
        own = {name: self._cells.kept(left, right, name) for name in names}
        rows = reduce(pc.or_, own.values(), pa.array(np.full(left.num_rows, False)))
        if not pc.any(rows).as_py():
            return left
        keys = [key.name for key in self.layout.keys]
        target = self.layout.target_table
        theirs = with_expiries(
            self.stores.target.fetch(target, right.filter(rows).select(keys), values=names, times=names)
        )
        theirs = self._own.of(theirs, target.name)
        place = pc.index_in(key_array(left, keys), value_set=key_array(theirs, keys))
        theirs = theirs.take(place)
        for name in names:
            taken = pc.and_(own[name], pc.is_valid(place))
            for part in (name, write_time(name), expiry(name)):
                column = pc.if_else(taken, theirs.column(part), left.column(part))
                left = left.set_column(left.schema.get_field_index(part), part, column)
        return left

    def _rows(self, left: pa.RecordBatch, right: pa.RecordBatch | None, looked_us: int | None = None) -> pa.RecordBatch:
        """The rows of ``left`` that the target lacks as a whole (``right`` None) or in part.

        ``looked_us`` is when ``left`` was read again, when ``right`` was already known; None: it was not.
        """
        columns, touched, computed = self._vectors.of(left, right)
        copied = []
        for column in self.layout.carried:
            name, ours = column.name, left.column(write_time(column.name))
            taken, at = pc.is_valid(ours), ours
            if right is not None:
                taken, at = self._cells.copied(left, right, column, looked_us)
            # Not what follows: it is the target's own.
            copied.append(pc.if_else(pc.greater_equal(at, self.orphans_before_us), at, None))
            if name in self._vectors.template.columns:
                # The whole text is embedded, even if the target already has a part of it.
                whole = pc.and_(pc.and_(computed, pc.is_valid(ours)), pc.invert(taken))
                taken, at = pc.or_(taken, whole), pc.if_else(whole, ours, at)
            columns[name] = pc.if_else(taken, left.column(name), None)
            columns[write_time(name)] = at
            columns[expiry(name)] = pc.if_else(taken, left.column(expiry(name)), None)
            touched = pc.or_(touched, pc.is_valid(at))
        columns[ENTERED] = _gathered(copied, left.num_rows)
        action = pc.if_else(computed, pa.scalar(int(Action.EMBED), pa.int8()), pa.scalar(int(Action.WRITE), pa.int8()))
        return to_carry(self.layout, left, action, columns).filter(touched)


def _gathered(times: list[pa.Array], rows: int) -> pa.Array:
    """The times of each row in one list; null for a row without any. Few rows are so young that they have some."""
    some = reduce(pc.or_, map(pc.is_valid, times), pa.array(np.full(rows, False)))
    places = np.flatnonzero(some.to_numpy(zero_copy_only=False))
    if not len(places):
        return pa.nulls(rows, pa.list_(pa.int64()))
    lists: list[list[int] | None] = [None] * rows
    for place in places:
        lists[place] = sorted({each[int(place)].as_py() for each in times} - {None})
    return pa.array(lists, pa.list_(pa.int64()))
