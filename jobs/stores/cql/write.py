"""Writing and deleting rows, each cell at its own time.

Cells of one row that share write time and TTL travel in one statement. Values go from the Arrow buffers to the wire as
bytes; the driver's own binding, which makes each float of a vector an object first, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from cassandra.query import UNSET_VALUE
from numpy.typing import NDArray

from jobs.errors import InputError
from jobs.stores.contract import Rejection, Table
from jobs.stores.cql import flight
from jobs.stores.cql.encode import slices
from jobs.stores.cql.incoming import FOR_EVER, NEVER, Cells, Incoming, keys_of
from jobs.stores.cql.projection import OLDEST
from jobs.stores.cql.session import WRITE, Link, bound
from jobs.stores.cql.statements import Writing

#: Cassandra's replicas fail at such a vector, without a word, where the index goes by angles.
DIRECTIONLESS = "the vector has no direction (zeros, or numbers that are not finite), and the index wants one"


def write(link: Link, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
    """Write a batch (``contract.Store.write``).

    Raises:
        StoreUnavailable: some rows are not acknowledged after all retries.
    """
    plan = _Plan(link, table, Incoming(table, rows))

    def refused(place: int, reason: str) -> None:
        plan.rejected.setdefault(plan.rows[place], reason)

    def suspect(place: int) -> str:
        return DIRECTIONLESS if any(each.lacks_direction(plan.rows[place]) for each in plan.cells) else ""

    flight.send(link, plan.requests, WRITE, doing=f"writing {table.name}", refused=refused, suspect=suspect)
    return [Rejection(row, reason) for row, reason in sorted(plan.rejected.items())]


def delete(link: Link, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
    """Delete rows, each at its own time (``contract.Store.delete``).

    Raises:
        InputError: a row has no key.
        StoreUnavailable: some deletions are not acknowledged after all retries.
    """
    faults: dict[int, str] = {}
    found = keys_of(table, keys, faults)
    if faults:
        row = min(faults)
        raise InputError(f"row {row} has no key of {table.name}: {faults[row]}")
    static = [column.name for column in table.columns if column.role == "static"]
    statements = Writing(link.keyspace, table, (), static)
    partitions = sum(column.role == "partition" for column in table.keys)
    by_key = link.prepare(statements.delete)
    requests = []
    for time, key in zip(slices(np.asarray(write_times).astype(">i8").tobytes(), 8), found, strict=True):
        if None in key:
            requests.append(bound(link.prepare(statements.delete_static), [time, *key[:partitions]]))
        else:
            requests.append(bound(by_key, [time, *key]))
    flight.send(link, requests, WRITE, doing=f"deleting from {table.name}")


class _Plan:
    """The statements that a batch needs, and the row of each."""

    def __init__(self, link: Link, table: Table, batch: Incoming) -> None:
        self._link = link
        self._batch = batch
        self._statements = Writing(link.keyspace, table, list(batch.regular), list(batch.static))
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
        self.requests.append(bound(self._link.prepare(statement), values))
        self.rows.append(row)

    def _write_uniform(self, cells: list[Cells], chosen: NDArray[np.bool_]) -> None:
        """One INSERT a row: the whole of most batches, without a look at the single cell."""
        if not chosen.any():
            return
        statement = self._link.prepare(self._statements.insert)
        latest = np.stack([each.times for each in cells]).max(axis=0)
        ttls = np.stack([np.where(each.times == NEVER, 0, each.ttls) for each in cells]).max(axis=0)
        ttls[ttls == FOR_EVER] = 0
        usings = zip(slices(latest.astype(">i8").tobytes(), 8), slices(ttls.astype(">i4").tobytes(), 4), strict=True)
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
            self._add(row, self._statements.marker, [*key, *_using(FOR_EVER, OLDEST)])
        for (ttl, time), members in groups.items():
            values, using = _values(cells, row, members), _using(ttl, time)
            if (ttl, time) == marking:
                self._add(row, self._statements.insert, [*key, *values, *using])
            else:
                self._add(row, self._statements.update, [*using, *values, *key])

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
    """Which rows have one write time and one TTL in all their cells, and a value among them; shape (rows,)."""
    if not cells or not rows:
        return np.zeros(rows, bool)
    times = np.stack([each.times for each in cells])
    ttls = np.stack([each.ttls for each in cells])
    written = times != NEVER
    first = written.argmax(axis=0), np.arange(rows)
    same = (~written | ((times == times[first]) & (ttls == ttls[first]))).all(axis=0)
    uniform: NDArray[np.bool_] = same & np.stack([each.valued for each in cells]).any(axis=0)
    return uniform


def _groups(cells: Sequence[Cells], row: int) -> dict[tuple[int, int], list[int]]:
    """The cells of a row by (TTL, write time): which of ``cells`` have them."""
    groups: dict[tuple[int, int], list[int]] = {}
    for at, each in enumerate(cells):
        if each.times[row] != NEVER:
            groups.setdefault((int(each.ttls[row]), int(each.times[row])), []).append(at)
    return groups


def _values(cells: Sequence[Cells], row: int, members: Sequence[int]) -> list[Any]:
    return [each.bindable[row] if at in members else UNSET_VALUE for at, each in enumerate(cells)]


def _using(ttl: int, time: int) -> tuple[bytes, bytes]:
    """What follows USING TIMESTAMP and TTL; a TTL of 0 is none, whatever the table's default."""
    lasting = 0 if ttl == FOR_EVER else ttl
    return time.to_bytes(8, "big", signed=True), lasting.to_bytes(4, "big", signed=True)
