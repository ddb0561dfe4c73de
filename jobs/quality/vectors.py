"""Vectors of Arrow columns as matrices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def matrix(column: pa.Array) -> NDArray[np.float32]:
    """A column of vectors without nulls as one array of shape (rows, dimension)."""
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)
