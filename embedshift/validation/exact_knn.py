"""Exact nearest neighbours: every vector against every probe, in blocks of one matrix product each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedshift.validation.table_pair import Metric

#: Probes in one block: with four thousand rows its scores take 16 MB.
_PROBES_AT_ONCE = 1024
_ROWS_AT_ONCE = 4096
#: Candidates that wait for each probe before they are merged: merging a few costs as much as merging many.
_WAITING = 64
Floats = NDArray[np.float32]
#: Keys of rows: bytes objects, empty if there is no row.
Keys = NDArray[np.object_]


class Neighbours(Protocol):
    """Probes and the rows that are nearest to them."""

    @property
    def probes(self) -> Floats:
        """Shape (n, dimension)."""

    def ranked(self) -> tuple[Floats, Keys]:
        """Scores and keys, best first, shape (n, k)."""


class Nearest:
    """The k best rows so far of each of n probes.

    Scores are those of ``stores.contract.Hit``: a greater score is nearer. Memory: n × k scores and keys, and one
    block.

    Args:
        metric: cosine, dot_product or euclidean.
        probes: shape (n, dimension), float32, finite; for the cosine not zero.
        k: how many rows are kept.
    """

    __slots__ = ("_keys", "_least", "_scores", "_seen", "_waiting", "_waits", "k", "metric", "probes")

    def __init__(self, metric: Metric, probes: Floats, k: int) -> None:
        self.metric: Metric = metric
        self.k = k
        self.probes = _units(probes.astype(np.float32)) if metric == "cosine" else probes.astype(np.float32)
        self._scores: Floats = np.full((len(probes), k), -np.inf, np.float32)
        self._keys: Keys = np.full((len(probes), k), b"", object)
        self._least: Floats = np.full(len(probes), -np.inf, np.float32)
        self._waiting: list[tuple[NDArray[np.int64], Floats, Keys]] = []
        self._waits = self._seen = 0

    def update(self, vectors: Floats, keys: Sequence[bytes]) -> None:
        """Compare rows with every probe.

        Args:
            vectors: shape (m, dimension), float32; rows without a similarity (not finite, or zero for the cosine) are
                left out.
            keys: m keys of rows not seen before.
        """
        if len(self.probes) == 0:
            return
        names = np.empty(len(vectors), object)
        names[:] = keys
        usable = comparable(self.metric, vectors)
        if not usable.all():  # else there is nothing to copy
            vectors, names = vectors[usable], names[usable]
        row = 0
        while row < len(vectors):
            # At first every row is among the best. Soon most rows are worse than those that are kept, and are skipped
            # at once.
            rows = slice(row, row + min(_ROWS_AT_ONCE, max(self.k, self._seen)))
            part = _units(vectors[rows]) if self.metric == "cosine" else vectors[rows]
            for probe in range(0, len(self.probes), _PROBES_AT_ONCE):
                block = np.arange(probe, min(probe + _PROBES_AT_ONCE, len(self.probes)))
                self._enter(block, _scores(self.metric, self.probes[block], part), names[rows])
            self._seen += len(part)
            row = rows.stop

    def _enter(self, probes: NDArray[np.int64], scores: Floats, names: Keys) -> None:
        """Add what is better than the worst kept score; ``scores`` has shape (probes, rows)."""
        # On a flat array: numpy finds the few true values many times faster than in an array with two axes.
        found = np.flatnonzero((scores > self._least[probes, None]).ravel())
        if len(found) == 0:
            return
        probe, row = np.divmod(found, scores.shape[1])
        self._waiting.append((probes[probe], scores.ravel()[found], names[row]))
        self._waits += len(found)
        if self._waits > _WAITING * len(self.probes):
            self._settle()

    def _settle(self) -> None:
        """Merge the waiting candidates into what is kept."""
        if not self._waiting:
            return
        probe, scores, names = (np.concatenate(each) for each in zip(*self._waiting, strict=True))
        self._waiting, self._waits = [], 0
        order = np.argsort(probe, kind="stable")
        live, counts = np.unique(probe, return_counts=True)
        slot = np.repeat(np.arange(len(live)), counts)
        place = np.arange(len(probe)) - np.repeat(np.cumsum(counts) - counts, counts)
        entering = np.full((len(live), int(counts.max())), -np.inf, np.float32)
        entering[slot, place] = scores[order]
        entering_names = np.full(entering.shape, b"", object)
        entering_names[slot, place] = names[order]
        self._keep_best(live, entering, entering_names)

    def _keep_best(self, probes: NDArray[np.int64], scores: Floats, names: Keys) -> None:
        scores = np.concatenate([self._scores[probes], scores], axis=1)
        names = np.concatenate([self._keys[probes], names], axis=1)
        best = np.argpartition(-scores, self.k - 1, axis=1)[:, : self.k]
        self._scores[probes] = np.take_along_axis(scores, best, axis=1)
        self._keys[probes] = np.take_along_axis(names, best, axis=1)
        self._least[probes] = self._scores[probes].min(axis=1)

    def __add__(self, other: Nearest) -> Nearest:
        """The best of two disjoint sets of rows, for the same probes."""
        if (self.metric, self.k, self.probes.shape) != (other.metric, other.k, other.probes.shape):
            raise ValueError("neighbours of different probes cannot be merged")
        both = Nearest(self.metric, self.probes, self.k)
        for each in (self, other):
            each._settle()
            if len(both.probes):
                both._keep_best(np.arange(len(both.probes)), each._scores, each._keys)
        return both

    def ranked(self) -> tuple[Floats, Keys]:
        """Scores and keys, shape (n, k) each, best first; ``-inf`` and ``b""`` if there are fewer rows than k."""
        self._settle()
        order = np.argsort(-self._scores, axis=1, kind="stable")
        return np.take_along_axis(self._scores, order, axis=1), np.take_along_axis(self._keys, order, axis=1)


def comparable(metric: Metric, vectors: Floats) -> NDArray[np.bool_]:
    """Which vectors (shape (m, dimension)) have a similarity: they are finite, and for the cosine not zero."""
    finite = all_finite(vectors)
    return np.asarray(finite & vectors.any(axis=1)) if metric == "cosine" else finite


def all_finite(vectors: Floats) -> NDArray[np.bool_]:
    """Which vectors (shape (m, dimension)) contain neither NaN nor infinity."""
    # A sum is finite only if all numbers are: that leaves few rows, if any, to be checked number by number.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(np.einsum("ij->i", vectors))
    doubtful = np.flatnonzero(~finite)
    finite[doubtful] = np.isfinite(vectors[doubtful]).all(axis=1)
    return np.asarray(finite)


def exact_scores(metric: Metric, probe: Floats, vectors: Floats) -> NDArray[np.float64]:
    """The scores of rows (shape (m, dimension)) for one probe (shape (dimension,)), in double precision."""
    one, many = probe.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(-np.square(many - one).sum(axis=1))
    scores = many @ one
    if metric == "cosine":
        norms = np.linalg.norm(many, axis=1) * np.linalg.norm(one)
        scores = np.divide(scores, norms, out=np.full(len(many), -np.inf), where=norms > 0)
    return np.asarray(scores)


def _scores(metric: Metric, probes: Floats, rows: Floats) -> Floats:
    # Products outside float32's range become infinite or NaN; those are never kept.
    with np.errstate(over="ignore", invalid="ignore"):
        products: Floats = probes @ rows.T
        if metric != "euclidean":
            return products
        squares = np.einsum("ij,ij->i", probes, probes)[:, None] + np.einsum("ij,ij->i", rows, rows)[None, :]
        distances: Floats = np.maximum(squares - 2 * products, np.float32(0))
        return -distances


def _units(vectors: Floats) -> Floats:
    # Scaled by the greatest number first, because the squares of very large or small numbers leave float32's range.
    scaled = vectors / np.abs(vectors).max(axis=1, keepdims=True, initial=np.finfo(np.float32).tiny)
    units: Floats = scaled / np.linalg.norm(scaled, axis=1, keepdims=True).clip(min=np.finfo(np.float32).tiny)
    return units
