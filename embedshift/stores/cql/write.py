"""Writing and deleting rows, each cell at its own time.

Cells of one row with the same write time and TTL are written by one statement. Values go from the Arrow buffers to the
wire as bytes, without the driver's own binding, which makes a Python object of each float of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cassandra.query import UNSET_VALUE
from numpy.typing import NDArray

from embedshift.errors import InputError
from embedshift.stores.cql import inflight
from embedshift.stores.cql.batch import (
    DEFAULT_TTL,
    NO_TTL,
    UNWRITTEN,
    Cells,
    WriteBatch,
    aligned,
    keys_of,
    slices,
    wire_values,
)
from embedshift.stores.cql.quoting import listed, qualified, quote
from embedshift.stores.cql.session import WRITE, CqlConnection, bound
from embedshift.stores.model import MIN_WRITE_TIME_US, Rejection, Table, WrittenIf, remaining_ttl


class Writing:
    """Statements over a table's key and some of its other columns.

    Args:
        keyspace: of the table.
        table: the table as described.
        regular: the regular columns to write.
        static: the static columns to write.
    """

    def __init__(self, keyspace: str, table: Table, regular: Sequence[str], static: Sequence[str]) -> None:
        self._table = qualified(keyspace, table.name)
        self._key = [column.name for column in table.keys]
        self._partition = [column.name for column in table.keys if column.role == "partition"]
        self._regular, self._static = list(regular), list(static)

    @property
    def insert(self) -> str:
        """Values: the key, the regular columns, a time in microseconds, a TTL in seconds (0: none)."""
        names = [*self._key, *self._regular]
        return self._insert(names) + " USING TIMESTAMP ? AND TTL ?"

    @property
    def insert_static(self) -> str:
        """Values: the partition key, the static columns, a time, a TTL. Makes no row."""
        return self._insert([*self._partition, *self._static]) + " USING TIMESTAMP ? AND TTL ?"

    @property
    def update(self) -> str:
        """Values: a time, a TTL, the regular columns, the key. Makes no row marker."""
        changes = ", ".join(f"{quote(name)} = ?" for name in self._regular)
        return f"UPDATE {self._table} USING TIMESTAMP ? AND TTL ? SET {changes} WHERE {_equal(self._key)}"

    def update_if(self, expected: Sequence[str]) -> str:
        """Values: a TTL, the regular columns, the key, what ``expected`` columns are now. Makes no row."""
        changes = ", ".join(f"{quote(name)} = ?" for name in self._regular)
        condition = _equal(expected) if expected else "EXISTS"
        return f"UPDATE {self._table} USING TTL ? SET {changes} WHERE {_equal(self._key)} IF {condition}"

    @property
    def marker(self) -> str:
        """Values: the key, a time, a TTL. A row without values."""
        return self._insert(self._key) + " USING TIMESTAMP ? AND TTL ?"

    @property
    def delete(self) -> str:
        """Values: a time, the key."""
        return f"DELETE FROM {self._table} USING TIMESTAMP ? WHERE {_equal(self._key)}"

    @property
    def delete_static(self) -> str:
        """Values: a time, the partition key. Deletes the static columns, no row."""
        return f"DELETE {listed(self._static)} FROM {self._table} USING TIMESTAMP ? WHERE {_equal(self._partition)}"

    def _insert(self, names: list[str]) -> str:
        return f"INSERT INTO {self._table} ({listed(names)}) VALUES ({', '.join('?' * len(names))})"


def _equal(names: Sequence[str]) -> str:
    return " AND ".join(f"{quote(name)} = ?" for name in names)


#: Cassandra's replicas fail at such a vector, without a message, if the metric of the index is the cosine.
DIRECTIONLESS = "the vector has no direction (zeros, or numbers that are not finite), and the index needs one"


def write(
    connection: CqlConnection, table: Table, rows: pa.RecordBatch, floor_us: Callable[[], int | None]
) -> list[Rejection]:
    """Write a batch (``contract.Store.write``).

    Args:
        connection, table, rows: what is written, and where.
        floor_us: before which time the table takes no write, in microseconds; asked if it matters.
    """
    plan = WritePlan(connection, table, WriteBatch(table, rows), floor_us)

    def refused(place: int, reason: str) -> None:
        plan.rejected.setdefault(plan.rows[place], reason)

    def suspect(place: int) -> str:
        return DIRECTIONLESS if any(each.lacks_direction(plan.rows[place]) for each in plan.cells) else ""

    inflight.send(connection, plan.requests, WRITE, doing=f"writing {table.name}", refused=refused, suspect=suspect)
    return [Rejection(row, reason) for row, reason in sorted(plan.rejected.items())]


def delete(connection: CqlConnection, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
    """Delete rows, each at its own time (``contract.Store.delete``)."""
    faults: dict[int, str] = {}
    found = keys_of(table, keys, faults)
    if faults:
        row = min(faults)
        raise InputError(f"row {row} has no key of {table.name}: {faults[row]}")
    static = [column.name for column in table.columns if column.role == "static"]
    statements = Writing(connection.keyspace, table, (), static)
    partitions = sum(column.role == "partition" for column in table.keys)
    by_key = connection.prepare(statements.delete)
    requests = []
    for time, key in zip(slices(np.asarray(write_times).astype(">i8").tobytes(), 8), found, strict=True):
        if None in key:
            requests.append(bound(connection.prepare(statements.delete_static), [time, *key[:partitions]]))
        else:
            requests.append(bound(by_key, [time, *key]))
    inflight.send(connection, requests, WRITE, doing=f"deleting from {table.name}")


def write_if(connection: CqlConnection, table: Table, rows: pa.RecordBatch, seen: pa.RecordBatch) -> WrittenIf:
    """Write where a row is still as it was seen (``contract.Store.write_if``).

    An answer that is lost counts as not applied: whoever asked compares the rows again.
    """
    faults: dict[int, str] = {}
    keys = keys_of(table, rows, faults)
    names = [column.name for column in table.others if column.name in rows.schema.names]
    expected = [column.name for column in table.others if column.name in seen.schema.names]
    statement = connection.prepare(Writing(connection.keyspace, table, names, ()).update_if(expected))
    written = [_bindable(table, rows, name, faults) for name in names]
    conditions = [_bindable(table, seen, name, faults) for name in expected]
    ttls = slices(_ttls(rows, names).astype(">i4").tobytes(), 4)
    places = [row for row in range(rows.num_rows) if row not in faults]
    requests = [
        bound(statement, [ttls[row], *(each[row] for each in written), *keys[row], *(each[row] for each in conditions)])
        for row in places
    ]
    applied = np.zeros(rows.num_rows, np.bool_)

    def answered(place: int, answer: Any) -> None:
        applied[places[place]] = bool(answer and answer[0]["[applied]"])

    def refused(place: int, reason: str) -> None:
        faults.setdefault(places[place], reason)

    inflight.send(connection, requests, WRITE, doing=f"writing {table.name}", answered=answered, refused=refused)
    return WrittenIf(applied, [Rejection(row, reason) for row, reason in sorted(faults.items())])


def _bindable(table: Table, rows: pa.RecordBatch, name: str, faults: dict[int, str]) -> list[bytes | None]:
    column = table.column(name)
    assert column is not None
    return wire_values(aligned(column, rows.column(name), faults))


def _ttls(rows: pa.RecordBatch, names: Sequence[str]) -> NDArray[np.int64]:
    """The longest TTL of each row's cells in seconds, 0 if there is none; shape (n,)."""
    longest = np.zeros(rows.num_rows, np.int64)
    for name in (remaining_ttl(each) for each in names):
        if name in rows.schema.names:
            longest = np.maximum(longest, pc.fill_null(rows.column(name).cast(pa.int64()), 0).to_numpy())
    return longest


