"""A table's change log, as ScyllaDB's CDC keeps it: a second table, partitioned by streams, ordered by time.

Column names and their meaning: ScyllaDB's documentation, "The CDC Log Table".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from embedshift.errors import SchemaError
from embedshift.stores.cql.quoting import listed, qualified, quote
from embedshift.stores.cql.schema import exists
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql_types import arrow_type, from_json, is_opaque
from embedshift.stores.model import Column, Table
from embedshift.tokens import TokenRange

_STREAM, _TIME = quote("cdc$stream_id"), quote("cdc$time")
_KEYS_AT_ONCE = 1000


def log_name(table: str) -> str:
    """The name that ScyllaDB gives the log of a table."""
    return f"{table}_scylla_cdc_log"


def names_every_row(connection: CqlConnection, table: Table) -> bool:
    """Whether the table has a log in which every change names its row, by a key that can be read.

    In a table with a clustering key, the deletion of a partition, or of a part of it, names no row.
    """
    plain = all(key.role == "partition" and not is_opaque(key.type) for key in table.keys)
    return plain and exists(connection, log_name(table.name))


def changes(
    connection: CqlConnection, table: Table, within: TokenRange, after_us: int, until_us: int
) -> Iterator[pa.RecordBatch]:
    """Primary keys of the rows that the log names in a span of time, each once per batch.

    A range holds whole streams of the log. On ScyllaDB a stream is on the nodes of its rows, but not in the same range.

    The span is in whole milliseconds, the precision of CQL's time functions. It starts at the beginning of the
    millisecond of ``after_us``, so that no change is between two spans.

    Raises:
        SchemaError: the table has no log, or a key of a type that cannot be read.
    """
    name = log_name(table.name)
    if not exists(connection, name):
        raise SchemaError(
            f"{table.name} has no change log", hint=f"ALTER TABLE {table.name} WITH cdc = {{'enabled': true}}"
        )
    unknown = [key.name for key in table.keys if is_opaque(key.type)]
    if unknown:
        raise SchemaError(f"changes of {table.name} cannot be followed: {unknown[0]} is a {table.keys[0].type}")
    doing = f"reading the change log of {table.name}"
    log = qualified(connection.keyspace, name)
    inside = f"SELECT DISTINCT {_STREAM} AS stream FROM {log} WHERE token({_STREAM}) > ? AND token({_STREAM}) <= ?"
    streams = [row["stream"] for row in connection.rows(inside, (within.start, within.end), doing=doing)]
    query = (
        f"SELECT {listed([key.name for key in table.keys])} FROM {log} WHERE {_STREAM} = ? "
        f"AND {_TIME} >= minTimeuuid(?) AND {_TIME} < minTimeuuid(?)"
    )
    seen: dict[tuple[Any, ...], None] = {}
    for stream in streams:
        for row in connection.rows(query, (stream, after_us // 1000, until_us // 1000), doing=doing):
            # A change of a static column names no row of a partition.
            if all(row[key.name] is not None for key in table.keys):
                seen[tuple(from_json(key.type, row[key.name]) for key in table.keys)] = None
            if len(seen) == _KEYS_AT_ONCE:
                yield _batch(table.keys, seen)
                seen = {}
    if seen:
        yield _batch(table.keys, seen)


def _batch(keys: tuple[Column, ...], rows: dict[tuple[Any, ...], None]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_pydict(
        {key.name: pa.array(column, arrow_type(key.type)) for key, column in zip(keys, columns, strict=True)}
    )
