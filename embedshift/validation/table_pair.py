"""What is validated: a source table, its target, and the properties that the target's vectors should have."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from embedshift.embedding import DIGEST, Template
from embedshift.stores.cql_types import is_many_celled, key_bytes, to_json
from embedshift.stores.model import Column, Table

Metric = Literal["cosine", "euclidean", "dot_product"]


@dataclass(frozen=True, slots=True)
class Subject:
    """The two tables of a validation; plain data, because it is sent to Spark's workers.

    Args:
        source: the live table.
        target: the table that should hold the same articles with the new vectors.
        text: the template of the embedded text.
        source_vector: the source's column of vectors.
        target_vector: the target's column of vectors.
        fingerprint: the fingerprint of the target's model.
        dimension: the dimension of the target's model.
        normalized: whether the target's vectors should have length 1.
        metric: the metric by which the target is searched.
        source_digests: whether the source has a column of digests.
        groups: a text column by which a chart of the articles may be coloured; None if there is none.
    """

    source: Table
    target: Table
    text: str
    source_vector: str
    target_vector: str
    fingerprint: str
    dimension: int
    normalized: bool
    metric: Metric
    source_digests: bool
    groups: str | None = None

    @property
    def keys(self) -> list[str]:
        """The names of the primary key's columns."""
        return [key.name for key in self.target.keys]

    @property
    def text_columns(self) -> list[str]:
        """The columns of the text that are not in the key."""
        keys = self.keys
        return [name for name in Template.parse(self.text).columns if name not in keys]

    @property
    def carried(self) -> list[str]:
        """The columns besides key, vector and digest that both tables have: they are copied with their write times."""
        made = {self.source_vector, self.target_vector, DIGEST}
        theirs = {column.name for column in self.target.others}
        return [column.name for column in self.source.others if column.name in theirs - made]

    @property
    def left_out(self) -> list[str]:
        """The columns of the source that the target does not have: they were added after it was made."""
        theirs = {column.name for column in self.target.columns} | {self.source_vector, DIGEST}
        return [column.name for column in self.source.others if column.name not in theirs]

    @property
    def many_celled(self) -> list[str]:
        """The copied columns that are stored as several cells: their values are compared too."""
        return [c.name for c in self.source.others if c.name in self.carried and is_many_celled(c.type)]

    @property
    def target_digests(self) -> bool:
        """Whether the target has a column of digests; a table that embedshift did not fill has none."""
        return self.target.column(DIGEST) is not None

    @property
    def written(self) -> list[str]:
        """The target's columns that embedding writes."""
        return [self.target_vector, *([DIGEST] if self.target_digests else [])]


def row_keys(table: Table, rows: pa.RecordBatch) -> list[bytes]:
    """The primary keys of a batch as bytes, equal if and only if the keys are equal."""
    columns = table.keys
    if len(columns) == 1:
        values = rows.column(columns[0].name)
        if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
            plain: list[bytes] = pc.cast(values, pa.binary()).to_pylist()
            return plain
    parts = [[_bytes(column, value) for value in rows.column(column.name).to_pylist()] for column in columns]
    return [_joined(list(key)) for key in zip(*parts, strict=True)]


def hit_key(table: Table, values: Mapping[str, Any]) -> bytes:
    """The primary key of a search result, as ``row_keys`` gives it."""
    return _joined([_bytes(column, values[column.name]) for column in table.keys])


def json_keys(table: Table, rows: pa.RecordBatch, most: int) -> list[dict[str, Any]]:
    """The primary keys of the first rows of a batch, as JSON values."""
    names = [(key.name, key.type) for key in table.keys]
    return [
        {name: to_json(type_, row[name]) for name, type_ in names}
        for row in rows.slice(0, most).select([name for name, _ in names]).to_pylist()
    ]


def _bytes(column: Column, value: Any) -> bytes:
    # Floating-point numbers may be clustering columns; a partition key cannot contain them.
    return struct.pack(">d", value) if isinstance(value, float) else key_bytes(column.type, value)


def _joined(parts: list[bytes]) -> bytes:
    if len(parts) == 1:
        return parts[0]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