class WritePlan:
    """The statements that a batch needs, and the row of each."""

    def __init__(
        self, connection: CqlConnection, table: Table, batch: WriteBatch, floor_us: Callable[[], int | None]
    ) -> None:
        self._connection = connection
        self._floor_us = floor_us
        self._batch = batch
        self._statements = Writing(connection.keyspace, table, list(batch.regular), list(batch.static))
        self._partitions = sum(column.role == "partition" for column in table.keys)
        self.requests: list[Any] = []
        self.rows: list[int] = []
        self.rejected = dict(batch.faults)
        self.cells = cells = list(batch.regular.values())
        whole = np.fromiter((None not in key for key in batch.keys), bool, len(batch.keys))
        good = np.ones(len(whole), bool)
        good[list(batch.faults)] = False
        uniform = _uniform(cells, len(whole)) & whole & good
        if batch.static:
            self._write_static(list(batch.static.values()), good)
        self._write_uniform(cells, uniform)
        for row in np.flatnonzero(whole & good & ~uniform).tolist():
            self._write_groups(cells, row)

    def _add(self, row: int, statement: str, values: list[Any]) -> None:
        self.requests.append(bound(self._connection.prepare(statement), values))
        self.rows.append(row)

    def _write_uniform(self, cells: list[Cells], chosen: NDArray[np.bool_]) -> None:
        """One INSERT per row, without a check of each cell: in most batches this is every row."""
        if not chosen.any():
            return
        statement = self._connection.prepare(self._statements.insert)
        latest = np.stack([each.times for each in cells]).max(axis=0)
        ttls = np.stack([np.where(each.times == UNWRITTEN, 0, each.ttls) for each in cells]).max(axis=0)
        moments = slices(latest.astype(">i8").tobytes(), 8)
        usings = zip(moments, map(_lasting, ttls.tolist()), strict=True)
        values = zip(*(each.bindable for each in cells), strict=True)
        for row, here, key, columns, using in zip(
            range(len(chosen)), chosen.tolist(), self._batch.keys, values, usings, strict=True
        ):
            if here:
                self.requests.append(bound(statement, [*key, *columns, *using]))
                self.rows.append(row)

    def _write_groups(self, cells: list[Cells], row: int) -> None:
        """A row whose cells differ in their times: an INSERT for those that live longest, UPDATEs for the others."""
        key = self._batch.keys[row]
        groups = _groups(cells, row)
        living = [using for using, members in groups.items() if any(cells[at].valued[row] for at in members)]
        marking = max(living, default=None)
        if marking is None:
            self._add(row, self._statements.marker, [*key, *_using(NO_TTL, self._marker_us)])
        for (ttl, time), members in groups.items():
            values, using = _values(cells, row, members), _using(ttl, time)
            if (ttl, time) == marking:
                self._add(row, self._statements.insert, [*key, *values, *using])
            else:
                self._add(row, self._statements.update, [*using, *values, *key])

    @cached_property
    def _marker_us(self) -> int:
        """The write time of a row that has no value: nobody can tell when it was written."""
        return self._floor_us() or MIN_WRITE_TIME_US

    def _write_static(self, cells: list[Cells], good: NDArray[np.bool_]) -> None:
        """The static cells of each partition once, not once for each of its rows."""
        seen = set()
        for row in np.flatnonzero(good).tolist():
            partition = self._batch.keys[row][: self._partitions]
            for (ttl, time), members in _groups(cells, row).items():
                values = _values(cells, row, members)
                request = (partition, ttl, time, tuple(members), *(values[at] for at in members))
                if request not in seen:
                    seen.add(request)
                    self._add(row, self._statements.insert_static, [*partition, *values, *_using(ttl, time)])


