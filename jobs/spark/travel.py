"""Rows on their way from a reader to its writer, in the schema of ``Layout.schema``."""

from __future__ import annotations

from time import time_ns
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.spark.transfer import ACTION, NOTE, SCANNED, Action, Layout


def travelling(
    layout: Layout, rows: pa.RecordBatch, action: Action | pa.Array, columns: dict[str, pa.Array]
) -> pa.RecordBatch:
    """Rows with what is to be done with them.

    Args:
        rows: their primary keys.
        action: of all of them, or of each.
        columns: what else travels; the rest is null.
    """
    schema = layout.schema()
    if isinstance(action, Action):
        action = pa.array(np.full(rows.num_rows, int(action), np.int8))
    columns = {
        **{key.name: rows.column(key.name) for key in layout.keys},
        **columns,
        ACTION: action,
        SCANNED: pa.array(np.full(rows.num_rows, time_ns() // 1_000_000)),
    }
    arrays = [columns.get(each.name) for each in schema]
    return pa.RecordBatch.from_arrays(
        [
            pa.nulls(rows.num_rows, each.type) if array is None else _typed(array, each.type)
            for array, each in zip(arrays, schema, strict=True)
        ],
        schema=schema,
    )


def end_row(layout: Layout, note: str) -> pa.RecordBatch:
    """The last row of a range: no article, but the reader's report."""
    schema = layout.schema()
    values: dict[str, Any] = {ACTION: int(Action.END), NOTE: note}
    return pa.RecordBatch.from_arrays([pa.array([values.get(f.name)], f.type) for f in schema], schema=schema)


def _typed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)
