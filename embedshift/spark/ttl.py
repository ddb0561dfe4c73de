"""When rows were read: a remaining TTL goes on while a row waits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.stores.model import remaining_ttl

#: Milliseconds since the epoch at which a row was read. Parentheses keep it apart from any column of a table.
READ_AT = "read_at()"
_TTL = remaining_ttl("")[:-1]


def read_now(rows: int) -> pa.Array:
    """The stamps of rows that were read just now."""
    return pa.array(np.full(rows, time.time_ns() // 1_000_000))


def stamped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches of a scan, each row with the time at which it was read."""
    for rows in batches:
        yield rows.append_column(READ_AT, read_now(rows.num_rows))


def stamped_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of stamped batches."""
    return schema.append(pa.field(READ_AT, pa.int64()))


def aged(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows without their stamp, with every remaining TTL as it is now; an expired one is still one second."""
    passed = pc.divide(pc.subtract(time.time_ns() // 1_000_000, rows.column(READ_AT)), 1000)
    rows = rows.remove_column(rows.schema.get_field_index(READ_AT))
    if not pc.any(pc.greater(passed, 0)).as_py():
        return rows
    passed = pc.cast(passed, pa.int32())
    for at, name in enumerate(rows.schema.names):
        if name.startswith(_TTL):
            left = pc.max_element_wise(pc.subtract(rows.column(at), passed), 1, skip_nulls=False)
            rows = rows.set_column(at, name, left)
    return rows
