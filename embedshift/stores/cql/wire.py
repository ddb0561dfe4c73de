"""Result pages as raw bytes of the protocol, and their cells as Arrow arrays.

The driver makes a Python object of every cell. A scan needs none: the page is kept as it arrived, the positions of its
cells are computed, and Arrow or numpy gathers each column. A cell is ``[int32 length][length bytes]``, big-endian; a
negative length is null (native protocol v4, sections 3 and 4.2.5.2).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from cassandra.protocol import ProtocolHandler, ResultMessage, read_int
from numpy.typing import NDArray

from embedshift.stores.cql_types import vector_dimension

_NUMBERS = {
    "int": ">i4",
    "bigint": ">i8",
    "smallint": ">i2",
    "tinyint": ">i1",
    "timestamp": ">i8",
    "float": ">f4",
    "double": ">f8",
}
_LENGTH = struct.Struct(">i")
#: From how many rows of a page is decided which of its columns vary in length.
ROWS_LOOKED_AT = 8


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as they arrived: ``body`` holds ``rows`` times ``columns`` cells from ``offset`` on."""

    body: bytes
    offset: int
    rows: int
    columns: int


class _RawResult(ResultMessage):  # type: ignore[misc] # the driver ships no types
    def recv_results_rows(self, f: Any, *args: Any) -> None:
        result_metadata = args[2]
        self.recv_results_metadata(f, args[1])
        columns = self.column_metadata or result_metadata
        rows = read_int(f)
        self.column_names = [column[2] for column in columns]
        self.column_types = [column[3] for column in columns]
        self.parsed_rows = [Page(f.getvalue(), f.tell(), rows, len(columns))]


class RawHandler(ProtocolHandler):  # type: ignore[misc] # the driver ships no types
    """Leaves result rows undecoded."""

    message_types_by_opcode: ClassVar[dict[int, Any]] = {
        **ProtocolHandler.message_types_by_opcode,
        _RawResult.opcode: _RawResult,
    }


def pages(_names: Sequence[str], rows: list[Page]) -> list[Page]:
    """The row factory of requests that are read raw."""
    return rows


def listen(session: Any) -> None:
    """Make a session leave rows undecoded for requests whose row factory is ``pages``."""

    def choose(future: Any) -> None:
        if future.row_factory is pages:
            future._protocol_handler = RawHandler

    session.add_request_init_listener(choose)


def join(parts: Sequence[Page]) -> Page:
    """Several pages of the same columns as one."""
    if len(parts) == 1:
        return parts[0]
    body = b"".join(memoryview(part.body)[part.offset :] for part in parts)
    return Page(body, 0, sum(part.rows for part in parts), parts[0].columns)


def cells(page: Page) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each cell starts and how long it is, negative for null: two arrays of shape (rows, columns).

    The end of a row is known only after reading its lengths. This reads the columns whose cells differ in length among
    the first rows. In the other columns all cells are assumed to be as long as in the first row, which is checked
    afterwards. If that is wrong, the page is read again, with the columns in which it was wrong added.

    Raises:
        struct.error: the page ends too soon.
    """
    if page.rows == 0:
        empty = np.empty((0, page.columns), np.int64)
        return empty, empty
    first = _lengths(page, min(page.rows, ROWS_LOOKED_AT))
    varying = set(np.flatnonzero((first != first[0]).any(axis=0)).tolist())
    while True:
        starts, lengths = _located(page, _row_starts(page, first[0], varying), first[0], varying)
        unlike = lengths != first[0]
        unlike[:, list(varying)] = False
        wrong = unlike.any(axis=1)
        if not wrong.any():
            if starts[-1, -1] + max(int(lengths[-1, -1]), 0) > len(page.body):
                raise struct.error("the page ends in the middle of a row")
            return starts, lengths
        # Everything after the first wrong cell was read at a wrong position.
        varying |= set(np.flatnonzero(unlike[wrong.argmax()]).tolist())


def _lengths(page: Page, rows: int) -> NDArray[np.int64]:
    """The lengths of the cells of the first rows, shape (rows, columns), cell by cell."""
    lengths: list[int] = []
    at = page.offset
    for _ in range(rows * page.columns):
        (length,) = _LENGTH.unpack_from(page.body, at)
        lengths.append(length)
        at += 4 + max(length, 0)
    return np.array(lengths, np.int64).reshape(rows, page.columns)


def _row_starts(page: Page, first: NDArray[np.int64], varying: set[int]) -> NDArray[np.int64]:
    """Where each row starts, if only the cells of these columns vary in length; shape (rows,)."""
    *steps, rest = _steps(first, varying)
    if not steps:
        return page.offset + rest * np.arange(page.rows, dtype=np.int64)
    unpack, body, at = _LENGTH.unpack_from, page.body, page.offset
    starts = []
    try:
        for _ in range(page.rows):
            starts.append(at)
            for step in steps:
                at += step
                (length,) = unpack(body, at)
                if length > 0:
                    at += length
            at += rest
    except struct.error:  # beyond the end: a cell before this one is not as long as the first
        starts += [len(body)] * (page.rows - len(starts))
    return np.array(starts, np.int64)


def _steps(first: NDArray[np.int64], varying: set[int]) -> list[int]:
    """Bytes from the data of one varying cell to the length of the next, and after the last one to the row's end."""
    steps, step = [], 0
    for place, length in enumerate(first.tolist()):
        if place in varying:
            steps.append(step)
            step = 4
        else:
            step += 4 + max(length, 0)
    return [*steps, step]


