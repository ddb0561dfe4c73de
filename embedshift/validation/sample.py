"""Rows drawn from all parts of the ring."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.embedding import Template
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.stores.merge_join import empty_batch, scan_schema
from embedshift.tokens import WHOLE_RING, TokenRange
from embedshift.validation.exact_knn import comparable
from embedshift.validation.table_pair import Subject, row_keys

#: If a table has fewer rows than this for each row to draw, it is read as a whole.
_ROWS_A_DRAW = 20


def draw_rows(store: Store, subject: Subject, n: int, seed: int, *, values: Sequence[str] = ()) -> pa.RecordBatch:
    """Draw rows of the target, each from another part of the ring; from a small table, any rows.

    Only rows are drawn whose vector can be searched for: it is finite, and for the cosine not zero.

    Args:
        n: how many; fewer are returned if the table has fewer.
        seed: the same seed draws the same rows, as long as the table does not change.
        values: columns to read in addition to keys and vector.
    """
    columns = [subject.target_vector, *values]
    drawing = _Drawing(store, subject, columns, np.random.default_rng(seed))
    rows = drawing.of_small_table(n)
    if rows is None:
        rows = [row for part in WHOLE_RING.split(n) for row in drawing.of_part(part)]
    if not rows:
        return empty_batch(scan_schema(subject.target, values=columns, times=[]))
    return pa.concat_batches(rows)


class _Drawing:
    def __init__(self, store: Store, subject: Subject, columns: list[str], random: np.random.Generator) -> None:
        self._store = store
        self._subject = subject
        self._columns = columns
        self._random = random

    def of_small_table(self, n: int) -> list[pa.RecordBatch] | None:
        """A sample of all rows; None if there are too many to read."""
        most = n * _ROWS_A_DRAW
        if self._store.estimate(self._subject.target.name).rows > most:
            return None
        drawn: list[tuple[float, int, pa.RecordBatch]] = []
        read = 0
        for rows in self._scan(WHOLE_RING, 1000):
            for at, lot in enumerate(self._random.random(rows.num_rows).tolist()):
                if len(drawn) < n:
                    heapq.heappush(drawn, (-lot, read + at, _row(rows, at)))
                elif -lot > drawn[0][0]:
                    heapq.heapreplace(drawn, (-lot, read + at, _row(rows, at)))
            read += rows.num_rows
            if read > most:  # the estimate was wrong
                return None
        return [row for _, _, row in sorted(drawn, key=lambda each: each[1])]

    def of_part(self, part: TokenRange) -> list[pa.RecordBatch]:
        """The first row after a random token in a part of the ring, or the part's first row if none follows."""
        at = int(self._random.integers(part.start, part.end, dtype=np.int64))
        for within in (TokenRange(at, part.end), *([TokenRange(part.start, at)] if at > part.start else [])):
            for rows in self._scan(within, 4):
                return [_row(rows, 0)]
        return []

    def _scan(self, within: TokenRange, batch_rows: int) -> Iterator[pa.RecordBatch]:
        vector = self._subject.target_vector
        for rows in self._store.scan(self._subject.target, within, values=self._columns, batch_rows=batch_rows):
            have = rows.filter(pc.is_valid(rows.column(vector)))
            usable = comparable(self._subject.metric, matrix(have.column(vector)))
            if usable.any():
                yield have.filter(pa.array(usable))


def _row(rows: pa.RecordBatch, at: int) -> pa.RecordBatch:
    """A single row as a copy: a slice would keep its whole batch in memory."""
    return rows.take(pa.array([at]))


#: Texts whose length is measured at once.
_TEXTS_AT_ONCE = 256
Measured = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Sample:
    """Articles of the target that have a vector, with the lengths of their texts.

    Args:
        subject: what is validated.
        rows: keys, vector and the columns of the text.
        lengths: the length of each text, shape (n,), int64.
    """

    subject: Subject
    rows: pa.RecordBatch
    lengths: NDArray[np.int64]

    def texts(self) -> list[str]:
        """The text of each article."""
        rendered: list[str] = Template.parse(self.subject.text).render(self.rows).to_pylist()
        return rendered

    def vectors(self) -> NDArray[np.float32]:
        """The target's vector of each article, shape (n, dimension)."""
        return matrix(self.rows.column(self.subject.target_vector))

    def keys(self) -> list[bytes]:
        """The key of each article, as ``table_pair.row_keys`` gives it."""
        return row_keys(self.subject.target, self.rows)

    def key_rows(self) -> list[dict[str, Any]]:
        """The key of each article by column, as it travels in Arrow."""
        rows: list[dict[str, Any]] = self.rows.select(self.subject.keys).to_pylist()
        return rows

    def of_all_lengths(self, n: int, seed: int) -> Sample:
        """At most ``n`` of these articles: every n-th by length of text, so that short and long ones keep their share.

        Each article is equally likely to be chosen, so that a mean over them needs no weights.
        """
        if n >= len(self.lengths):
            return self
        random = np.random.default_rng(seed)
        strata = np.array_split(np.argsort(self.lengths, kind="stable"), n)
        chosen = np.sort([int(random.choice(stratum)) for stratum in strata])
        return Sample(self.subject, self.rows.take(pa.array(chosen)), self.lengths[chosen])