def _uniform(cells: Sequence[Cells], rows: int) -> NDArray[np.bool_]:
    """Which rows have one write time and one TTL in all their cells, and at least one value; shape (rows,)."""
    if not cells or not rows:
        return np.zeros(rows, bool)
    times = np.stack([each.times for each in cells])
    ttls = np.stack([each.ttls for each in cells])
    written = times != UNWRITTEN
    first = written.argmax(axis=0), np.arange(rows)
    same = (~written | ((times == times[first]) & (ttls == ttls[first]))).all(axis=0)
    uniform: NDArray[np.bool_] = same & np.stack([each.valued for each in cells]).any(axis=0)
    return uniform


def _groups(cells: Sequence[Cells], row: int) -> dict[tuple[int, int], list[int]]:
    """The cells of a row by (TTL, write time): which of ``cells`` have both."""
    groups: dict[tuple[int, int], list[int]] = {}
    for at, each in enumerate(cells):
        if each.times[row] != UNWRITTEN:
            groups.setdefault((int(each.ttls[row]), int(each.times[row])), []).append(at)
    return groups


def _values(cells: Sequence[Cells], row: int, members: Sequence[int]) -> list[Any]:
    return [each.bindable[row] if at in members else UNSET_VALUE for at, each in enumerate(cells)]


def _using(ttl: int, time: int) -> tuple[bytes, Any]:
    """The values of USING TIMESTAMP and TTL."""
    return time.to_bytes(8, "big", signed=True), _lasting(ttl)


def _lasting(ttl: int) -> Any:
    """A TTL as USING takes it: 0 means none, whatever the table's default; unset means that default."""
    if ttl == DEFAULT_TTL:
        return UNSET_VALUE
    return (0 if ttl == NO_TTL else ttl).to_bytes(4, "big", signed=True)
