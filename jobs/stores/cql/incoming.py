"""A batch on its way to the cluster: checked row by row, its values as bytes, its times as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cassandra.query import UNSET_VALUE
from numpy.typing import NDArray

from jobs.errors import InputError, SchemaError
from jobs.stores.contract import TOKEN, Column, Table, remaining_ttl, write_time
from jobs.stores.cql.encode import aligned, wire_values

#: The time of a cell that is not there: neither a value nor a deletion.
NEVER = np.iinfo(np.int64).min
#: The TTL of a cell that has none; greater than every TTL.
FOR_EVER = np.iinfo(np.int32).max

#: Shorter vectors count as zeros: their squares vanish in float32.
NEARLY_ZERO = 1e-10

Key = tuple[bytes | None, ...]


class Cells:
    """One column of a batch beside the key.

    Attributes:
        bindable: bytes, None for a deletion, UNSET_VALUE where there is no cell.
        times: int64 microseconds, ``NEVER`` where there is no cell; shape (rows,).
        ttls: int64 seconds, ``FOR_EVER`` where there is none; shape (rows,).
        valued: whether the cell has a value; shape (rows,).
    """

    def __init__(self, column: Column, rows: pa.RecordBatch, faults: dict[int, str]) -> None:
        if write_time(column.name) not in rows.schema.names:
            raise InputError(f"a batch writes {column.name} without {write_time(column.name)}")
        values = aligned(column, rows.column(column.name), faults)
        self._values = values
        self.times: NDArray[np.int64] = _numbers(rows, write_time(column.name), NEVER)
        self.ttls: NDArray[np.int64] = _numbers(rows, remaining_ttl(column.name), FOR_EVER)
        self.valued: NDArray[np.bool_] = np.asarray(values.is_valid().to_numpy(zero_copy_only=False))
        unwritten = self.times == NEVER
        for row in np.flatnonzero(self.valued & unwritten).tolist():
            faults.setdefault(row, f"{column.name} has a value without a write time")
        self.bindable: list[Any] = wire_values(values)
        for row in np.flatnonzero(unwritten).tolist():
            self.bindable[row] = UNSET_VALUE

    def lacks_direction(self, row: int) -> bool:
        """Whether the cell is a vector of (nearly) zeros, or of numbers that are not finite."""
        if not pa.types.is_fixed_size_list(self._values.type) or not self.valued[row]:
            return False
        with np.errstate(invalid="ignore"):
            length = float(np.linalg.norm(np.array(self._values[row].as_py(), np.float64)))
        return not NEARLY_ZERO < length < np.inf


class Incoming:
    """A batch to write.

    Args:
        table: as described.
        rows: as ``Store.write`` takes it.

    Attributes:
        keys: each row's primary key. The last parts are None in a row that stands for static cells alone.
        regular: the cells of regular columns, by name.
        static: the cells of static columns, by name.
        faults: the rows that cannot be written, and why.

    Raises:
        SchemaError: a column is unknown, or a key column is missing.
        InputError: a column is of another type, or has no write times.
    """

    def __init__(self, table: Table, rows: pa.RecordBatch) -> None:
        _check_names(table, rows)
        self.faults: dict[int, str] = {}
        self.keys = keys_of(table, rows, self.faults)
        names = rows.schema.names
        found = {c.name: Cells(c, rows, self.faults) for c in table.others if c.name in names}
        statics = {c.name for c in table.columns if c.role == "static"}
        self.regular = {name: cells for name, cells in found.items() if name not in statics}
        self.static = {name: cells for name, cells in found.items() if name in statics}


def keys_of(table: Table, rows: pa.RecordBatch, faults: dict[int, str]) -> list[Key]:
    """Each row's primary key in the protocol's form; rows without one are noted in ``faults``.

    A row without clustering values stands for its partition's static cells, where the table has static columns.
    """
    columns = []
    statics = any(column.role == "static" for column in table.columns)
    for column in table.keys:
        if column.name not in rows.schema.names:
            raise SchemaError(f"a batch for {table.name} lacks its key column {column.name}", hint="write whole keys")
        values = aligned(column, rows.column(column.name), faults)
        if values.null_count and not (statics and column.role == "clustering"):
            for row in np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)).tolist():
                faults.setdefault(row, f"{column.name} is null, and part of the key")
        columns.append(wire_values(values))
    return list(zip(*columns, strict=True))


def _check_names(table: Table, rows: pa.RecordBatch) -> None:
    known = {TOKEN, *(column.name for column in table.columns)}
    known |= {form(column.name) for column in table.others for form in (write_time, remaining_ttl)}
    unknown = sorted(set(rows.schema.names) - known)
    if unknown:
        raise SchemaError(f"{table.name} has no column {unknown[0]}", hint="add it, or leave it out")


def _numbers(rows: pa.RecordBatch, name: str, missing: int) -> NDArray[np.int64]:
    if name not in rows.schema.names:
        return np.full(rows.num_rows, missing, np.int64)
    whole = pc.fill_null(rows.column(name).cast(pa.int64()), missing)
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.int64)
