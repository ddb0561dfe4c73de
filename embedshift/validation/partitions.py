"""The exact neighbours of articles among those of their own partition: all that a local index can find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.stores.model import TOKEN
from embedshift.tokens import MIN_TOKEN, TokenRange
from embedshift.validation.exact_knn import Floats, Keys, Nearest
from embedshift.validation.sample import Sample
from embedshift.validation.table_pair import Subject, row_keys

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class InPartitions:
    """The neighbours of n probes, each within its partition (``exact_knn.Neighbours``)."""

    probes: NDArray[np.float32]
    scores: Floats
    keys: Keys

    def ranked(self) -> tuple[Floats, Keys]:
        """Scores and keys, best first, shape (n, k)."""
        return self.scores, self.keys


def nearest_in_partitions(store: Store, subject: Subject, sample: Sample, k: int) -> InPartitions:
    """Read the partition of each article of a sample, and find the article's k nearest in it."""
    found = [_nearest(store, subject, sample, at, k) for at in range(sample.rows.num_rows)]
    ranked = [each.ranked() for each in found]
    probes = np.concatenate([each.probes for each in found]) if found else np.empty((0, subject.dimension), np.float32)
    scores = np.concatenate([scores for scores, _ in ranked]) if ranked else np.empty((0, k), np.float32)
    keys = np.concatenate([keys for _, keys in ranked]) if ranked else np.empty((0, k), object)
    return InPartitions(probes, scores, keys)


def _nearest(store: Store, subject: Subject, sample: Sample, at: int, k: int) -> Nearest:
    nearest = Nearest(subject.metric, sample.vectors()[at : at + 1], k)
    partition = [key.name for key in subject.target.keys if key.role == "partition"]
    mine = tuple(sample.rows.column(name)[at] for name in partition)
    token = sample.rows.column(TOKEN)[at].as_py()
    within = TokenRange(max(MIN_TOKEN, token - 1), token)
    values = [subject.target_vector]
    for rows in store.scan(subject.target, within, values=values, batch_rows=_ROWS_AT_ONCE):
        # Two partitions may have one token.
        same = [
            row
            for row in range(rows.num_rows)
            if rows.column(values[0])[row].is_valid and tuple(rows.column(name)[row] for name in partition) == mine
        ]
        some = rows.take(same)
        if some.num_rows:
            nearest.update(matrix(some.column(values[0])), row_keys(subject.target, some))
    return nearest
