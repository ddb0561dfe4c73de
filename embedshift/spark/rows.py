"""rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from time import time_ns
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.catalog.vector_table import VectorTable
from embedshift.embedding import DIGEST
from embedshift.errors import SchemaError
from embedshift.stores.cql_types import arrow_type, to_json
from embedshift.stores.model import Column, Table, remaining_ttl, write_time


class Action(IntEnum):
    """What is to be done with a row that travels."""

    END = 0  # no row: the reader's own count, the last of its range
    EMBED = 1
    WRITE = 2
    DELETE = 3
    DEAD = 4
    FAILED = 5  # the stage could not work at all: the range fails, the row does not


# Columns beside those of the table. Parentheses keep them apart from any column a table can have.
ACTION = "action()"
#: End row: the reader's report as JSON. Dead row: the reason.
NOTE = "note()"
#: Milliseconds since the epoch at which the row's TTLs were read.
SCANNED = "scanned()"
#: When a DELETE row is deleted, in microseconds.
DELETED_AT = "deleted_at()"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are carried between two tables, and the schema of the rows on their way."""

    source: VectorTable
    target: VectorTable
    source_table: Table
    target_table: Table

    @property
    def keys(self) -> tuple[Column, ...]:
        """The primary key, the same in both tables."""
        return self.source_table.keys

    @property
    def carried(self) -> tuple[Column, ...]:
        """Non-key columns that are copied as they are: all but the vectors and their digests."""
        made = {self.source.vector, self.target.vector, DIGEST}
        return tuple(c for c in self.source_table.others if c.name not in made)

    @property
    def copies_vectors(self) -> bool:
        """Whether both tables have one model. A table that is repaired from itself has nothing to copy."""
        return self.source.model.fingerprint == self.target.model.fingerprint and not self.in_place

    @property
    def in_place(self) -> bool:
        """Whether a table is repaired from itself."""
        return self.source.table == self.target.table

    @property
    def digests(self) -> tuple[Column, ...]:
        """The digest column of the target, none where the target keeps no digests."""
        return (Column(DIGEST, "blob"),) if self.target.digests else ()

    @property
    def made(self) -> tuple[Column, ...]:
        """What the pipeline makes: the vector, and its digest where the target keeps one."""
        column = self.target_table.column(self.target.vector)
        if column is None:
            raise SchemaError(f"{self.target.table} has no column {self.target.vector}")
        return (column, *self.digests)

    def names(self, rows: pa.RecordBatch) -> list[str]:
        """The primary key of each row as JSON: how catalog and people call a row."""
        columns = [[to_json(key.type, value) for value in rows.column(key.name).to_pylist()] for key in self.keys]
        keys = [key.name for key in self.keys]
        return [json.dumps(dict(zip(keys, values, strict=True))) for values in zip(*columns, strict=True)]

    def schema(self) -> pa.Schema:
        """The Arrow schema of rows on their way.

        Vectors travel packed, as binary of 4 bytes a number: one copy in the JVM instead of one object a number.
        """
        fields = [pa.field(ACTION, pa.int8()), pa.field(NOTE, pa.string()), pa.field(SCANNED, pa.int64())]
        fields += [pa.field(DELETED_AT, pa.int64())]
        fields += [pa.field(key.name, arrow_type(key.type)) for key in self.keys]
        for column in (*self.carried, *self.made):
            packed = column.name == self.target.vector
            fields.append(pa.field(column.name, pa.binary() if packed else arrow_type(column.type)))
            fields.append(pa.field(write_time(column.name), pa.int64()))
            fields.append(pa.field(remaining_ttl(column.name), pa.int32()))
        return pa.schema(fields)


def to_carry(
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
