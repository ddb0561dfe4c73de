"""Apache Cassandra 5: vectors by storage-attached indexes (SAI)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from embedshift.errors import SchemaError, StoreUnavailable
from embedshift.settings import credentials
from embedshift.stores.cql.dialect import RESULTS_MAX, Dialect, asked, refuse, version_numbers
from embedshift.stores.cql.quoting import quote
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.model import Column, Index, IndexSize, IndexState, Piece

ALLOW = "cassandra.sai.vector.allow_custom_parameters"
#: An index that is neither queryable nor being built for this time has failed: a build starts within moments.
IDLE_S_MAX = 30.0
_WIDTHS = {"connections": "maximum_node_connections", "expansion_add": "construction_beam_width"}
_MOST = {"connections": 512, "expansion_add": 3200, "expansion_search": RESULTS_MAX}
_ABSENT = {
    "quantization": "Cassandra compresses by itself",
    "oversampling": "Cassandra ranks by the table's exact vectors already",
    "rescoring": "Cassandra ranks by the table's exact vectors already",
}


@final
class Cassandra(Dialect):
    """The dialect of Apache Cassandra 5."""

    product = "Apache Cassandra"
    several_indexes = False
    scan_suffix = ""
    settings_view = "system_views.settings"
    index_class = "StorageAttachedIndex"
    index_classes = frozenset({"storageattachedindex", "sai"})
    index_words: Mapping[str, str] = MappingProxyType({"metric": "similarity_function", **_WIDTHS})
    index_defaults: Mapping[str, str] = MappingProxyType(
        {
            "similarity_function": "cosine",
            "maximum_node_connections": "16",
            "construction_beam_width": "100",
        }
    )

    def __init__(self, version: str) -> None:
        self.version = version
        self._idle_since: dict[str, float] = {}

    def time_of_collection(self, column: str) -> str:
        """``maxwritetime``, which Cassandra has since 5.0 (CASSANDRA-17425)."""
        return f"maxwritetime({quote(column)})"

    def field_times(
        self, connection: CqlConnection, table: str, columns: Sequence[Column]
    ) -> Mapping[str, tuple[str, ...]]:
        """None: ``maxwritetime`` tells that of the whole value."""
        return {}

    def index_options(self, index: Index) -> dict[str, str]:
        chosen = asked(index)
        for name, why in _ABSENT.items():
            if name in chosen:
                raise refuse(index, name, why, f"leave out target.index.{name} on Cassandra, or set it to null")
        words = {"similarity_function": str(chosen["metric"])}
        for name, most in _MOST.items():
            if chosen.get(name, 0) > most:
                raise refuse(index, f"{name} {chosen[name]}", f"Cassandra takes {most} at most", f"write {most}")
        return words | {word: str(chosen[name]) for name, word in _WIDTHS.items() if name in chosen}

    def results_asked(self, index: Index, k: int) -> int:
        """``expansion_search`` if that is more: SAI searches as far as its LIMIT, and has no other width."""
        wide: int = asked(index).get("expansion_search", 0)
        return max(k, wide)

    def check_index(self, connection: CqlConnection, index: Index) -> None:
        """Read from every node what it allows. Nothing is created; what may not be read counts as allowed."""
        if version_numbers(self.version) < (5, 0):
            raise SchemaError(
                f"{self.product} {self.version} has no vectors", hint="use Cassandra 5.0 or later, or ScyllaDB"
            )
        if index.partition or index.filtering:
            raise SchemaError(
                f"the index {index.name} has columns besides its vector, which Cassandra does not have",
                hint="give those columns indexes of their own",
            )
        widths = [name for name in _WIDTHS if name in asked(index)]
        guarded = _is_guarded(connection)
        for host in connection.hosts():
            if widths and setting_of(connection, host, "system_properties", ALLOW, "true") != "true":
                named = " and ".join(f"target.index.{name}" for name in widths)
                raise SchemaError(
                    f"the node {host.address} refuses {named}",
                    hint=f"start the nodes with -D{ALLOW}=true, or leave {named} out",
                )
            if guarded:
                _check_guardrails(connection, host, index)
            self._states(connection, host, "asking whether the state of indexes may be read")

    def index_state(self, connection: CqlConnection, index: Index, version: str) -> IndexState:
        """Serving once every node of the local datacenter that is up can be queried."""
        idle: list[str] = []
        building: list[str] = []
        for host in connection.hosts():
            found = self._states(connection, host, "asking for the state of the index")
            here = next((row for row in found if row["index_name"] == index.name), None)
            if here is None or not here["is_queryable"]:
                (building if here and here["is_building"] else idle).append(str(host.address))
        if not idle:
            self._idle_since.pop(index.name, None)
        if not idle and not building:
            return IndexState("serving")
        if building:
            return IndexState("building", reason=f"being built on {', '.join(building)}")
        since = self._idle_since.setdefault(index.name, time.monotonic())
        if time.monotonic() - since < IDLE_S_MAX:
            return IndexState("building", reason=f"not yet begun on {', '.join(idle)}")
        return IndexState("failed", reason=f"neither built nor queryable on {', '.join(idle)}; see the log there")

    @staticmethod
    def _states(connection: CqlConnection, host: Any, doing: str) -> list[dict[str, Any]]:
        query = (
            "SELECT index_name, is_queryable, is_building FROM system_views.sai_column_indexes WHERE keyspace_name = ?"
        )
        return connection.rows(query, (connection.keyspace,), doing=doing, host=host)

    def index_size(self, connection: CqlConnection, index: Index, rows: int) -> IndexSize:
        """The bytes of the nodes' index files for each vector, times the rows; computed before any file exists."""
        query = (
            "SELECT index_name, cell_count, per_column_disk_size FROM system_views.sai_sstable_indexes "
            "WHERE keyspace_name = ?"
        )
        found: list[dict[str, Any]] = []
        for host in connection.hosts():
            try:
                found += connection.rows(
                    query, (connection.keyspace,), doing="asking for the size of the index", host=host
                )
            except (SchemaError, StoreUnavailable):  # a user who may not read this gets the formula's figure
                continue
        here = [row for row in found if row["index_name"] == index.name]
        vectors = sum(row["cell_count"] for row in here)
        if vectors:
            each = sum(row["per_column_disk_size"] for row in here) / vectors
            return IndexSize(round(each * rows), True, "index files on disk, for one replica")
        return computed_size(index, rows)

    def similarity(self, connection: CqlConnection, index: Index) -> str:
        """``similarity_cosine``, ``similarity_euclidean`` or ``similarity_dot_product``."""
        return f"similarity_{index.options.metric}"

    def keyspace_options(self, *, catalog: bool) -> str:
        return ""

    def write_floor(self, connection: CqlConnection, table: str) -> int | None:
        """None: its indexes see every write, whatever its time."""
        return None

    def secondary_serving(self, connection: CqlConnection, name: str) -> bool:
        """On every node: SAI lists its own, and what is not SAI is listed when it is built."""
        sai = "SELECT is_queryable FROM system_views.sai_column_indexes WHERE keyspace_name = ? AND index_name = ?"
        built = 'SELECT index_name FROM system."IndexInfo" WHERE table_name = ? AND index_name = ?'
        at = (connection.keyspace, name)
        for host in connection.hosts():
            found = connection.rows(sai, at, doing=f"looking at {name}", host=host)
            ready = found[0]["is_queryable"] if found else connection.rows(built, at, doing=f"at {name}", host=host)
            if not ready:
                return False
        return True

    def reads(self, connection: CqlConnection, table: str) -> int | None:
        """The reads that each node has coordinated since it started, added up."""
        query = "SELECT count FROM system_views.{} WHERE keyspace_name = ? AND table_name = ?"
        counts = [
            row["count"]
            for host in connection.hosts()
            for view in ("coordinator_read_latency", "coordinator_scan_latency")
            for row in connection.rows(
                query.format(view), (connection.keyspace, table), doing="counting reads", host=host
            )
        ]
        return int(sum(counts))

    def row_ttl(self, connection: CqlConnection, table: str, columns: Sequence[Column]) -> str | None:
        """Cassandra expires cells, not rows."""
        return None

    def tablets(self, connection: CqlConnection, keyspace: str, table: str) -> list[Piece]:
        """Cassandra has no tablets."""
        return []