def _located(
    page: Page, at: NDArray[np.int64], first: NDArray[np.int64], varying: set[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of all cells of rows that start at ``at``; the lengths as read at that position."""
    starts = np.empty((page.columns, page.rows), np.int64)
    lengths = np.empty((page.columns, page.rows), np.int64)
    read = _at_any_byte(page, ">i4")
    for place in range(page.columns):
        lengths[place] = read[np.minimum(at, len(read) - 1)]
        starts[place] = at + 4
        at = starts[place] + (np.maximum(lengths[place], 0) if place in varying else max(int(first[place]), 0))
    return starts.T, lengths.T


def _at_any_byte(page: Page, kind: str) -> NDArray[Any]:
    """The page as numbers of a type, one that starts at each byte."""
    size = np.dtype(kind).itemsize
    return np.ndarray((max(0, len(page.body) - size + 1),), kind, page.body, strides=(1,))


def column(page: Page, starts: NDArray[np.int64], lengths: NDArray[np.int64], cql_type: str) -> pa.Array:
    """One column as the Arrow array in which its type travels (``cql_types.arrow_type``).

    Args:
        page: the page.
        starts: the positions of this column's cells, shape (rows,).
        lengths: their lengths, shape (rows,).
        cql_type: the type, as CQL text.
    """
    dimension = vector_dimension(cql_type)
    if dimension is not None:
        data, nulls = _fixed(page, starts, lengths, 4 * dimension)
        floats = pa.array(data.view(">f4").astype(np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(floats, dimension, mask=_mask(nulls))
    if cql_type in _NUMBERS:
        number = np.dtype(_NUMBERS[cql_type])
        # As in ``_fixed``: a cell of another length is read as null.
        nulls = lengths != number.itemsize
        read = _at_any_byte(page, _NUMBERS[cql_type])
        if nulls.all():
            return pa.nulls(len(starts), pa.from_numpy_dtype(number.newbyteorder("=")))
        values = read[np.where(nulls, starts[~nulls][0], starts)] if nulls.any() else read[starts]
        return pa.array(values.astype(number.newbyteorder("=")), mask=nulls if nulls.any() else None)
    if cql_type == "boolean":
        data, nulls = _fixed(page, starts, lengths, 1)
        return pa.array(data.reshape(-1) != 0, mask=nulls)
    return _gathered(page, starts, lengths, pa.string() if cql_type in ("text", "varchar", "ascii") else pa.binary())


def _mask(nulls: NDArray[np.bool_]) -> pa.Array | None:
    return pa.array(nulls) if nulls.any() else None


def _fixed(
    page: Page, starts: NDArray[np.int64], lengths: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Cells of one width as an array of shape (rows, width), and which of them are null.

    A cell of another length is one of the empty values that Thrift allowed; it is read as null, as in the driver.
    """
    nulls = lengths != width
    body = np.frombuffer(page.body, np.uint8)
    if not nulls.any() and len(starts):
        step = int(starts[1] - starts[0]) if len(starts) > 1 else width
        if step >= width and (np.diff(starts) == step).all():
            first = int(starts[0])
            view = np.lib.stride_tricks.as_strided(body[first:], (len(starts), width), (step, 1), writeable=False)
            return np.ascontiguousarray(view), nulls
    binary = _gathered(page, starts, np.where(nulls, 0, lengths), pa.binary())
    found = np.zeros((len(starts), width), np.uint8)
    found[~nulls] = np.frombuffer(binary.buffers()[2] or b"", np.uint8).reshape(-1, width)
    return found, nulls


def _gathered(page: Page, starts: NDArray[np.int64], lengths: NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    """Cells of any length, gathered by Arrow.

    The page itself is the data of an array of twice as many values: each cell, and the gap after it. Taking every
    second value drops the gaps.
    """
    rows = len(starts)
    nulls = lengths < 0
    if rows == 0:
        return pa.array([], kind)
    edges = np.empty(2 * rows, np.int32)
    edges[0::2] = starts
    edges[1::2] = starts + np.maximum(lengths, 0)
    array = pa.Array.from_buffers(kind, 2 * rows - 1, [None, pa.py_buffer(edges), pa.py_buffer(page.body)])
    chosen = pa.array(np.arange(0, 2 * rows, 2), mask=nulls if nulls.any() else None)
    return array.take(chosen)


def longest_ttls(lists: pa.Array) -> pa.Array:
    """The longest of the TTLs of a collection's elements, as ``ttl(c)`` gives them; null if one has no TTL.

    Args:
        lists: binary array of ``list<int>`` in the protocol's form.
    """
    return pa.array([_longest(each) for each in lists.to_pylist()], pa.int32())


def _longest(raw: bytes | None) -> int | None:
    if raw is None:
        return None
    (count,) = _LENGTH.unpack_from(raw, 0)
    longest, at = None, 4
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(raw, at)
        if length < 0:
            return None
        value = int.from_bytes(raw[at + 4 : at + 4 + length], "big", signed=True)
        longest = value if longest is None else max(longest, value)
        at += 4 + length
    return longest
