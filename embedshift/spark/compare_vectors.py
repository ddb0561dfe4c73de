"""The vectors in a comparison of two tables: which are missing or stale, and with which write time they are written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.embedding import DIGEST, Template, digest_texts, hash_vectors, mismatched, of_text
from embedshift.spark.expiry import expiry
from embedshift.spark.rows import MADE_OF, Layout
from embedshift.stores.cql_types import arrow_type, matrix
from embedshift.stores.model import MIN_WRITE_TIME_US, write_time

#: Two readings of one expiry differ by the clocks' seconds, and by what lies between a page and its use.
_EXPIRY_SLACK_S = 60
#: How much the length of a normalised vector may differ from 1.
_NORM_TOLERANCE = 1e-3


class Vectors:
    """Vectors and digests of rows that are carried between two tables.

    Args:
        layout: which columns are carried; its target's model makes the vectors.
        inspect: whether the target's vectors are read, to be checked.
    """

    def __init__(self, layout: Layout, *, inspect: bool = False) -> None:
        self._inspect = inspect
        self._layout = layout
        self.template = Template.parse(layout.source.text)

    def of(self, left: pa.RecordBatch, right: pa.RecordBatch | None) -> tuple[dict[str, pa.Array], pa.Array, pa.Array]:
        """The columns of vector and digest; where they are to be written; where the vector must be computed."""
        texts, empty = self.template.render(left), self.template.empty(left)
        digest = digest_texts(self._layout.target.model.fingerprint, texts, empty)
        written = [name for name in self.template.columns if write_time(name) in left.schema.names]
        age = self._age(left, written)
        ends = self._ends(left, written)
        if right is None:
            wanted, had_vector = pa.array(np.full(left.num_rows, True)), pa.array(np.full(left.num_rows, False))
        else:
            wanted, had_vector, age = self._stale(left, right, digest, empty, age, ends)
        for key in self._layout.keys:
            if left.column(key.name).null_count:
                # Only static cells: such a row has no clustering key, and so no place for a vector or a digest.
                wanted = pc.and_(wanted, pc.is_valid(left.column(key.name)))
        has_text = pc.and_(wanted, pc.invert(empty))
        copied = self._copied(left, digest)
        computed = pc.and_(has_text, pc.is_null(copied))
        name = self._layout.target.vector
        columns = {
            name: pc.if_else(has_text, copied, None),
            write_time(name): pc.if_else(pc.or_(has_text, pc.and_(wanted, had_vector)), age, None),
            expiry(name): pc.if_else(has_text, ends, None),
            MADE_OF: digest,
        }
        if self._layout.target.digests:
            if self._layout.copies_vectors and self._layout.source.digests:
                # It may name the vector that is copied.
                digest = pc.if_else(pc.is_valid(copied), left.column(DIGEST), digest)
            columns |= {
                DIGEST: pc.if_else(wanted, digest, None),
                write_time(DIGEST): pc.if_else(wanted, age, None),
                expiry(DIGEST): pc.if_else(wanted, ends, None),
            }
        return columns, wanted, computed

    def same(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.Array:
        """Which vectors fit the source's text as far as a quick look shows; the others may fit too."""
        ends = [left.column(expiry(name)) for name in self.template.columns if expiry(name) in left.schema.names]
        ends.append(right.column(expiry(self._layout.made[-1].name)))
        if self._inspect or any(each.null_count < len(each) for each in ends):
            return pa.array(np.full(left.num_rows, False))
        # A row without a text has another digest than this one.
        texts, fingerprint = self.template.render(left), self._layout.target.model.fingerprint
        digest = digest_texts(fingerprint, texts, pa.array(np.full(left.num_rows, False)))
        there = pc.is_valid(right.column(write_time(self._layout.target.vector)))
        return pc.and_(pc.fill_null(pc.equal(digest, self._target_digest(right)), False), there)

    def _age(self, left: pa.RecordBatch, written: list[str]) -> pa.Array:
        """The write time of a vector: that of the newest part of its text; without a text, that of the newest cell."""
        carried = [column.name for column in self._layout.carried]
        of_text, of_all = (
            greatest([left.column(write_time(name)) for name in names], left.num_rows) for names in (written, carried)
        )
        return pc.coalesce(of_text, of_all, pa.scalar(MIN_WRITE_TIME_US, pa.int64()))

    def _stale(
        self,
        left: pa.RecordBatch,
        right: pa.RecordBatch,
        digest: pa.Array,
        empty: pa.Array,
        age: pa.Array,
        ends: pa.Array,
    ) -> tuple[pa.Array, pa.Array, pa.Array]:
        """Where the target's vector does not fit its text, and the time with which to write."""
        had_vector = pc.is_valid(right.column(write_time(self._layout.target.vector)))
        if self._inspect:
            had_vector = pc.and_(had_vector, pc.is_valid(right.column(self._layout.target.vector)))
        stale = pc.fill_null(pc.not_equal(digest, self._target_digest(right)), True)
        stale = pc.or_(stale, pc.and_(pc.invert(had_vector), pc.invert(empty)))
        stale = pc.or_(stale, self._ends_apart(right, ends))
        if self._inspect:
            stale = pc.or_(stale, self._broken(right))
        for name in self.template.columns:
            if write_time(name) in left.schema.names:
                theirs = pc.greater(right.column(write_time(name)), left.column(write_time(name)))
                stale = pc.and_(stale, pc.invert(pc.fill_null(theirs, False)))
        present = greatest([right.column(write_time(column.name)) for column in self._layout.made])
        # A vector that is as old as its text and still wrong: with an equal time the wrong one might stay.
        repaired = pc.max_element_wise(age, pc.add(present, 1), skip_nulls=True)
        return stale, had_vector, pc.if_else(pc.fill_null(pc.greater(age, present), True), age, repaired)

    def _broken(self, right: pa.RecordBatch) -> pa.Array:
        """Where the target's vector is not finite, not of length 1 although it should be, or not its digest's."""
        name = self._layout.target.vector
        there = pc.is_valid(right.column(name))
        rows = right.filter(there)
        vectors = matrix(rows.column(name))
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        wrong = ~np.isfinite(lengths)
        if self._layout.target.model.normalize:
            wrong |= np.abs(lengths - 1) > _NORM_TOLERANCE
        if self._layout.target.digests:
            others, unnamed = mismatched(rows.column(DIGEST), hash_vectors(vectors))
            together = pc.equal(rows.column(write_time(name)), rows.column(write_time(DIGEST)))
            wrong |= others | (unnamed & ~pc.fill_null(together, False).to_numpy(zero_copy_only=False))
        broken = np.zeros(right.num_rows, np.bool_)
        broken[there.to_numpy(zero_copy_only=False)] = wrong
        return pa.array(broken)

    def _ends_apart(self, right: pa.RecordBatch, ends: pa.Array) -> pa.Array:
        """Where the target's vector would expire after its text, or before: the same text was written again."""
        made = self._layout.made[-1].name
        held = right.column(expiry(made))
        once = pc.xor(pc.is_valid(held), pc.is_valid(ends))
        far = pc.greater(pc.abs(pc.subtract(held, ends)), _EXPIRY_SLACK_S)
        return pc.and_(pc.is_valid(right.column(write_time(made))), pc.or_(once, pc.fill_null(far, False)))

    def _target_digest(self, right: pa.RecordBatch) -> pa.Array:
        if self._layout.target.digests:
            return of_text(right.column(DIGEST))
        # A table without digests is trusted: its vectors count as those of its texts.
        texts, empty = self.template.render(right), self.template.empty(right)
        return digest_texts(self._layout.target.model.fingerprint, texts, empty)

    def _ends(self, left: pa.RecordBatch, written: list[str]) -> pa.Array:
        """The vector lives as long as the longest-lived part of its text."""
        longest = greatest([left.column(expiry(name)) for name in written], left.num_rows)
        endless = pa.array(np.full(left.num_rows, False))
        for name in written:
            forever = pc.and_(pc.is_valid(left.column(name)), pc.is_null(left.column(expiry(name))))
            endless = pc.or_(endless, forever)
        return pc.if_else(endless, None, longest)

    def _copied(self, left: pa.RecordBatch, digest: pa.Array) -> pa.Array:
        """The source's own vectors, if they are of the same model and of this text."""
        if not self._layout.copies_vectors:
            return pa.nulls(left.num_rows, arrow_type(self._layout.made[0].type))
        vectors = left.column(self._layout.source.vector)
        if not self._layout.source.digests:
            return vectors
        of_this_text = pc.and_(
            pc.fill_null(pc.equal(of_text(left.column(DIGEST)), digest), False), pc.is_valid(vectors)
        )
        rows = left.filter(of_this_text)
        others, _ = mismatched(rows.column(DIGEST), hash_vectors(matrix(rows.column(self._layout.source.vector))))
        usable = of_this_text.to_numpy(zero_copy_only=False).copy()
        usable[usable] = ~others
        return pc.if_else(pa.array(usable), vectors, None)


def greatest(arrays: list[pa.Array], rows: int = 0) -> pa.Array:
    """The greatest value of each row, null where every array has null; of no arrays, ``rows`` nulls."""
    if not arrays:
        return pa.nulls(rows, pa.int64())
    return pc.max_element_wise(*arrays, skip_nulls=True)
