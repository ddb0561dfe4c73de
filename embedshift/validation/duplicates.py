"""Vectors that several texts share: a sign of a broken model, or of texts that differ only after the model's limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

#: How many vectors are remembered. Above that, a sample by hash, so that all copies of a vector stay or go together.
REMEMBERED_MAX = 1 << 20

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows by the hash of their vector, sorted: how many, a hash of their text, and whether they have several texts."""

    vectors: Hashes
    texts: Hashes
    rows: NDArray[np.int64]
    mixed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.vectors)

    def where(self, chosen: NDArray[np.bool_]) -> _Groups:
        return _Groups(self.vectors[chosen], self.texts[chosen], self.rows[chosen], self.mixed[chosen])


_NOTHING = _Groups(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.bool_))


@dataclass(slots=True)
class Repeats:
    """Counts vectors that are exactly equal although their texts differ.

    The count is exact up to a million different vectors. Above that, of the vectors that were seen only once, only a
    sample is remembered, so the count is a lower bound (``sampled`` is then more than 1: one in ``sampled`` is
    remembered). Groups already found are never forgotten, so a constant vector is found in a table of any size.
    """

    sampled: int = 1
    _settled: int = 0
    _groups: _Groups = _NOTHING
    _pending: list[_Groups] = field(default_factory=list)
    _pending_rows: int = 0

    def add(self, hashes: Hashes, digests: Sequence[bytes | None]) -> None:
        """Add rows: the hashes of m vectors, and the digests of their texts."""
        texts = np.frombuffer(b"".join((each or b"")[:8].ljust(8, b"\0") for each in digests), np.uint64)
        self._take(_Groups(hashes, texts, np.ones(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)))

    def _take(self, groups: _Groups) -> None:
        if len(groups):
            self._pending.append(groups)
            self._pending_rows += len(groups)
        # Group only when as many rows are waiting as are grouped: so the total cost stays n log n.
        if self._pending_rows > max(len(self._groups), 1 << 16):
            self.consolidate()

    def consolidate(self) -> None:
        """Group the waiting rows, and stay within the limit."""
        if self._pending:
            self._groups = _grouped([self._groups, *self._pending])
            self._pending, self._pending_rows = [], 0
            self._forget()
        while len(self._groups) > REMEMBERED_MAX:
            self.sampled *= 2
            self._forget()

    def _forget(self) -> None:
        groups = self._groups
        remembered = groups.mixed | (groups.vectors % np.uint64(self.sampled) == 0)
        if np.count_nonzero(groups.mixed) > REMEMBERED_MAX // 2:
            self._settled += int((groups.rows[groups.mixed] - 1).sum())
            remembered &= ~groups.mixed
        if not remembered.all():
            self._groups = groups.where(remembered)

    def __add__(self, other: Repeats) -> Repeats:
        """The repeats of two sets of rows together."""
        both = Repeats(max(self.sampled, other.sampled), self._settled + other._settled, self._groups)
        both._pending, both._pending_rows = list(self._pending), self._pending_rows
        for groups in (other._groups, *other._pending):
            both._take(groups)
        return both

    @property
    def count(self) -> int:
        """How many vectors repeat a vector of a different text: all but one of each such group."""
        self.consolidate()
        return self._settled + int((self._groups.rows[self._groups.mixed] - 1).sum())


def _grouped(parts: Sequence[_Groups]) -> _Groups:
    vectors = np.concatenate([part.vectors for part in parts])
    order = np.argsort(vectors, kind="stable")
    vectors = vectors[order]
    starts = np.flatnonzero(np.concatenate([[True], vectors[1:] != vectors[:-1]]))
    texts, rows, mixed = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("texts", "rows", "mixed")
    )
    least, most = np.minimum.reduceat(texts, starts), np.maximum.reduceat(texts, starts)
    several = np.logical_or.reduceat(mixed, starts) | (least != most)
    return _Groups(vectors[starts], least, np.add.reduceat(rows, starts), several)
