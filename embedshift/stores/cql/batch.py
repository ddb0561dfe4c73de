"""A batch to write: checked row by row, its values as bytes of the protocol, its times as numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cassandra.query import UNSET_VALUE
from numpy.typing import NDArray

from embedshift.errors import InputError, SchemaError
from embedshift.stores.cql_types import arrow_type, vector_dimension
from embedshift.stores.model import TOKEN, Column, Table, remaining_ttl, write_time

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
        faults: receives the rows whose value does not fit the column, and the reason; such a value becomes null.

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
    """Each value in the protocol's form, None if it is null.

    Args:
        column: as ``cql_types.arrow_type`` gives it: numbers, text, bytes, booleans, fixed-size lists of float32.
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


#: The write time of a cell that was never written: it has neither a value nor a deletion.
UNWRITTEN = np.iinfo(np.int64).min
#: The TTL of a cell that has none; greater than every TTL.
NO_TTL = np.iinfo(np.int32).max
#: The TTL of a cell whose batch says nothing of TTLs: that of its table.
DEFAULT_TTL = NO_TTL - 1
#: Shorter vectors count as zeros: their squares are 0 in float32.
NEARLY_ZERO = 1e-10
Key = tuple[bytes | None, ...]


class Cells:
    """One column of a batch that is not in the key.

    Attributes:
        bindable: bytes, None for a deletion, UNSET_VALUE if there is no cell.
        times: int64 microseconds, ``UNWRITTEN`` if there is no cell; shape (rows,).
        ttls: int64 seconds, ``NO_TTL`` if there is none, ``DEFAULT_TTL`` if the batch does not say; shape (rows,).
        valued: whether the cell has a value; shape (rows,).
    """

    def __init__(self, column: Column, rows: pa.RecordBatch, faults: dict[int, str]) -> None:
        if write_time(column.name) not in rows.schema.names:
            raise InputError(f"a batch writes {column.name} without {write_time(column.name)}")
        values = aligned(column, rows.column(column.name), faults)
        self._values = values
        self.times: NDArray[np.int64] = _numbers(rows, write_time(column.name), UNWRITTEN)
        said = remaining_ttl(column.name) in rows.schema.names
        self.ttls: NDArray[np.int64] = _numbers(rows, remaining_ttl(column.name), NO_TTL if said else DEFAULT_TTL)
        self.valued: NDArray[np.bool_] = np.asarray(values.is_valid().to_numpy(zero_copy_only=False))
        unwritten = self.times == UNWRITTEN
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


class WriteBatch:
    """A batch to write.

    Args:
        table: as described.
        rows: as ``Store.write`` takes it.

    Attributes:
        keys: each row's primary key. The last parts are None in a row that has only static cells.
        regular: the cells of regular columns, by name.
        static: the cells of static columns, by name.
        faults: the rows that cannot be written, and the reasons.

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
    """Each row's primary key in the protocol's form; rows without one are recorded in ``faults``.

    If the table has static columns, a row without clustering values has only the static cells of its partition.
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
