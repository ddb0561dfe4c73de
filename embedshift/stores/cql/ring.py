"""On which nodes a table's rows are, and how many there are."""

from __future__ import annotations

from typing import Any

from embedshift.errors import SchemaError, StoreUnavailable
from embedshift.stores.cql.dialect import Dialect
from embedshift.stores.cql.quoting import listed, qualified
from embedshift.stores.cql.session import CqlConnection, addresses
from embedshift.stores.model import Estimate, Piece, Table
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, WHOLE_RING, TokenRange, from_ring

#: Points of the ring that are sampled to estimate the number of rows, and rows that are read at each.
PROBES = 4
PROBE_ROWS = 250


def ring(connection: CqlConnection, dialect: Dialect, table: str) -> list[Piece]:
    """The whole ring once, in order: the table's tablets if it has any, else the nodes' vnodes."""
    tablets = dialect.tablets(connection, connection.keyspace, table)
    if tablets:
        return tablets
    metadata = connection.session.cluster.metadata
    tokens = metadata.token_map
    if tokens is None or not tokens.ring:
        return [Piece(WHOLE_RING)]
    local = {host.host_id for host in connection.hosts()}

    def holding(end: int) -> tuple[str, ...]:
        replicas = tokens.get_replicas(connection.keyspace, tokens.token_class(end))
        return addresses(host for host in replicas if host.host_id in local)

    return [Piece(each, holding(each.end)) for each in from_ring(token.value for token in tokens.ring)]


def estimate(connection: CqlConnection, table: Table) -> Estimate:
    """How many rows and bytes a table holds, from the server's size estimates and from a sample of the ring.

    The server makes its estimates every few minutes, of what is on disk, so that a table just filled has none. The
    sample shows how densely the ring is filled now. The greater of the two is the result.
    """
    partitions, size = _by_size_estimates(connection, table.name)
    try:
        seen, all_seen = _by_probes(connection, table)
        each = _rows_in_a_partition(connection, table) if seen else 1.0
    except StoreUnavailable:
        seen, all_seen, each = 0.0, False, 1.0
    rows = (seen if all_seen else max(seen, partitions)) * each
    return Estimate(round(rows), round(size * max(1.0, seen / partitions)) if partitions else 0)


def _by_size_estimates(connection: CqlConnection, table: str) -> tuple[float, float]:
    """Partitions and bytes, from each node's estimates of its own primary ranges, scaled to the whole ring."""
    said: dict[tuple[str, str], tuple[int, int]] = {}
    for host in connection.hosts():
        try:
            rows = connection.rows(
                "SELECT range_start, range_end, partitions_count, mean_partition_size FROM system.size_estimates "
                "WHERE keyspace_name = ? AND table_name = ?",
                (connection.keyspace, table),
                doing=f"estimating the size of {table}",
                host=host,
                again=False,
            )
        except (SchemaError, StoreUnavailable):
            continue
        for row in rows:
            said[row["range_start"], row["range_end"]] = (row["partitions_count"], row["mean_partition_size"])
    covered = sum(_width(start, end) for start, end in said)
    if not covered:
        return 0.0, 0.0
    scale = 2**64 / min(covered, 2**64)
    partitions = sum(count for count, _ in said.values())
    return partitions * scale, sum(count * mean for count, mean in said.values()) * scale


def _width(start: str, end: str) -> int:
    return (int(end) - int(start)) % 2**64 or 2**64


def _by_probes(connection: CqlConnection, table: Table) -> tuple[float, bool]:
    """Partitions, from the distance between the first of them after a few tokens, and whether these were all."""
    partition = listed([column.name for column in table.keys if column.role == "partition"])
    one = " PER PARTITION LIMIT 1" if table.keys[-1].role == "clustering" else ""
    query = (
        f"SELECT token({partition}) AS at FROM {qualified(connection.keyspace, table.name)} "
        f"WHERE token({partition}) > ? AND token({partition}) <= ?{one} LIMIT {PROBE_ROWS}"
    )
    found = width = 0
    all_seen = True
    for part in WHOLE_RING.split(PROBES):
        rows = _asked(connection, query, part, table.name)
        full = len(rows) == PROBE_ROWS
        found += len(rows)
        all_seen = all_seen and not full
        width += (rows[-1]["at"] if full else part.end) - part.start
    return found * (MAX_TOKEN - MIN_TOKEN) / width, all_seen


def _rows_in_a_partition(connection: CqlConnection, table: Table) -> float:
    """The average number of rows in a partition, from the first few partitions of the ring."""
    if table.keys[-1].role != "clustering":
        return 1.0
    partition = listed([column.name for column in table.keys if column.role == "partition"])
    query = (
        f"SELECT token({partition}) AS at FROM {qualified(connection.keyspace, table.name)} "
        f"WHERE token({partition}) > ? AND token({partition}) <= ? LIMIT {PROBES * PROBE_ROWS}"
    )
    rows = _asked(connection, query, WHOLE_RING, table.name)
    return len(rows) / len({row["at"] for row in rows}) if rows else 1.0


def _asked(connection: CqlConnection, query: str, part: TokenRange, table: str) -> list[dict[str, Any]]:
    return connection.rows(query, (part.start, part.end), doing=f"estimating the size of {table}")
