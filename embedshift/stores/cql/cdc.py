"""A table's change log, as ScyllaDB's CDC keeps it: a second table, partitioned by streams, ordered by time.

Column names and their meaning: ScyllaDB's documentation, "The CDC Log Table".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
from cassandra.util import unix_time_from_uuid1

from embedshift.errors import NotPermitted, SchemaError
from embedshift.stores.cql.dialect import is_class
from embedshift.stores.cql.quoting import listed, qualified, quote
from embedshift.stores.cql.schema import exists
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql_types import arrow_type, from_json, is_opaque
from embedshift.stores.model import Column, Table
from embedshift.times import now_us
from embedshift.tokens import TokenRange

_STREAM, _TIME = quote("cdc$stream_id"), quote("cdc$time")
_KEYS_AT_ONCE = 1000
#: The classes of vector indexes, in lower case: ScyllaDB takes the names of Cassandra's class for its own.
INDEX_CLASSES = frozenset({"vector_index", "storageattachedindex", "sai"})
#: How long a log keeps a change if nobody has said otherwise (ScyllaDB's documentation, "Advanced column types").
TTL_S = 86_400
#: Old streams are collected some time after the TTL; until then this is more than enough.
_COLLECTED_US = 3_600_000_000


def log_name(table: str) -> str:
    """The name that ScyllaDB gives the log of a table."""
    return f"{table}_scylla_cdc_log"


def has_log(connection: CqlConnection, table: str) -> bool:
    """Whether there is a table of the log, which stays when the log is switched off."""
    return exists(connection, log_name(table))


def is_on(connection: CqlConnection, table: str) -> bool:
    """Whether changes of the table are logged now: by its own option, or since it has a vector index."""
    return _is_enabled(connection, table) or bool(_indexes_made(connection, table))


def log_began(connection: CqlConnection, table: str) -> int | None:
    """Since when, in microseconds, the log of a table is whole: nothing older may be written; None if there is none.

    The server's table of streams says it. A user who may not read that gets the time of the newest index, or what the
    log's TTL leaves of the time since.
    """
    if not is_on(connection, table):
        return None
    query = "SELECT timestamp FROM system.cdc_timestamps WHERE keyspace_name = ? AND table_name = ?"
    try:
        found = connection.rows(query, (connection.keyspace, table), doing=f"asking since when {table} has a log")
    except (SchemaError, NotPermitted):
        found = []
    if found:
        return min(_microseconds(row["timestamp"]) for row in found)
    made = _indexes_made(connection, table)
    kept_since_us = now_us() - _ttl_us(connection, table) + _COLLECTED_US
    return max([kept_since_us, *made])


def lacks(connection: CqlConnection, table: Table, since_us: int) -> str:
    """Why the log cannot name every row that was written or deleted since; empty if it can.

    In a table with a clustering key, the deletion of a partition, or of a part of it, names no row.
    """
    if not all(key.role == "partition" and not is_opaque(key.type) for key in table.keys):
        return f"deletions in {table.name} need not name a row"
    if not has_log(connection, table.name):
        return f"{table.name} has no change log"
    began_us = log_began(connection, table.name)
    if began_us is None:
        return f"the change log of {table.name} is switched off"
    made = _indexes_made(connection, table.name)
    if not made:
        # Nobody can tell whether the option was off for a while: the streams are the same afterwards.
        return f"the change log of {table.name} may be switched off and on: only a vector index keeps it on"
    # Before the oldest index it may have been silent, with the same streams.
    began_us = max(began_us, min(made))
    if began_us >= since_us:
        return f"the change log of {table.name} began later"
    if now_us() - since_us >= _ttl_us(connection, table.name):
        return f"the change log of {table.name} does not keep its rows so long"
    return ""


def _is_enabled(connection: CqlConnection, table: str) -> bool:
    return _option(connection, table).get("enabled", "").lower() == "true"


def _option(connection: CqlConnection, table: str) -> dict[str, str]:
    query = "SELECT cdc FROM system_schema.scylla_tables WHERE keyspace_name = ? AND table_name = ?"
    try:
        found = connection.rows(query, (connection.keyspace, table), doing=f"asking whether {table} has a log")
    except SchemaError:
        return {}  # not a ScyllaDB
    return dict(found[0]["cdc"] or {}) if found else {}


def _ttl_us(connection: CqlConnection, table: str) -> int:
    """How long the log keeps a change, in microseconds; a TTL of 0 means for ever."""
    seconds = int(_option(connection, table).get("ttl") or TTL_S)
    return seconds * 1_000_000 if seconds else now_us()


def _indexes_made(connection: CqlConnection, table: str) -> list[int]:
    """When each vector index of the table was created, in microseconds; 0 if the server does not say."""
    query = "SELECT table_name, options FROM system_schema.indexes WHERE keyspace_name = ?"
    rows = connection.rows(query, (connection.keyspace,), doing=f"looking for an index of {table}")
    options = [row["options"] for row in rows if row["table_name"] == table]
    made = [each.get("index_version") for each in options if is_class(each, INDEX_CLASSES)]
    return [_time_of(version) if version else 0 for version in made]


def _time_of(version: str) -> int:
    return round(float(unix_time_from_uuid1(UUID(version))) * 1_000_000)


def _microseconds(moment: datetime) -> int:
    """The driver gives times without a zone, in UTC."""
    return round(moment.replace(tzinfo=UTC).timestamp() * 1_000_000)


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
