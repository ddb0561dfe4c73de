"""Vectors that several texts share: a sign of a broken model, or of texts that differ only after the cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xxhash
from numpy.typing import NDArray

#: Vectors that are remembered; beyond them a sample by hash, so that all copies of a vector stay or go together.
_REMEMBERED_MAX = 1 << 20

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows by the hash of their vector, in rising order: how many, of which text (a hash), of several texts or one."""

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
    """Counts vectors that are equal to the byte although their texts differ.

    Exact up to a million different vectors; beyond, of the vectors seen only once so far a sample is remembered, so
    the count is a lower bound (``sampled`` is then more than 1: one in so many is remembered). Groups already found are
    never forgotten, so a constant vector is found in a table of any size.
    """

    sampled: int = 1
    _settled: int = 0
    _groups: _Groups = _NOTHING
    _pending: list[_Groups] = field(default_factory=list)
    _pending_rows: int = 0

    def add(self, vectors: NDArray[np.float32], digests: Sequence[bytes | None]) -> None:
        """Take in rows: vectors of shape (m, dimension), and the digests of their texts."""
        data = np.ascontiguousarray(vectors).tobytes()
        width = vectors.shape[1] * 4
        hashes = [xxhash.xxh3_64_intdigest(data[at : at + width]) for at in range(0, len(vectors) * width, width)]
        texts = np.frombuffer(b"".join((each or bytes(16))[:8] for each in digests), np.uint64)
        each_one = np.ones(len(vectors), np.int64)
        self._take(_Groups(np.array(hashes, np.uint64), texts, each_one, np.zeros(len(vectors), np.bool_)))

    def _take(self, groups: _Groups) -> None:
        if len(groups):
            self._pending.append(groups)
            self._pending_rows += len(groups)
        # Grouping only when as much is waiting as is grouped keeps the whole work at n log n.
        if self._pending_rows > max(len(self._groups), 1 << 16):
            self.consolidate()

    def consolidate(self) -> None:
        """Group what is waiting, and keep within bounds."""
        if self._pending:
            self._groups = _grouped([self._groups, *self._pending])
            self._pending, self._pending_rows = [], 0
            self._forget()
        while len(self._groups) > _REMEMBERED_MAX:
            self.sampled *= 2
            self._forget()

    def _forget(self) -> None:
        groups = self._groups
        remembered = groups.mixed | (groups.vectors % np.uint64(self.sampled) == 0)
        if np.count_nonzero(groups.mixed) > _REMEMBERED_MAX // 2:
            self._settled += int((groups.rows[groups.mixed] - 1).sum())
            remembered &= ~groups.mixed
        if not remembered.all():
            self._groups = groups.where(remembered)

    def __add__(self, other: Repeats) -> Repeats:
        """The repeats of two sets of rows taken together."""
        both = Repeats(max(self.sampled, other.sampled), self._settled + other._settled, self._groups)
        both._pending, both._pending_rows = list(self._pending), self._pending_rows
        for groups in (other._groups, *other._pending):
            both._take(groups)
        return both

    @property
    def count(self) -> int:
        """How many vectors repeat another one of a different text: of each such group all but one."""
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
