"""When cells expire: as a moment, since a remaining TTL is wrong as soon as its row has waited."""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from embedshift.stores.model import remaining_ttl

_TTL, _EXPIRY = remaining_ttl("")[:-1], "expiry("


def expiry(column: str) -> str:
    """The name of the column with the moments, int64 seconds since the epoch, at which cells of ``column`` expire."""
    return f"{_EXPIRY}{column})"


def with_expiries(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows that a store has just read, with expiries in place of remaining TTLs."""
    return _renamed(rows, _TTL, _EXPIRY, _moment)


def with_ttls(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows as a store writes them: with remaining TTLs in place of expiries.

    A cell that has expired meanwhile gets its last second: it must not live for ever.
    """
    return _renamed(rows, _EXPIRY, _TTL, _left)


def _moment(left: pa.Array) -> pa.Array:
    if left.null_count == len(left):
        return pa.nulls(len(left), pa.int64())
    return pc.add(pc.cast(left, pa.int64()), _now_s())


def _left(moments: pa.Array) -> pa.Array:
    if moments.null_count == len(moments):
        return pa.nulls(len(moments), pa.int32())
    left = pc.max_element_wise(pc.subtract(moments, _now_s()), 1, skip_nulls=False)
    return pc.cast(left, pa.int32())


def _now_s() -> int:
    return time.time_ns() // 1_000_000_000


def _renamed(rows: pa.RecordBatch, before: str, after: str, convert: Callable[[pa.Array], pa.Array]) -> pa.RecordBatch:
    names, arrays = list(rows.schema.names), list(rows.columns)
    for at, name in enumerate(names):
        if name.startswith(before):
            names[at], arrays[at] = after + name.removeprefix(before), convert(arrays[at])
    return pa.RecordBatch.from_arrays(arrays, names)


def expiry_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a scan's batches with expiries."""
    return pa.schema(
        pa.field(_EXPIRY + field.name.removeprefix(_TTL), pa.int64()) if field.name.startswith(_TTL) else field
        for field in schema
    )
