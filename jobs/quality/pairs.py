"""The same articles on both sides: their old and new vectors, to search for and to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.quality.exact import comparable
from jobs.quality.keys import row_keys
from jobs.quality.probes import Sample
from jobs.quality.subject import Subject
from jobs.quality.vectors import matrix
from jobs.stores.contract import Store


@dataclass(frozen=True, slots=True)
class Pairs:
    """Vectors of the same articles in both tables, in the same order.

    Args:
        old: shape (n, old dimension), float32.
        new: shape (n, new dimension), float32.
        groups: of each article its text in the subject's column of groups, or 0.
    """

    old: NDArray[np.float32]
    new: NDArray[np.float32]
    groups: list[str | int]

    def __len__(self) -> int:
        return len(self.groups)


def pairs_of(store: Store, sample: Sample) -> Pairs:
    """Fetch the old vectors of a sample; articles that have none there are left out."""
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
    return Pairs(np.stack([vector for _, vector in both]), sample.vectors()[places], [groups[at] for at in places])


def _nothing(subject: Subject) -> Pairs:
    return Pairs(np.empty((0, 1), np.float32), np.empty((0, subject.dimension), np.float32), [])


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

    The share is that of the variance. A component points to the side of its largest loading, so that it stays the same
    from run to run.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, scales, axes = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(vectors), 2))
    some = min(2, len(scales))
    signs = np.sign(axes[np.arange(some), np.abs(axes[:some]).argmax(axis=1)])
    points[:, :some] = left[:, :some] * scales[:some] * signs
    total = float(np.square(scales).sum())
    return points, float(np.square(scales[:some]).sum()) / total if total else 0.0
