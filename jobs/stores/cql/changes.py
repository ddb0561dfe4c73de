"""A table's change log, as ScyllaDB's CDC keeps it: a table beside it, partitioned by streams, ordered by time.

Column names and their meaning: ScyllaDB's documentation, "The CDC Log Table".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from jobs.errors import SchemaError
from jobs.stores.contract import Column, Table
from jobs.stores.cql.names import listed, qualified, quote
from jobs.stores.cql.schema import exists
from jobs.stores.cql.session import Link
from jobs.stores.values import arrow_type, from_json, is_opaque
from jobs.tokens import TokenRange

_STREAM, _TIME = quote("cdc$stream_id"), quote("cdc$time")
_KEYS_AT_ONCE = 1000


def log_name(table: str) -> str:
    """How ScyllaDB calls the log of a table."""
    return f"{table}_scylla_cdc_log"


def names_every_row(link: Link, table: Table) -> bool:
    """Whether the table has a log that can be passed on, and in which every change names its row.

    Below a clustering key the deletion of a partition, or of a part of it, names none.
    """
    plain = all(key.role == "partition" and not is_opaque(key.type) for key in table.keys)
    return plain and exists(link, log_name(table.name))


def changes(link: Link, table: Table, within: TokenRange, after_us: int, until_us: int) -> Iterator[pa.RecordBatch]:
    """Primary keys of the rows that the log names in a span of time, each once a batch.

    A range holds whole streams of the log. On ScyllaDB a stream lies where its rows lie, but not in the same range.

    The span goes by whole milliseconds, which is what CQL's functions of time can tell: it reaches back to the start of
    the millisecond of ``after_us``, so that nothing falls between two spans.

    Raises:
        SchemaError: the table has no log, or a key of a type that cannot be passed on.
    """
    name = log_name(table.name)
    if not exists(link, name):
        raise SchemaError(
            f"{table.name} has no change log", hint=f"ALTER TABLE {table.name} WITH cdc = {{'enabled': true}}"
        )
    unknown = [key.name for key in table.keys if is_opaque(key.type)]
    if unknown:
        raise SchemaError(f"changes of {table.name} cannot be followed: {unknown[0]} is a {table.keys[0].type}")
    doing = f"reading the change log of {table.name}"
    log = qualified(link.keyspace, name)
    inside = f"SELECT DISTINCT {_STREAM} AS stream FROM {log} WHERE token({_STREAM}) > ? AND token({_STREAM}) <= ?"
    streams = [row["stream"] for row in link.rows(inside, (within.start, within.end), doing=doing)]
    query = (
        f"SELECT {listed([key.name for key in table.keys])} FROM {log} WHERE {_STREAM} = ? "
        f"AND {_TIME} >= minTimeuuid(?) AND {_TIME} < minTimeuuid(?)"
    )
    seen: dict[tuple[Any, ...], None] = {}
    for stream in streams:
        for row in link.rows(query, (stream, after_us // 1000, until_us // 1000), doing=doing):
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
