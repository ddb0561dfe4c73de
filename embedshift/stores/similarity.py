"""Scores of search results: the similarities of vectors, and what a server reports for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def from_similarity(metric: str, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """The server's similarity, which is between 0 and 1, as the score of ``model.Hit``.

    Cassandra reports (1 + cos) / 2, (1 + dot) / 2 and 1 / (1 + squared distance).
    """
    precise = scores.astype(np.float64)
    return 1 - 1 / precise if metric == "euclidean" else 2 * precise - 1


def similarities(metric: str, query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The exact scores of ``model.Hit``.

    Args:
        metric: as in the index settings.
        query: shape (dimension,).
        vectors: shape (n, dimension).

    Returns:
        Shape (n,); a greater score is nearer.
    """
    one, many = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(-np.square(many - one).sum(axis=1))
    scores = many @ one
    if metric == "cosine":
        scores /= np.linalg.norm(many, axis=1) * np.linalg.norm(one)
    return np.asarray(scores)


def indexable(metric: str, vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which vectors have a similarity at all: those that are finite, and for the metric cosine not zero.

    Args:
        metric: as in the index settings.
        vectors: shape (n, dimension).

    Returns:
        Shape (n,).
    """
    finite = np.isfinite(vectors).all(axis=1)
    return np.asarray(finite & vectors.any(axis=1) if metric == "cosine" else finite)
