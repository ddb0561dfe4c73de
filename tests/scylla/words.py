"""What ScyllaDB refuses, with its error codes and in its words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

SERVER_ERROR, PROTOCOL, SYNTAX, UNAUTHORIZED = 0x0000, 0x000A, 0x2000, 0x2100
INVALID, CONFIGURATION, UNPREPARED = 0x2200, 0x2300, 0x2500

#: Reserved beyond Cassandra's list (SCYLLADB.md, "Names, options, shapes").
RESERVED = frozenset({"ann", "concurrency", "vector_search_indexing", "text_search_indexing"})
#: System tables that not every user may read (SCYLLADB.md, "Rights").
GUARDED = frozenset({"versions", "tablets", "config", "size_estimates"})
#: The server takes a write at most this far in its future, and a first stream begins as much before it is made
#: (SCYLLADB.md, first table: the future is refused; CREATE INDEX minus 5 s).
LEEWAY_US = 5_000_000
#: The most that an ANN query may ask for (SCYLLADB.md, "Names, options, shapes").
LIMIT_MAX = 1000


class Refused(Exception):
    """An error that the server answers with."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def invalid(words: str) -> Refused:
    return Refused(INVALID, words)


def beyond(what: str) -> Refused:
    """Something that ScyllaDB can do and the stand-in cannot: a test that needs it fails, and says why."""
    return invalid(f"the stand-in does not know {what}")


def from_the_future(time_us: int, now_us: int) -> Refused:
    """A write too far in the server's future [cdc/metadata.cc: get_tablet_stream_set]."""
    return invalid(
        f'cdc: attempted to get a stream "from the future" ({_moment(time_us)}; current server time: '
        f"{_moment(now_us)}). With CDC you cannot send writes with timestamps arbitrarily into the future, because we "
        "don't know what streams will be used at that time.\nWe *do* allow sending writes into the near future, but "
        "our ability to do that is limited. If you really must use your own timestamps, then make sure your clocks are "
        "well-synchronized  with the database's clocks."
    )


def no_stream(table_id: object, time_us: int) -> Refused:
    """A write older than the first set of streams [cdc/metadata.cc: get_tablet_stream_set]."""
    return Refused(
        SERVER_ERROR,
        f"cdc::metadata::get_stream: could not find any CDC streams for table {table_id} for timestamp {time_us}.",
    )


def reserved(text: str, at: int) -> Refused:
    return Refused(SYNTAX, f"line 1:{at} no viable alternative at input '{text}'")


def no_permission(permission: str, keyspace: str, table: str, user: str) -> Refused:
    return Refused(
        UNAUTHORIZED,
        f"User {user} has no {permission} permission on <table {keyspace}.{table}> or any of its parents",
    )


def not_indexed() -> Refused:
    """ANN without an index [cql3/.../vector_indexed_table_select_statement.cc]."""
    return invalid("ANN ordering by vector requires the column to be indexed using 'vector_index'")


def limit_missing() -> Refused:
    return invalid("Vector ANN queries must have a limit specified")


def limit_too_high(limit: int) -> Refused:
    return invalid(
        f"Use of ANN OF in an ORDER BY clause requires a LIMIT that is not greater than {LIMIT_MAX}. LIMIT was {limit}"
    )


def needs_tablets() -> Refused:
    """A vector index in a keyspace without tablets [index/vector_index.cc: check_uses_tablets]."""
    return invalid(
        "Vector index requires the base table's keyspace to use tablets.\n"
        "Please alter the keyspace to use tablets and try again."
    )


def tablets_enforced() -> Refused:
    """A keyspace without tablets where they are enforced (SCYLLADB.md, "Names, options, shapes")."""
    return Refused(
        CONFIGURATION,
        "Cannot disable tablets for keyspace since tablets are enforced using the "
        "`tablets_mode_for_new_keyspaces: enforced` config option.",
    )


def cdc_is_off() -> Refused:
    """An index on a table whose CDC a client has switched off [index/vector_index.cc]."""
    return invalid(
        "Cannot create the vector index when CDC is explicitly disabled.\n"
        "Please enable CDC with the required parameters first.\n"
        "CDC's TTL must be at least 86400 seconds (24 hours), and the CDC's delta mode must be set to 'full' or "
        "postimage must be enabled to enable Vector Search."
    )


def partition_missing() -> Refused:
    """A local index is searched within one partition (SCYLLADB.md, "Names, options, shapes")."""
    return invalid("Vector Store error: HTTP status 400 Bad Request: local index requires the whole partition key")


def filtering_missing(column: str) -> str:
    """The vector store's answer 400 to a condition on a column that the index does not have."""
    return f"column {column} is not in the index: requires ALLOW FILTERING"


def vector_store_unavailable() -> Refused:
    """Every failure of the vector store is an InvalidRequest (SCYLLADB.md, "Vector store (http)")."""
    return invalid("Vector Store service is unavailable")


def vector_store_aborted() -> Refused:
    return invalid("Vector Store request was aborted")


def vector_store_without_address() -> Refused:
    return invalid("Vector Store service address could not be fetched from DNS")


def vector_store_status(status: int, reason: str, said: str) -> Refused:
    return invalid(f"Vector Store error: HTTP status {status} {reason}: {said}")


def still_constructed(keyspace: str, index: str, progress: float) -> str:
    """The vector store's answer 503 [vector-store httproutes.rs]."""
    return f"Index {keyspace}.{index} is not available yet as it is still being constructed, progress: {progress:.3f}%"


def target(vector: str, partition: list[str], filtering: list[str]) -> str:
    """The option ``target`` of a vector index [index/vector_index.cc: serialize_targets]."""
    if not partition and not filtering:
        return vector
    parts = {"tc": vector} | ({"pk": partition} if partition else {}) | ({"fc": filtering} if filtering else {})
    return json.dumps(parts, separators=(",", ":"))


def _moment(time_us: int) -> str:
    try:
        return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y/%m/%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(time_us)