def size_of(index: Index, rows: int) -> int:
    """Bytes of SAI's files, as Cassandra 5.0 lays them out in one segment.

    A row takes its vector, a compressed copy of one byte for two dimensions, twice the connections as edges of 4 bytes,
    and 33 bytes for its positions. The codebook of the compression comes once.
    """
    connections = index.options.connections or int(Cassandra.index_defaults["maximum_node_connections"])
    dimension, edges = index.dimension, 2 * connections
    return rows * (dimension * 4 + dimension // 2 + edges * 4 + 33) + dimension * 1024


def computed_size(index: Index, rows: int) -> IndexSize:
    """The size of an index by its layout; needs no server."""
    return IndexSize(size_of(index, rows), False, "index files on disk for one replica, by Cassandra's file layout")


def _is_guarded(connection: CqlConnection) -> bool:
    """Whether the nodes' guardrails apply to this user: not to superusers, and not on a cluster without logins."""
    login = credentials(connection.settings)
    if login is None:
        return False
    query = "SELECT is_superuser FROM system_auth.roles WHERE role = ?"
    try:
        found = connection.rows(query, (login[0],), doing="asking for the user's rights")
    except StoreUnavailable:  # a superuser may read this table
        return True
    return not (found and found[0]["is_superuser"])


def _check_guardrails(connection: CqlConnection, host: Any, index: Index) -> None:
    if setting_of(connection, host, "settings", "secondary_indexes_enabled", "true") == "false":
        raise SchemaError(
            f"the node {host.address} lets this user make no indexes",
            hint="set secondary_indexes_enabled: true in its cassandra.yaml",
        )
    most = setting_of(connection, host, "settings", "vector_dimensions_fail_threshold", "-1")
    if most.isdigit() and 0 < int(most) < index.dimension:
        raise SchemaError(
            f"the node {host.address} lets this user have {most} dimensions at most, not {index.dimension}",
            hint="raise vector_dimensions_fail_threshold in its cassandra.yaml",
        )


def setting_of(connection: CqlConnection, host: Any, view: str, name: str, unknown: str) -> str:
    """A line of a node's settings; ``unknown`` if it may not be read, ``"false"`` if a property is not set."""
    try:
        found = connection.rows(
            f"SELECT value FROM system_views.{view} WHERE name = ?", (name,), doing="reading settings", host=host
        )
    except (SchemaError, StoreUnavailable):
        return unknown
    absent = "false" if view == "system_properties" else unknown
    return str(found[0]["value"]).lower() if found and found[0]["value"] is not None else absent
