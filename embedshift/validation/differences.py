"""How rows of two tables differ: in vectors, in copied cells, and whether they may differ only since a moment.

It shares no code with sync's comparison, so that neither hides a mistake of the other.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.embedding import DIGEST, Template, digest_texts, hash_vectors, of_text
from embedshift.stores.cql_types import matrix
from embedshift.stores.model import remaining_ttl, write_time
from embedshift.validation.table_pair import Subject

#: Two readings of one expiry differ by the clocks' seconds, and by what lies between two pages.
_EXPIRY_SLACK_S = 60


class Differences:
    """Compares n rows of the source (``left``) with those of the same keys in the target (``right``).

    Every method returns n booleans, unless it says otherwise.

    Args:
        subject: the two tables.
        moment_us: microseconds since the epoch; None if there is none.
    """

    def __init__(self, subject: Subject, moment_us: int | None) -> None:
        self._subject, self._moment_us = subject, moment_us
        self._template = Template.parse(subject.text)

    def young(self, rows: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which rows of the source may have been written since the moment: also those that are nothing but a key."""
        times = [rows.column(write_time(name)) for name in self._subject.carried]
        if not times:
            return np.ones(rows.num_rows, np.bool_)
        newest = pc.max_element_wise(*times, skip_nulls=True)
        return as_mask(pc.fill_null(pc.greater_equal(newest, self._moment_us), True))

    def erased(self, left: pa.RecordBatch, right: pa.RecordBatch) -> NDArray[np.bool_]:
        """Where the target has a cell, or an element of a collection, that the source may have lost."""
        found = np.zeros(left.num_rows, np.bool_)
        for name in self._subject.carried:
            found |= as_mask(pc.and_(pc.is_null(left.column(name)), pc.is_valid(right.column(name))))
        for name in self._subject.many_celled:
            # The newest time of a collection's elements does not change if another element is removed.
            found |= _differ(left.column(name), right.column(name))
        return found

    def stale(self, left: pa.RecordBatch, right: pa.RecordBatch) -> NDArray[np.bool_]:
        """Where the target's vector, by its digest, is not that of the source's text."""
        if left.num_rows == 0:
            return np.zeros(0, np.bool_)
        empty = self._template.empty(left)
        wanted = digest_texts(self._subject.fingerprint, self._template.render(left), empty)
        differs = pc.fill_null(pc.not_equal(wanted, self.digests(right)), True)
        # A vector that is left when the text was emptied is still found by searches.
        has_vector = pc.is_valid(right.column(self._subject.target_vector))
        ends_apart = _end_apart(self._ends(left), right.column(remaining_ttl(self._subject.target_vector)))
        return as_mask(pc.or_(differs, pc.and_(empty, has_vector))) | (ends_apart & as_mask(has_vector))

    def older_cells(self, left: pa.RecordBatch, right: pa.RecordBatch) -> NDArray[np.bool_]:
        """Where a copied cell is older in the target, has another value there, or none, or ends at another time."""
        found = np.zeros(left.num_rows, np.bool_)
        for name in self._subject.carried:
            ours, theirs = left.column(write_time(name)), right.column(write_time(name))
            found |= as_mask(pc.fill_null(pc.greater(ours, theirs), False))
            found |= _differ(left.column(name), right.column(name))
            found |= _end_apart(left.column(remaining_ttl(name)), right.column(remaining_ttl(name)))
        return found

    def _ends(self, left: pa.RecordBatch) -> pa.Array:
        """When the text of each row ends, in seconds from now: with its longest-lived part; null: never."""
        names = [name for name in self._template.columns if name in self._subject.carried]
        if not names:
            return pa.nulls(left.num_rows, pa.int32())
        ttls = [left.column(remaining_ttl(name)) for name in names]
        endless = [
            pc.and_(pc.is_valid(left.column(name)), pc.is_null(ttl)) for name, ttl in zip(names, ttls, strict=True)
        ]
        return pc.if_else(reduce(pc.or_, endless), None, pc.max_element_wise(*ttls, skip_nulls=True))

    def digests(self, target: pa.RecordBatch) -> pa.Array:
        """What the target's digests say of text and model, 16 bytes each."""
        if self._subject.target_digests:
            return of_text(target.column(DIGEST))
        # A table without digests is trusted: its vectors count as those of its own texts.
        texts, empty = self._template.render(target), self._template.empty(target)
        return digest_texts(self._subject.fingerprint, texts, empty)


def as_mask(boolean: pa.Array) -> NDArray[np.bool_]:
    """Booleans of Arrow as those of numpy."""
    mask: NDArray[np.bool_] = boolean.to_numpy(zero_copy_only=False)
    return mask.astype(bool)


def _differ(one: pa.Array, other: pa.Array) -> NDArray[np.bool_]:
    """Where two columns have different values; null is a value."""
    one, other = _comparable(one), _comparable(other)
    alone = pc.xor(pc.is_valid(one), pc.is_valid(other))
    return as_mask(pc.or_(alone, pc.fill_null(pc.not_equal(one, other), False)))


def _end_apart(one: pa.Array, other: pa.Array) -> NDArray[np.bool_]:
    """Where of two remaining lives, in seconds, null for no end, one is longer than the other."""
    far = pc.fill_null(pc.greater(pc.abs(pc.subtract(one, other)), _EXPIRY_SLACK_S), False)
    return as_mask(pc.or_(pc.xor(pc.is_valid(one), pc.is_valid(other)), far))


def _comparable(column: pa.Array) -> pa.Array:
    """A column whose values are equal if and only if their bits are: a NaN is equal to itself."""
    if pa.types.is_fixed_size_list(column.type):
        hashes = pa.array(hash_vectors(matrix(column.drop_null())))
        return pc.replace_with_mask(pa.nulls(len(column), pa.uint64()), pc.is_valid(column), hashes)
    if pa.types.is_floating(column.type):
        return column.view(pa.int32() if pa.types.is_float32(column.type) else pa.int64())
    return column
