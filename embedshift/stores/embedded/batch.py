"""A batch to write: checked row by row, and converted to the parameters of the upsert."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.errors import InputError, SchemaError
from embedshift.stores.cql_types import arrow_type, key_bytes, partition_key, vector_dimension
from embedshift.stores.embedded.cell_sql import DELETED, NO_EXPIRY
from embedshift.stores.embedded.columns import to_sqlite
from embedshift.stores.model import MIN_WRITE_TIME_US, TOKEN, Column, Rejection, Table, remaining_ttl, write_time
from embedshift.tokens import murmur3

_KEY_BYTES_MAX = 65_535


class WriteBatch:
    """A batch to write.

    Args:
        table: as the store describes it now.
        batch: as ``Store.write`` takes it.
        now: the present time in seconds, from which remaining TTLs count.

    Attributes:
        columns: the columns that the batch writes, without the key.
        rows: the parameters of ``cell_sql.upsert`` after the sequence, one tuple for each accepted row.
        rejections: the rows that are not accepted.

    Raises:
        SchemaError: a column is unknown, or a key is missing.
        InputError: a column is of another type, or has no write times.
    """

    def __init__(self, table: Table, batch: pa.RecordBatch, now: int, *, makes_rows: bool = True) -> None:
        self.columns = _written_columns(table, batch)
        faults: dict[int, str] = {}
        keys = [_aligned(c, _named(table, batch, c.name), faults) for c in table.keys]
        cells = [_Cell(c, batch, now, faults) for c in self.columns]
        _note_bad_keys(table, keys, faults)
        kept = batch
        if faults:
            good = pa.array(np.setdiff1d(np.arange(batch.num_rows), list(faults)))
            keys, kept = [each.take(good) for each in keys], batch.take(good)
            cells = [each.take(good) for each in cells]
        self.rejections = [Rejection(row, faults[row]) for row in sorted(faults)]
        # Without a time a marker never wins, so what is not there stays so when its cells are gone.
        unmarked: list[Any] = [None] * kept.num_rows
        parts: list[list[Any]] = [*_marker(cells, kept.num_rows)] if makes_rows else [unmarked, unmarked]
        for each in cells:
            parts += [to_sqlite(each.column, each.values), each.times.to_pylist(), each.expiries.to_pylist()]
        located = _located(table, keys)
        self.rows = [(*place, *row) for place, row in zip(located, zip(*parts, strict=True), strict=True)]


class _Cell:
    """The cells of one column: values, write times (int64), expiries (int64), each null if nothing is written."""

    def __init__(self, column: Column, batch: pa.RecordBatch, now: int, faults: dict[int, str]) -> None:
        self.column = column
        names = batch.schema.names
        if write_time(column.name) not in names:
            raise InputError(f"a batch writes {column.name} without {write_time(column.name)}")
        self.values = _aligned(column, batch.column(column.name), faults)
        self.times = batch.column(write_time(column.name)).cast(pa.int64())
        left = pa.nulls(batch.num_rows, pa.int64())
        if remaining_ttl(column.name) in names:
            left = batch.column(remaining_ttl(column.name)).cast(pa.int64())
        timeless = pc.and_(self.values.is_valid(), self.times.is_null())
        for row in np.flatnonzero(timeless.to_numpy(zero_copy_only=False)).tolist():
            faults.setdefault(row, f"{column.name} has a value without a write time")
        expiries = pc.if_else(self.values.is_valid(), pc.fill_null(pc.add(left, now), NO_EXPIRY), DELETED)
        self.expiries = pc.if_else(self.times.is_valid(), expiries, pa.scalar(None, pa.int64()))

    def take(self, rows: pa.Array) -> _Cell:
        """The cells of these rows."""
        taken = object.__new__(_Cell)
        taken.column = self.column
        taken.values, taken.times = self.values.take(rows), self.times.take(rows)
        taken.expiries = self.expiries.take(rows)
        return taken


def _marker(cells: list[_Cell], rows: int) -> tuple[list[int], list[int]]:
    """Time and expiry of each row's marker: the latest of its cells' times, and the latest of their expiries."""
    if not cells:
        return [MIN_WRITE_TIME_US] * rows, [NO_EXPIRY] * rows
    times = pc.fill_null(pc.max_element_wise(*(each.times for each in cells)), MIN_WRITE_TIME_US)
    lives = [pc.if_else(each.values.is_valid(), each.expiries, pa.scalar(None, pa.int64())) for each in cells]
    unlimited = pc.equal(pc.min_element_wise(*lives), NO_EXPIRY)
    expiries = pc.if_else(unlimited, NO_EXPIRY, pc.max_element_wise(*lives))
    return times.to_pylist(), pc.fill_null(expiries, NO_EXPIRY).to_pylist()


def _written_columns(table: Table, batch: pa.RecordBatch) -> list[Column]:
    names = set(batch.schema.names)
    columns = [c for c in table.others if c.name in names]
    known = {TOKEN, *(c.name for c in table.columns)}
    known |= {form(c.name) for c in columns for form in (write_time, remaining_ttl)}
    if unknown := sorted(names - known):
        raise SchemaError(f"table {table.name} has no column {unknown[0]}", hint="add it, or leave it out")
    return columns


def keys_of(table: Table, batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    """Token and key values of each row, as SQLite holds them. Raises InputError if one cannot be a key."""
    faults: dict[int, str] = {}
    keys = [_aligned(c, _named(table, batch, c.name), faults) for c in table.keys]
    _note_bad_keys(table, keys, faults)
    if faults:
        row = min(faults)
        raise InputError(f"row {row} has no key of table {table.name}: {faults[row]}")
    return _located(table, keys)


def _named(table: Table, batch: pa.RecordBatch, name: str) -> pa.Array:
    if name not in batch.schema.names:
        raise SchemaError(f"a batch for table {table.name} lacks its key column {name}", hint="write whole keys")
    return batch.column(name)


def _note_bad_keys(table: Table, keys: list[pa.Array], faults: dict[int, str]) -> None:
    parts = [c for c in table.keys if c.role == "partition"]
    for column, array in zip(table.keys, keys, strict=True):
        for row in np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist():
            faults.setdefault(row, f"{column.name} is null, and part of the key")
        if not pa.types.is_string(array.type) and not pa.types.is_binary(array.type):
            continue
        sizes = pc.fill_null(pc.binary_length(array), 1).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(sizes > _KEY_BYTES_MAX).tolist():
            faults.setdefault(row, f"{column.name} is longer than {_KEY_BYTES_MAX} bytes")
        if parts == [column]:
            for row in np.flatnonzero(sizes == 0).tolist():
                faults.setdefault(row, f"{column.name} is empty, and the whole partition key")


def _aligned(column: Column, array: pa.Array, faults: dict[int, str]) -> pa.Array:
    """A column of a batch in the Arrow type in which it travels; values that do not fit the type become null.

    Args:
        column: the table's column.
        array: n values; vectors may come as lists of any length.
        faults: receives the rows that do not fit, and the reasons.

    Raises:
        InputError: the whole column is of another type.
    """
    wanted = arrow_type(column.type)
    dimension = vector_dimension(column.type)
    try:
        if dimension is not None and not pa.types.is_fixed_size_list(array.type):
            array = _of_length(column, array, dimension, faults)
        array = array.cast(wanted)
    except pa.ArrowException as error:
        raise InputError(
            f"column {column.name} holds {array.type}, but a {column.type} travels as {wanted} ({error})"
        ) from error
    if dimension is not None and array.values.null_count:
        holes = pa.array([each is not None and None in each for each in array.to_pylist()], pa.bool_())
        _note(faults, holes, f"{column.name} has a null among its numbers")
    if column.type in ("uuid", "timeuuid"):
        _note(faults, pc.not_equal(pc.binary_length(array), 16), f"{column.name} is not a uuid of 16 bytes")
    if column.type == "ascii":
        _note(faults, pc.invert(pc.string_is_ascii(array)), f"{column.name} is not ASCII")
    return array


def _of_length(column: Column, array: pa.Array, dimension: int, faults: dict[int, str]) -> pa.Array:
    wrong = pc.fill_null(pc.not_equal(pc.list_value_length(array), dimension), False)
    _note(faults, wrong, f"{column.name} does not have {dimension} dimensions")
    return pc.if_else(wrong, pa.scalar(None, array.type), array)


def _note(faults: dict[int, str], wrong: pa.Array, reason: str) -> None:
    for row in np.flatnonzero(wrong.fill_null(False).to_numpy(zero_copy_only=False)).tolist():
        faults.setdefault(row, reason)


def _located(table: Table, keys: list[pa.Array]) -> list[tuple[Any, ...]]:
    """Token and key values of each row."""
    parts = [
        [key_bytes(column.type, value) for value in array.to_pylist()]
        for column, array in zip(table.keys, keys, strict=True)
        if column.role == "partition"
    ]
    tokens = murmur3([partition_key(list(row)) for row in zip(*parts, strict=True)]).tolist()
    stored = [to_sqlite(column, array) for column, array in zip(table.keys, keys, strict=True)]
    return list(zip(tokens, *stored, strict=True))
