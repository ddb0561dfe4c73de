"""Primary keys as bytes, to tell rows apart, and as JSON, to show them to people."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.stores.contract import Column, Table
from jobs.stores.values import key_bytes, to_json


def row_keys(table: Table, rows: pa.RecordBatch) -> list[bytes]:
    """The primary keys of a batch as bytes, equal exactly where the keys are equal."""
    columns = table.keys
    if len(columns) == 1:
        values = rows.column(columns[0].name)
        if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
            plain: list[bytes] = pc.cast(values, pa.binary()).to_pylist()
            return plain
    parts = [[_bytes(column, value) for value in rows.column(column.name).to_pylist()] for column in columns]
    return [_joined(list(key)) for key in zip(*parts, strict=True)]


def hit_key(table: Table, values: Mapping[str, Any]) -> bytes:
    """The primary key of a search result, as ``row_keys`` has it."""
    return _joined([_bytes(column, values[column.name]) for column in table.keys])


def json_keys(table: Table, rows: pa.RecordBatch, most: int) -> list[dict[str, Any]]:
    """The primary keys of the first rows of a batch, as JSON can hold them."""
    names = [(key.name, key.type) for key in table.keys]
    return [
        {name: to_json(type_, row[name]) for name, type_ in names}
        for row in rows.slice(0, most).select([name for name, _ in names]).to_pylist()
    ]


def _bytes(column: Column, value: Any) -> bytes:
    # Floating-point numbers may order the rows of a partition; a partition key cannot hold them.
    return struct.pack(">d", value) if isinstance(value, float) else key_bytes(column.type, value)


def _joined(parts: list[bytes]) -> bytes:
    if len(parts) == 1:
        return parts[0]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
