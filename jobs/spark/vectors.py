"""Vectors as they pass through the JVM: packed, so that a vector is one value and not hundreds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def pack_vectors(vectors: pa.Array) -> pa.Array:
    """Fixed-size lists of float32 as binary of the same bytes; the data is not copied where no row is null."""
    width = vectors.type.list_size * 4
    # A null row has its place in the values, so the offsets run on evenly.
    values = vectors.values.slice(vectors.offset * vectors.type.list_size, len(vectors) * vectors.type.list_size)
    data = np.ascontiguousarray(values.to_numpy(zero_copy_only=False), np.float32)
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * width
    validity = pc.is_valid(vectors)
    packed = pa.Array.from_buffers(
        pa.binary(), len(vectors), [None, pa.py_buffer(offsets), pa.py_buffer(data.view(np.uint8))]
    )
    return packed if vectors.null_count == 0 else pc.if_else(validity, packed, None)


def unpack_vectors(packed: pa.Array, dimension: int) -> pa.Array:
    """The inverse of ``pack_vectors``."""
    filled = packed if packed.null_count == 0 else pc.fill_null(packed, bytes(4 * dimension))
    start = filled.offset
    offsets = np.frombuffer(filled.buffers()[1], np.int32)[start : start + len(filled) + 1]
    data = np.frombuffer(filled.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    if len(data) != len(filled) * dimension * 4:
        raise ValueError(f"packed vectors of {len(data)} bytes are not {len(filled)} of dimension {dimension}")
    mask = None if packed.null_count == 0 else pc.is_null(packed)
    return pa.FixedSizeListArray.from_arrays(pa.array(data.view(np.float32)), dimension, mask=mask)
