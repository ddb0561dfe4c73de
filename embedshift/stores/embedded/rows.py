"""Rows: scan, fetch, write, delete."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.errors import SchemaError
from embedshift.stores.embedded.cell_sql import deletion, key, row_alive, rows_table, selected, upsert
from embedshift.stores.embedded.columns import batch_schema, to_batch
from embedshift.stores.embedded.connection import Connections, rows_of
from embedshift.stores.embedded.schema import next_sequence
from embedshift.stores.model import Rejection, Table, WrittenIf, write_time
from embedshift.tokens import TokenRange

# What turns batches into rows is imported where rows are written or fetched: it needs pyarrow.compute, which would take
# a tenth of the time of a command that only looks at the store.
#: Rows of a scan's first batch, and the bytes at which its later batches aim.
_ROWS_FIRST, _BATCH_BYTES = 256, 8 * 1024 * 1024


class Reading:
    """What a scan or a fetch reads of a table: the parts of its SQL, and the schema of its batches.

    Args:
        table: as the store describes it now, with every cell that keeps a row alive.
        values, times: as ``Store.scan`` takes them.

    Raises:
        SchemaError: the table has no such column, or it is a key.
    """

    def __init__(self, table: Table, values: Sequence[str], times: Sequence[str]) -> None:
        others = {c.name: c for c in table.others}
        for name in (*values, *times):
            if name not in others:
                raise SchemaError(
                    f"table {table.name} has no column {name} outside its key", hint="see its description"
                )
        values, times = list(dict.fromkeys(values)), list(dict.fromkeys(times))
        self.schema = batch_schema(table, values, times)
        types = ["bigint", *(c.type for c in table.keys), *(others[name].type for name in values)]
        self.types = [*types, *["bigint", "int"] * len(times)]
        self.keys = [key(c.name) for c in table.keys]
        self.columns = selected(table, values, times)
        self.source = rows_table(table.name)
        self.select = f"SELECT {self.columns} FROM {self.source}"
        self.alive = row_alive(table)


def now_s() -> int:
    """The present time in seconds since the epoch, by which cells expire."""
    return int(time.time())


def scan(
    connections: Connections,
    table: Table,
    within: TokenRange,
    *,
    values: Sequence[str],
    times: Sequence[str],
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Live rows of a token range in token order (``contract.Store.scan``).

    Every batch is a separate short read, so that a long scan does not stop SQLite from checkpointing its log.
    """
    reading = Reading(table, values, times)
    order = ", ".join(["token", *reading.keys])
    after = ", ".join(f":k{at}" for at in range(len(reading.keys)))
    tail = f"token <= :end AND {reading.alive} ORDER BY {order} LIMIT :limit"
    first = f"{reading.select} WHERE token > :start AND {tail}"
    following = f"{reading.select} WHERE ({order}) > (:start, {after}) AND {tail}"
    limit = min(batch_rows, _ROWS_FIRST)
    place: dict[str, Any] = {"start": within.start, "end": within.end}
    statement = first
    while True:
        with connections.borrow() as connection:
            rows = rows_of(connection, statement, {**place, "limit": limit, "now": now_s()})
        ended = len(rows) < limit
        if rows:
            batch = to_batch(reading.schema, reading.types, rows)
            # As many rows as fill a batch in bytes: memory is limited by bytes, not by rows.
            limit = max(1, min(batch_rows, 4 * limit, _BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
            yield batch
        if ended:
            return
        statement = following
        place["start"] = rows[-1][0]
        place |= {f"k{at}": value for at, value in enumerate(rows[-1][1 : 1 + len(reading.keys)])}


def fetch(
    connections: Connections, table: Table, keys: pa.RecordBatch, values: Sequence[str], times: Sequence[str]
) -> pa.RecordBatch:
    """The live rows of these keys (``contract.Store.fetch``)."""
    from embedshift.stores.embedded.batch import keys_of

    reading = Reading(table, values, times)
    wanted = " AND ".join(["token = :token", *(f"{name} = :k{at}" for at, name in enumerate(reading.keys))])
    statement = f"{reading.select} WHERE {wanted} AND {reading.alive}"
    now = now_s()
    rows: list[tuple[Any, ...]] = []
    with connections.borrow() as connection:
        for token, *parts in dict.fromkeys(keys_of(table, keys)):
            place = {"now": now, "token": token, **{f"k{at}": part for at, part in enumerate(parts)}}
            rows += rows_of(connection, statement, place)
    return to_batch(reading.schema, reading.types, rows)


def write(connections: Connections, table: Table, rows: pa.RecordBatch) -> list[Rejection]:
    """Write a batch in one transaction (``contract.Store.write``)."""
    from embedshift.stores.embedded.batch import WriteBatch

    batch = WriteBatch(table, rows, now_s())
    if batch.rows:
        statement = upsert(table, batch.columns)
        with connections.transaction() as connection:
            sequence = next_sequence(connection, table.name)
            connection.executemany(statement, ((sequence, *row) for row in batch.rows))
    return batch.rejections


def write_if(connections: Connections, table: Table, rows: pa.RecordBatch, seen: pa.RecordBatch) -> WrittenIf:
    """Write where a row is still as it was seen, in one transaction (``contract.Store.write_if``)."""
    from embedshift.stores.embedded.batch import WriteBatch, keys_of

    expected = [column.name for column in table.others if column.name in seen.schema.names]
    written = [column.name for column in table.others if column.name in rows.schema.names]
    reading = Reading(table, expected, ())
    wanted = " AND ".join(["token = :token", *(f"{name} = :k{at}" for at, name in enumerate(reading.keys))])
    statement = f"{reading.select} WHERE {wanted} AND {reading.alive}"
    with connections.transaction() as connection:
        applied = np.zeros(rows.num_rows, np.bool_)
        for row, (token, *parts) in enumerate(keys_of(table, rows)):
            place = {"now": now_s(), "token": token, **{f"k{at}": part for at, part in enumerate(parts)}}
            found = to_batch(reading.schema, reading.types, rows_of(connection, statement, place))
            one = seen.slice(row, 1)
            applied[row] = found.num_rows == 1 and all(found.column(n).equals(one.column(n)) for n in expected)
        now = pa.array(np.full(rows.num_rows, time.time_ns() // 1000, np.int64))
        for name in written:
            rows = rows.append_column(write_time(name), now)
        batch = WriteBatch(table, rows.filter(pa.array(applied)), now_s(), makes_rows=False)
        if batch.rows:
            sequence = next_sequence(connection, table.name)
            connection.executemany(upsert(table, batch.columns), ((sequence, *row) for row in batch.rows))
    places = np.flatnonzero(applied).tolist()
    return WrittenIf(applied, [Rejection(places[each.row], each.reason) for each in batch.rejections])


def delete(connections: Connections, table: Table, keys: pa.RecordBatch, write_times: NDArray[np.int64]) -> None:
    """Delete whole rows in one transaction (``contract.Store.delete``)."""
    from embedshift.stores.embedded.batch import keys_of

    rows = list(zip(keys_of(table, keys), write_times.tolist(), strict=True))
    if rows:
        with connections.transaction() as connection:
            sequence = next_sequence(connection, table.name)
            connection.executemany(deletion(table), ((sequence, *parts, moment) for parts, moment in rows))