def draw_sample(
    store: Store,
    subject: Subject,
    n: int,
    seed: int,
    measured: Measured | None = None,
    *,
    also: Sequence[str] = (),
) -> Sample:
    """Draw articles of the target whose vector can be searched for.

    Args:
        n: how many; fewer are returned if the table has fewer.
        seed: the same seed draws the same rows, as long as the table does not change.
        measured: measures the lengths of texts, for example in tokens; if None, in characters.
        also: further columns to read.
    """
    wanted = dict.fromkeys([*subject.text_columns, *also])
    rows = draw_rows(store, subject, n, seed, values=[name for name in wanted if name not in subject.keys])
    texts = Template.parse(subject.text).render(rows).to_pylist()
    return Sample(subject, rows, in_lots(measured or _characters, texts))


def in_lots(measured: Measured, texts: Sequence[str]) -> NDArray[np.int64]:
    """The lengths of texts, shape (n,), measured in portions."""
    lots = (texts[at : at + _TEXTS_AT_ONCE] for at in range(0, len(texts), _TEXTS_AT_ONCE))
    return np.concatenate([np.empty(0, np.int64), *(measured(lot) for lot in lots)])


def _characters(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter((len(text) for text in texts), np.int64, len(texts))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Vectors of the same articles in both tables, in the same order.

    Args:
        old: shape (n, old dimension), float32.
        new: shape (n, new dimension), float32.
        groups: for each article its text in the subject's column of groups, or 0.
        keys: its primary key.
    """

    old: NDArray[np.float32]
    new: NDArray[np.float32]
    groups: list[str | int]
    keys: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.groups)


def pairs_of(store: Store, sample: Sample) -> Pairs:
    """Fetch the old vectors of a sample; articles without one in the old table are left out."""
    subject = sample.subject
    keys = sample.rows.select(subject.keys)
    rows = store.fetch(subject.source, keys, values=[subject.source_vector])
    if not pa.types.is_fixed_size_list(rows.column(subject.source_vector).type):
        return _nothing(subject)
    rows = rows.filter(pc.is_valid(rows.column(subject.source_vector)))
    rows = rows.filter(pa.array(comparable("cosine", matrix(rows.column(subject.source_vector)))))
    old = dict(zip(row_keys(subject.source, rows), matrix(rows.column(subject.source_vector)), strict=True))
    both = [(at, old[key]) for at, key in enumerate(sample.keys()) if key in old]
    if not both:
        return _nothing(subject)
    places = [at for at, _ in both]
    groups: list[Any] = [0] * len(sample.lengths)
    if subject.groups is not None:
        groups = [each or 0 for each in sample.rows.column(subject.groups).to_pylist()]
    rows = sample.key_rows()
    old_vectors, new_vectors = np.stack([vector for _, vector in both]), sample.vectors()[places]
    return Pairs(old_vectors, new_vectors, [groups[at] for at in places], [rows[at] for at in places])


def _nothing(subject: Subject) -> Pairs:
    return Pairs(np.empty((0, 1), np.float32), np.empty((0, subject.dimension), np.float32), [], [])


def projection(pairs: Pairs) -> dict[str, Any]:
    """The record's ``projection``: both sides by their first two principal components."""
    points, explained = {}, {}
    for name, vectors in (("old", pairs.old), ("new", pairs.new)):
        flat, explained[name] = principal(vectors)
        coloured = zip(flat.round(5).tolist(), pairs.groups, strict=True)
        points[name] = [[x, y, group] for (x, y), group in coloured]
    return {**points, "explained": explained}


def principal(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """The first two principal components of vectors (shape (n, dimension)): points of shape (n, 2), and their share.

    The share is that of the variance. Each component points to the side of its largest loading, so that it is the same
    in every run.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, scales, axes = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(vectors), 2))
    some = min(2, len(scales))
    signs = np.sign(axes[np.arange(some), np.abs(axes[:some]).argmax(axis=1)])
    points[:, :some] = left[:, :some] * scales[:some] * signs
    total = float(np.square(scales).sum())
    return points, float(np.square(scales[:some]).sum()) / total if total else 0.0
