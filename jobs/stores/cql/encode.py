"""Arrow columns as the bytes that CQL binds, a whole column at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import InputError
from jobs.stores.contract import Column
from jobs.stores.values import arrow_type, vector_dimension

_BIG_ENDIAN = {
    pa.int8(): ">i1",
    pa.int16(): ">i2",
    pa.int32(): ">i4",
    pa.int64(): ">i8",
    pa.float32(): ">f4",
    pa.float64(): ">f8",
}


def aligned(column: Column, values: pa.Array, faults: dict[int, str]) -> pa.Array:
    """A column of a batch in the Arrow type in which it travels.

    Args:
        column: the table's column.
        values: what a batch holds for it.
        faults: takes the rows whose value cannot be the column's, and why; such a value becomes null.

    Raises:
        InputError: the whole column is of another type.
    """
    wanted = arrow_type(column.type)
    dimension = vector_dimension(column.type)
    if values.type == wanted:
        return values
    if dimension is not None and pa.types.is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), dimension).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(lengths != dimension).tolist():
            faults.setdefault(row, f"{column.name} has {lengths[row]} dimensions, not {dimension}")
        values = pc.if_else(pa.array(lengths == dimension), values, pa.scalar(None, values.type))
    try:
        return values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{column.name} is a {column.type}, and the batch holds {values.type} for it") from error


def wire_values(column: pa.Array) -> list[bytes | None]:
    """Each value as the protocol has it, None where it is null.

    Args:
        column: as ``values.arrow_type`` gives it: numbers, text, bytes, booleans, fixed-size lists of float32.
    """
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        floats = column.values.slice(column.offset * kind.list_size, len(column) * kind.list_size)
        packed = slices(floats.to_numpy(zero_copy_only=False).astype(">f4").tobytes(), 4 * kind.list_size)
    elif kind in _BIG_ENDIAN:
        number = np.dtype(_BIG_ENDIAN[kind])
        plain = column.fill_null(0) if column.null_count else column
        packed = slices(plain.to_numpy(zero_copy_only=False).astype(number).tobytes(), number.itemsize)
    elif pa.types.is_boolean(kind):
        plain = column.fill_null(False).to_numpy(zero_copy_only=False)
        packed = slices(plain.astype(np.uint8).tobytes(), 1)
    else:
        _, offsets, data = column.buffers()
        edges = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset).tolist()
        view = memoryview(data) if data is not None else memoryview(b"")
        packed = [bytes(view[start:end]) for start, end in pairwise(edges)]
    if not column.null_count:
        return list(packed)
    valid = column.is_valid().to_pylist()
    return [value if here else None for value, here in zip(packed, valid, strict=True)]


def slices(data: bytes, width: int) -> list[bytes]:
    """Bytes cut into pieces of one width."""
    return [data[at : at + width] for at in range(0, len(data), width)]
