"""Arrow columns as SQLite values, and back.

Text is TEXT, whole numbers and booleans are INTEGER, and everything else is a BLOB of the bytes that the CQL protocol
would send. So a NaN and a negative zero stay the same (SQLite's REAL keeps neither), and bytes compare as in Cassandra.
Vectors never become Python floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.stores.cql_types import arrow_type, vector_dimension
from embedshift.stores.model import TOKEN, Column, Table, remaining_ttl, write_time

_FLOATS = {"float": ">f4", "double": ">f8"}


def batch_schema(table: Table, values: Sequence[str], times: Sequence[str]) -> pa.Schema:
    """The schema of a scan: token, keys, values, then write time and remaining TTL of each of ``times``."""
    fields = [pa.field(TOKEN, pa.int64())]
    fields += [pa.field(c.name, arrow_type(c.type)) for c in table.keys]
    types = {c.name: arrow_type(c.type) for c in table.others}
    fields += [pa.field(name, types[name]) for name in values]
    for name in times:
        fields += [pa.field(write_time(name), pa.int64()), pa.field(remaining_ttl(name), pa.int32())]
    return pa.schema(fields)


def to_batch(schema: pa.Schema, types: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows of SQLite as a record batch.

    Args:
        schema: a schema of ``batch_schema``.
        types: the CQL type of each of its columns.
        rows: at least one row, with a value for each column.
    """
    columns = zip(*rows, strict=True) if rows else [()] * len(types)
    arrays = [to_arrow(type_, column) for type_, column in zip(types, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def to_arrow(cql_type: str, values: Sequence[Any]) -> pa.Array:
    """SQLite's values of one column as an Arrow array of ``arrow_type(cql_type)``."""
    dimension = vector_dimension(cql_type)
    if dimension is not None:
        floats, empty = _floats(values, dimension, ">f4")
        mask = pa.array(empty) if empty.any() else None
        return pa.FixedSizeListArray.from_arrays(pa.array(floats), type=arrow_type(cql_type), mask=mask)
    if cql_type in _FLOATS:
        floats, empty = _floats(values, 1, _FLOATS[cql_type])
        return pa.array(floats, mask=empty)
    if cql_type == "boolean":
        return pa.array(values, pa.int8()).cast(pa.bool_())
    return pa.array(values, arrow_type(cql_type))


def _floats(blobs: Sequence[bytes | None], width: int, stored: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Blobs of ``width`` big-endian floats as one flat array, and which of them are null (shape (n,))."""
    kind = np.dtype(stored)
    empty = np.fromiter((blob is None for blob in blobs), np.bool_, len(blobs))
    filler = bytes(width * kind.itemsize)
    joined = b"".join([filler if blob is None else blob for blob in blobs])
    return np.frombuffer(joined, kind).astype(kind.newbyteorder("=")), empty


def vectors(blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """Stored vectors as a float32 array of shape (n, dimension)."""
    floats, _ = _floats(blobs, dimension, ">f4")
    return floats.reshape(len(blobs), dimension)


def to_sqlite(column: Column, array: pa.Array) -> list[Any]:
    """One column as SQLite's values.

    Args:
        column: the column, with its type.
        array: of ``arrow_type(column.type)``, as ``aligned`` returns it.
    """
    dimension = vector_dimension(column.type)
    if dimension is not None:
        flat = array.values.slice(array.offset * dimension, len(array) * dimension)
        return _blobs(flat.to_numpy(zero_copy_only=False), dimension, ">f4", array)
    if column.type in _FLOATS:
        flat = array.fill_null(0.0) if array.null_count else array
        return _blobs(flat.to_numpy(zero_copy_only=False), 1, _FLOATS[column.type], array)
    values: list[Any] = array.to_pylist()
    return values


def _blobs(flat: NDArray[Any], width: int, stored: str, array: pa.Array) -> list[bytes | None]:
    data = flat.astype(stored).tobytes()
    size = width * np.dtype(stored).itemsize
    blobs: list[bytes | None] = [data[at : at + size] for at in range(0, len(data), size)]
    if array.null_count:
        for row in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist():
            blobs[row] = None
    return blobs
