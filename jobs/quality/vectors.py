"""Vectors of Arrow columns as matrices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.quality.exact import comparable
from jobs.quality.subject import Metric


def matrix(column: pa.Array) -> NDArray[np.float32]:
    """A column of vectors without nulls as one array of shape (rows, dimension)."""
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def with_vectors(
    batches: Iterable[pa.RecordBatch], column: str, metric: Metric
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.float32]]]:
    """The rows of batches whose vector can be searched for, with their vectors; empty batches left out."""
    for rows in batches:
        have = rows.filter(pc.is_valid(rows.column(column)))
        vectors = matrix(have.column(column))
        usable = comparable(metric, vectors)
        if usable.any():
            yield have.filter(pa.array(usable)), vectors[usable]
