"""The columns that a SELECT requests, and how its cells become the columns of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.errors import SchemaError
from embedshift.stores.cql import wire
from embedshift.stores.cql.dialect import Dialect
from embedshift.stores.cql.quoting import listed, qualified, quote
from embedshift.stores.cql.user_types import field_of
from embedshift.stores.cql_types import arrow_type, is_many_celled
from embedshift.stores.model import MIN_WRITE_TIME_US, TOKEN, Column, Table, remaining_ttl, write_time


@dataclass(frozen=True, slots=True)
class _Field:
    """A column of the batch, and its place in the SELECT.

    ``inherits`` are the places of other columns' (write time, TTL): if the cell has a value, it takes the latest.
    ``parts`` are those of the cell's own fields.
    """

    name: str
    type: pa.DataType
    cell: int
    cql_type: str = ""
    inherits: tuple[tuple[int, int], ...] | None = None
    parts: tuple[tuple[int, int], ...] | None = None


class Projection:
    """The columns of a scan: token, primary key, values, write times and remaining TTLs.

    Args:
        table: the table as described.
        dialect: of the server.
        values: non-key columns whose values are read.
        times: non-key columns whose write time and TTL are read.
    """

    def __init__(self, table: Table, dialect: Dialect, values: Sequence[str], times: Sequence[str]) -> None:
        self.table = table
        self._dialect = dialect
        self._cells: list[str] = []
        self._fields: list[_Field] = []
        self._partition = [column.name for column in table.keys if column.role == "partition"]
        self._value(TOKEN, f"token({listed(self._partition)})", "bigint", pa.int64())
        for column in table.keys:
            self._value(column.name, quote(column.name), column.type, arrow_type(column.type))
        for name in values:
            column = _other(table, name)
            self._value(name, quote(name), column.type, arrow_type(column.type))
        for name in times:
            self._times(_other(table, name))
        self.schema = pa.schema([pa.field(each.name, each.type) for each in self._fields])

    @property
    def by_range(self) -> str:
        """The statement for a token range; its values are the range's two tokens."""
        token = f"token({listed(self._partition)})"
        return f"{self.select} WHERE {token} > ? AND {token} <= ?{self._dialect.scan_suffix}"

    @property
    def by_key(self) -> str:
        """The statement for one row; its values are the primary key's."""
        return f"{self.select} WHERE {' AND '.join(f'{quote(column.name)} = ?' for column in self.table.keys)}"

    @property
    def by_partition(self) -> str:
        """The statement for a whole partition's first row; its values are the partition key's."""
        return f"{self.select} WHERE {' AND '.join(f'{quote(name)} = ?' for name in self._partition)} LIMIT 1"

    @property
    def select(self) -> str:
        """``SELECT … FROM keyspace.table``; the keyspace is filled in by ``statement``."""
        return f"SELECT {', '.join(self._cells)} FROM {{table}}"

    def statement(self, text: str, keyspace: str) -> str:
        """One of the statements above for a keyspace."""
        return text.replace("{table}", qualified(keyspace, self.table.name))

    def batch(self, page: wire.Page) -> pa.RecordBatch:
        """The rows of a page, in its order."""
        starts, lengths = wire.cells(page)
        columns: dict[int, pa.Array] = {}

        def cell(at: int, cql_type: str) -> pa.Array:
            if at not in columns:
                columns[at] = wire.column(page, starts[:, at], lengths[:, at], cql_type)
            return columns[at]

        arrays = []
        for each in self._fields:
            if each.inherits is not None:
                pairs = [(cell(time, "bigint"), cell(ttl, "int")) for time, ttl in each.inherits]
                arrays.append(inherited(lengths[:, each.cell] >= 0, pairs, each.type))
            elif each.parts is not None:
                pairs = [(cell(time, "bigint"), cell(ttl, "int")) for time, ttl in each.parts]
                arrays.append(of_fields(pairs, each.type))
            elif each.cql_type == "list<int>" and each.type == pa.int32():
                arrays.append(wire.longest_ttls(cell(each.cell, "blob")))
            else:
                arrays.append(cell(each.cell, each.cql_type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def empty(self) -> pa.RecordBatch:
        """A batch without rows."""
        return pa.RecordBatch.from_arrays([pa.array([], each.type) for each in self._fields], schema=self.schema)

    def _cell(self, expression: str) -> int:
        if expression not in self._cells:
            self._cells.append(expression)
        return self._cells.index(expression)

    def _value(self, name: str, expression: str, cql_type: str, kind: pa.DataType) -> None:
        self._fields.append(_Field(name, kind, self._cell(expression), cql_type))

    def _times(self, column: Column) -> None:
        name, word = column.name, quote(column.name)
        if not is_many_celled(column.type):
            self._value(write_time(name), f"writetime({word})", "bigint", pa.int64())
            self._value(remaining_ttl(name), f"ttl({word})", "int", pa.int32())
        elif column.fields:
            parts = tuple(
                (self._cell(f"writetime({field_of(name, each)})"), self._cell(f"ttl({field_of(name, each)})"))
                for each in column.fields
            )
            self._fields.append(_Field(write_time(name), pa.int64(), parts[0][0], parts=parts))
            self._fields.append(_Field(remaining_ttl(name), pa.int32(), parts[0][1], parts=parts))
        elif (when := self._dialect.time_of_collection(name)) is not None:
            self._value(write_time(name), when, "bigint", pa.int64())
            self._value(remaining_ttl(name), f"ttl({word})", "list<int>", pa.int32())
        else:
            others = [
                (self._cell(f"writetime({quote(other.name)})"), self._cell(f"ttl({quote(other.name)})"))
                for other in self.table.others
                if other.role == column.role and not is_many_celled(other.type)
            ]
            at = self._cell(word)
            self._fields.append(_Field(write_time(name), pa.int64(), at, inherits=tuple(others)))
            self._fields.append(_Field(remaining_ttl(name), pa.int32(), at, inherits=tuple(others)))


def _other(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None or column.role in ("partition", "clustering"):
        known = ", ".join(each.name for each in table.others)
        raise SchemaError(f"{table.name} has no column {name} beside its key", hint=f"it has {known}")
    return column


def inherited(present: np.ndarray, pairs: list[tuple[pa.Array, pa.Array]], kind: pa.DataType) -> pa.Array:
    """The write time (int64) or the TTL (int32) of the latest of other cells; null if this cell is not present."""
    latest = np.full(len(present), MIN_WRITE_TIME_US, np.int64)
    ttls = np.zeros(len(present), np.int64)
    for time, ttl in pairs:
        times = pc.fill_null(time, 0).to_numpy()
        newer = times > latest
        latest = np.where(newer, times, latest)
        ttls = np.where(newer, pc.fill_null(ttl, 0).to_numpy(), ttls)
    if kind == pa.int64():
        return pa.array(latest, mask=~present)
    return pa.array(ttls.astype(np.int32), mask=~present | (ttls == 0))


def of_fields(pairs: list[tuple[pa.Array, pa.Array]], kind: pa.DataType) -> pa.Array:
    """The latest write time (int64) of the fields with a value, or the longest TTL (int32); no TTL if one has none."""
    times = np.stack([pc.fill_null(time, 0).to_numpy() for time, _ in pairs])
    present = np.stack([pc.is_valid(time).to_numpy(zero_copy_only=False) for time, _ in pairs])
    if kind == pa.int64():
        latest = np.where(present, times, np.iinfo(np.int64).min).max(axis=0)
        return pa.array(latest, mask=~present.any(axis=0))
    ttls = np.stack([pc.fill_null(ttl, 0).to_numpy() for _, ttl in pairs])
    endless = (present & (ttls == 0)).any(axis=0)
    return pa.array(ttls.max(axis=0).astype(np.int32), mask=endless | ~present.any(axis=0))
