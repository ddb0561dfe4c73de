"""What one table lacks of another, range by range: rows to embed, cells to carry, rows and cells to delete.

Cells are compared by write time: a write keeps its time when it is copied, so that equal times are equal cells. Texts
are compared by digest. The newer side of a cell is never overwritten, whichever side that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from time import time_ns
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.embedding import DIGEST, Template, digest_texts
from jobs.spark.transfer import ACTION, DELETED_AT, NOTE, SCANNED, Action, Layout
from jobs.spark.vectors import pack_vectors
from jobs.stores.contract import Store, remaining_ttl, write_time
from jobs.stores.merge import Merged, key_array, merge, scan_schema
from jobs.tokens import TokenRange

#: The write time of cells of a row whose own cells tell none: older than any real write, so that it hides nothing.
EARLIEST_US = 1
#: Seconds that may lie between the scans of the two sides, and so between two readings of one TTL.
_TTL_SLACK_S = 60


@dataclass(slots=True)
class Difference:
    """Compares one token range of two tables. Iterate ``batches`` first, then read the counts.

    Args:
        store: where both tables are.
        layout: which columns are carried.
        orphans_before_us: what was written to the target at this time or later is never deleted; None: all may be.
        window_rows: rows read at once from either side.
        spared: names (``Layout.names``) of rows that are never deleted.
        clock_skew_us: how far the clocks of writers may be apart.
    """

    store: Store
    layout: Layout
    orphans_before_us: int | None
    window_rows: int
    spared: frozenset[str] = frozenset()
    clock_skew_us: int = 0
    read: int = 0
    unchanged: int = 0
    deleted: int = 0
    _template: Template = field(init=False)

    def __post_init__(self) -> None:
        self._template = Template.parse(self.layout.source.text)

    def batches(self, within: TokenRange) -> Iterator[pa.RecordBatch]:
        """The rows to embed, write or delete, in the schema of ``Layout.schema``."""
        source, target = self.layout.source_table, self.layout.target_table
        merged = merge(
            self.store.scan(source, within, **self._source_columns(), batch_rows=self.window_rows),
            self.store.scan(target, within, **self._target_columns(), batch_rows=self.window_rows),
            schemas=(scan_schema(source, **self._source_columns()), scan_schema(target, **self._target_columns())),
            keys=[key.name for key in self.layout.keys],
        )
        for each in merged:
            yield from self._of(each)

    def _source_columns(self) -> dict[str, list[str]]:
        carried = [column.name for column in self.layout.carried]
        values = list(carried)
        if self.layout.copies_vectors:
            values += [self.layout.source.vector, *([DIGEST] if self.layout.source.digests else [])]
        return {"values": values, "times": carried}

    def _target_columns(self) -> dict[str, list[str]]:
        carried = [column.name for column in self.layout.carried]
        text = [name for name in self._template.columns if name in carried]
        values = [DIGEST] if self.layout.target.digests else text
        return {"values": values, "times": [*carried, *(column.name for column in self.layout.made)]}

    def _of(self, merged: Merged) -> Iterator[pa.RecordBatch]:
        self.read += merged.left.num_rows + merged.left_only.num_rows
        if merged.left_only.num_rows:
            yield self._rows(merged.left_only, None)
        if merged.left.num_rows:
            doubtful = self._erasures(merged.left, merged.right)
            settled = pc.invert(doubtful)
            yield from self._changed(merged.left.filter(settled), merged.right.filter(settled))
            again = merged.right.filter(doubtful)
            yield from self._look_again(again, read=again.num_rows)
        orphans = merged.right_only.filter(self._deletable(merged.right_only))
        yield from self._look_again(orphans, read=0)

    def _look_again(self, right: pa.RecordBatch, *, read: int) -> Iterator[pa.RecordBatch]:
        """Read the source once more before anything is deleted: a row may have come since its range was scanned.

        Clients write the source first, so what the target had before this reading is in the source, or deleted there.
        ``read`` of these rows are counted as read already.
        """
        if right.num_rows == 0:
            return
        keys = [key.name for key in self.layout.keys]
        looked_us = time_ns() // 1000
        fresh = self.store.fetch(self.layout.source_table, right.select(keys), **self._source_columns())
        partner = pc.index_in(key_array(right, keys), value_set=key_array(fresh, keys))
        there = pc.is_valid(partner)
        self.read += len(partner) - partner.null_count - read
        if pc.any(there).as_py():
            yield from self._changed(fresh.take(pc.drop_null(partner)), right.filter(there))
        orphans = right.filter(pc.invert(there))
        if self.spared:
            orphans = orphans.filter(
                pa.array([name not in self.spared for name in self.layout.names(orphans)], pa.bool_())
            )
        if orphans.num_rows:
            self.deleted += orphans.num_rows
            newest = _greatest([orphans.column(write_time(name)) for name in self._timed(orphans)])
            at = pc.fill_null(newest, self._husks_before(looked_us))
            yield self._emit(orphans, Action.DELETE, {DELETED_AT: at})

    def _husks_before(self, looked_us: int) -> int:
        """When to delete a row without cells, kept by its marker alone, whose write time no scan can tell.

        Just before the source was seen to lack it: what is inserted later, or by a clock within the skew, stays.
        """
        at = looked_us - self.clock_skew_us
        return at if self.orphans_before_us is None else min(at, self.orphans_before_us)

    def _timed(self, rows: pa.RecordBatch) -> list[str]:
        names = [column.name for column in (*self.layout.carried, *self.layout.made)]
        return [name for name in names if write_time(name) in rows.schema.names]

    def _deletable(self, right: pa.RecordBatch) -> pa.Array:
        if self.orphans_before_us is None:
            return pa.array(np.full(right.num_rows, True))
        newest = _greatest([right.column(write_time(name)) for name in self._timed(right)])
        return pc.fill_null(pc.less(newest, self.orphans_before_us), True)

    def _erasable(self, left: pa.RecordBatch, right: pa.RecordBatch, name: str) -> pa.Array:
        ours, theirs = left.column(write_time(name)), right.column(write_time(name))
        gone = pc.and_(pc.is_null(ours), pc.is_valid(theirs))
        if self.orphans_before_us is None:
            return gone
        return pc.and_(gone, pc.fill_null(pc.less(theirs, self.orphans_before_us), False))

    def _erasures(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.Array:
        """Where a pair has a cell in the target only."""
        nowhere = pa.array(np.full(left.num_rows, False))
        return reduce(pc.or_, (self._erasable(left, right, c.name) for c in self.layout.carried), nowhere)

    def _changed(self, left: pa.RecordBatch, right: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        if left.num_rows:
            rows = self._rows(left, right)
            self.unchanged += left.num_rows - rows.num_rows
            if rows.num_rows:
                yield rows

    def _rows(self, left: pa.RecordBatch, right: pa.RecordBatch | None) -> pa.RecordBatch:
        """The rows of ``left`` that the target lacks as a whole (``right`` None) or in part."""
        columns, wanted, computed = self._vector(left, right)
        touched = wanted
        for column in self.layout.carried:
            taken, erased = self._cell(left, right, column.name)
            if column.name in self._template.columns:
                # What is embedded is the whole text, whichever part of it the target has already.
                taken = pc.or_(taken, pc.and_(computed, pc.is_valid(left.column(write_time(column.name)))))
            times = left.column(write_time(column.name))
            erasing = pa.nulls(left.num_rows, pa.int64()) if right is None else right.column(write_time(column.name))
            columns[column.name] = pc.if_else(taken, left.column(column.name), None)
            columns[write_time(column.name)] = pc.if_else(taken, times, pc.if_else(erased, erasing, None))
            columns[remaining_ttl(column.name)] = pc.if_else(taken, left.column(remaining_ttl(column.name)), None)
            touched = pc.or_(touched, pc.or_(taken, erased))
        action = pc.if_else(computed, pa.scalar(int(Action.EMBED), pa.int8()), pa.scalar(int(Action.WRITE), pa.int8()))
        return self._emit(left, action, columns).filter(touched)

    def _cell(self, left: pa.RecordBatch, right: pa.RecordBatch | None, name: str) -> tuple[pa.Array, pa.Array]:
        """Where a cell is to be carried, and where it is to be deleted."""
        ours = left.column(write_time(name))
        if right is None:
            return pc.is_valid(ours), pa.array(np.full(left.num_rows, False))
        newer = pc.fill_null(pc.greater(ours, right.column(write_time(name))), pc.is_valid(ours))
        return pc.and_(newer, pc.is_valid(ours)), self._erasable(left, right, name)

    def _vector(
        self, left: pa.RecordBatch, right: pa.RecordBatch | None
    ) -> tuple[dict[str, pa.Array], pa.Array, pa.Array]:
        """Columns of vector and digest; where they are to be written; where the vector must be computed."""
        texts, empty = self._template.render(left), self._template.empty(left)
        digest = digest_texts(self.layout.target.model.fingerprint, texts, empty)
        written = [name for name in self._template.columns if write_time(name) in left.schema.names]
        age = self._age(left, written)
        ttl = self._vector_ttl(left, written)
        if right is None:
            wanted, had_vector = pa.array(np.full(left.num_rows, True)), pa.array(np.full(left.num_rows, False))
        else:
            wanted, had_vector, age = self._stale(left, right, digest, empty, age, ttl)
        has_text = pc.and_(wanted, pc.invert(empty))
        copied = self._copied(left, digest)
        computed = pc.and_(has_text, pc.is_null(copied))
        name = self.layout.target.vector
        columns = {
            name: pc.if_else(has_text, copied, None),
            write_time(name): pc.if_else(pc.or_(has_text, pc.and_(wanted, had_vector)), age, None),
            remaining_ttl(name): pc.if_else(has_text, ttl, None),
        }
        if self.layout.target.digests:
            columns |= {
                DIGEST: pc.if_else(wanted, digest, None),
                write_time(DIGEST): pc.if_else(wanted, age, None),
                remaining_ttl(DIGEST): pc.if_else(wanted, ttl, None),
            }
        return columns, wanted, computed

    def _age(self, left: pa.RecordBatch, written: list[str]) -> pa.Array:
        """When a vector counts as written: with the newest part of its text; without a text, with the newest cell."""
        carried = [column.name for column in self.layout.carried]
        of_text, of_all = (
            _greatest([left.column(write_time(name)) for name in names], left.num_rows) for names in (written, carried)
        )
        return pc.coalesce(of_text, of_all, pa.scalar(EARLIEST_US, pa.int64()))

    def _stale(
        self,
        left: pa.RecordBatch,
        right: pa.RecordBatch,
        digest: pa.Array,
        empty: pa.Array,
        age: pa.Array,
        ttl: pa.Array,
    ) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Where the target's vector is not that of the text, where it has one, and the time at which to write."""
        had_vector = pc.is_valid(right.column(write_time(self.layout.target.vector)))
        stale = pc.fill_null(pc.not_equal(digest, self._target_digest(right)), True)
        stale = pc.or_(stale, pc.and_(pc.invert(had_vector), pc.invert(empty)))
        stale = pc.or_(stale, self._ends_apart(right, ttl))
        for name in self._template.columns:
            if write_time(name) in left.schema.names:
                theirs = pc.greater(right.column(write_time(name)), left.column(write_time(name)))
                stale = pc.and_(stale, pc.invert(pc.fill_null(theirs, False)))
        present = _greatest([right.column(write_time(column.name)) for column in self.layout.made])
        # A vector that is as old as its text and yet wrong: at an equal time the wrong one might stay.
        repaired = pc.max_element_wise(age, pc.add(present, 1), skip_nulls=True)
        return stale, had_vector, pc.if_else(pc.fill_null(pc.greater(age, present), True), age, repaired)

    def _ends_apart(self, right: pa.RecordBatch, ttl: pa.Array) -> pa.Array:
        """Where the target's vector would outlive its text, or die before it: the same text was written anew."""
        made = self.layout.made[-1].name
        held = right.column(remaining_ttl(made))
        once = pc.xor(pc.is_valid(held), pc.is_valid(ttl))
        far = pc.greater(pc.abs(pc.subtract(held, ttl)), _TTL_SLACK_S)
        return pc.and_(pc.is_valid(right.column(write_time(made))), pc.or_(once, pc.fill_null(far, False)))

    def _target_digest(self, right: pa.RecordBatch) -> pa.Array:
        if self.layout.target.digests:
            return right.column(DIGEST)
        # A table without digests is taken at its word: its vectors are those of its texts.
        texts, empty = self._template.render(right), self._template.empty(right)
        return digest_texts(self.layout.target.model.fingerprint, texts, empty)

    def _vector_ttl(self, left: pa.RecordBatch, written: list[str]) -> pa.Array:
        """The vector lives as long as the longest-lived part of its text."""
        longest = _greatest([left.column(remaining_ttl(name)) for name in written], left.num_rows, pa.int32())
        endless = pa.array(np.full(left.num_rows, False))
        for name in written:
            forever = pc.and_(pc.is_valid(left.column(name)), pc.is_null(left.column(remaining_ttl(name))))
            endless = pc.or_(endless, forever)
        return pc.if_else(endless, None, longest)

    def _copied(self, left: pa.RecordBatch, digest: pa.Array) -> pa.Array:
        """The source's own vectors, packed, where they are of the same model and of this text."""
        if not self.layout.copies_vectors:
            return pa.nulls(left.num_rows, pa.binary())
        packed = pack_vectors(left.column(self.layout.source.vector))
        if not self.layout.source.digests:
            return packed
        return pc.if_else(pc.fill_null(pc.equal(left.column(DIGEST), digest), False), packed, None)

    def _emit(self, rows: pa.RecordBatch, action: Action | pa.Array, columns: dict[str, pa.Array]) -> pa.RecordBatch:
        schema = self.layout.schema()
        if isinstance(action, Action):
            action = pa.array(np.full(rows.num_rows, int(action), np.int8))
        columns = {
            **{key.name: rows.column(key.name) for key in self.layout.keys},
            **columns,
            ACTION: action,
            SCANNED: pa.array(np.full(rows.num_rows, time_ns() // 1_000_000)),
        }
        arrays = [columns.get(each.name) for each in schema]
        return pa.RecordBatch.from_arrays(
            [
                pa.nulls(rows.num_rows, each.type) if array is None else _typed(array, each.type)
                for array, each in zip(arrays, schema, strict=True)
            ],
            schema=schema,
        )


def end_row(layout: Layout, note: str) -> pa.RecordBatch:
    """The last row of a range: no article, but the reader's report."""
    schema = layout.schema()
    values: dict[str, Any] = {ACTION: int(Action.END), NOTE: note}
    return pa.RecordBatch.from_arrays([pa.array([values.get(f.name)], f.type) for f in schema], schema=schema)


def _greatest(arrays: list[pa.Array], rows: int = 0, kind: pa.DataType | None = None) -> pa.Array:
    if not arrays:
        return pa.nulls(rows, kind or pa.int64())
    return pc.max_element_wise(*arrays, skip_nulls=True)


def _typed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)
