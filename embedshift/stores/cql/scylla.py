"""ScyllaDB: vectors by ``vector_index``, served by vector stores beside the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import final
from uuid import UUID

import numpy as np
from cassandra.util import unix_time_from_uuid1

from embedshift.errors import NotPermitted, SchemaError, StoreUnavailable
from embedshift.settings import StoreSettings
from embedshift.stores.cql import cdc, row_ttl, user_types
from embedshift.stores.cql.dialect import Dialect, asked, refuse, version_numbers
from embedshift.stores.cql.quoting import qualified, quote
from embedshift.stores.cql.session import CqlConnection
from embedshift.stores.cql.vector_status import VectorStores
from embedshift.stores.model import Column, Index, IndexSize, IndexState, Piece
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, TokenRange

#: The first version with the vector type and vector_index.
VECTORS_SINCE = (2025, 4)
#: The first version with these options (scylladb/scylladb #27677, #28165, #27769).
COMPRESSION_SINCE = (2026, 1)
#: The first version that takes several named indexes on one column.
SEVERAL_INDEXES_SINCE = (2026, 2)
#: The first version in which a column can be the time when its row is deleted.
ROW_TTL_SINCE = (2026, 2)
_COMPRESSION = ("quantization", "oversampling", "rescoring")
DIMENSION_MAX = 16_000
#: Several vector stores may answer in turn, and one may still build: an index serves if each of so many searches is
#: answered.
_SEARCHES = 6
_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "i8": 1.0, "b1": 0.125}
_WORDS = {
    "connections": "maximum_node_connections",
    "expansion_add": "construction_beam_width",
    "expansion_search": "search_beam_width",
    "quantization": "quantization",
    "oversampling": "oversampling",
    "rescoring": "rescoring",
}


@final
class Scylla(Dialect):
    """The dialect of ScyllaDB."""

    product = "ScyllaDB"
    settings_view = "system.config"
    index_class = "vector_index"
    index_classes = cdc.INDEX_CLASSES
    index_words: Mapping[str, str] = MappingProxyType({"metric": "similarity_function", **_WORDS})
    index_defaults: Mapping[str, str] = MappingProxyType(
        {
            "similarity_function": "COSINE",
            "maximum_node_connections": "16",
            "construction_beam_width": "128",
            "search_beam_width": "64",
            "quantization": "f32",
            "oversampling": "1.0",
            "rescoring": "false",
        }
    )

    def __init__(self, version: str, settings: StoreSettings | None = None) -> None:
        #: Empty if this user may not ask for it.
        self.version = version
        self.scan_suffix = " BYPASS CACHE"
        if settings is not None:
            # Else the server gives up after its own time, which is shorter, and the page is asked for in vain.
            self.scan_suffix += f" USING TIMEOUT {round(settings.request_timeout.total_seconds() * 1000)}ms"
        #: Whether the server tells the write times of a user type's fields; None: not yet asked.
        self._tells_fields: bool | None = None
        #: Whether the server has the function of a metric's similarity.
        self._similarities: dict[str, bool] = {}
        self.several_indexes = version_numbers(version) >= SEVERAL_INDEXES_SINCE
        named = settings is not None and settings.vector_status
        self._vector_stores = VectorStores(settings) if named and settings else None

    def _is_before(self, since: tuple[int, ...]) -> bool:
        """Whether the server is known to be older than a version. If it is not known, the server itself refuses."""
        return bool(self.version) and version_numbers(self.version) < since

    def time_of_collection(self, column: str) -> str | None:
        """ScyllaDB gives no write time of a whole collection."""
        return None

    def field_times(
        self, connection: CqlConnection, table: str, columns: Sequence[Column]
    ) -> Mapping[str, tuple[str, ...]]:
        """Those of every user type, if the server tells them at all, as newer versions do."""
        found = {} if self._tells_fields is False else user_types.fields(connection, columns)
        for column, fields in list(found.items())[:1]:
            if self._tells_fields is None:
                self._tells_fields = user_types.tells_times(connection, table, column, fields[0])
        return found if self._tells_fields else {}

    def index_options(self, index: Index) -> dict[str, str]:
        chosen = asked(index)
        words = {"similarity_function": str(chosen["metric"]).upper()}
        for name, word in _WORDS.items():
            if name in chosen:
                if name in _COMPRESSION and self._is_before(COMPRESSION_SINCE):
                    why = f"ScyllaDB {self.version} does not know it, {_dotted(COMPRESSION_SINCE)} does"
                    raise refuse(index, name, why, f"leave out target.index.{name}, or set it to null")
                value = chosen[name]
                words[word] = str(value).lower() if isinstance(value, bool) else str(value)
        return words

    def check_index(self, connection: CqlConnection, index: Index) -> None:
        """Checked are the version, the dimension and the keyspace: vector indexes need tablets."""
        if self._is_before(VECTORS_SINCE):
            hint = f"use ScyllaDB {_dotted(VECTORS_SINCE)} or later"
            raise SchemaError(f"ScyllaDB {self.version} has no vector indexes", hint=hint)
        if index.dimension > DIMENSION_MAX:
            raise SchemaError(
                f"ScyllaDB takes vectors of {DIMENSION_MAX} dimensions at most, not {index.dimension}",
                hint="choose a model of fewer dimensions",
            )
        if not self._has_tablets(connection):
            raise SchemaError(
                f"the keyspace {connection.keyspace} has no tablets, which vector indexes need",
                hint="create a keyspace WITH tablets = {'enabled': true} for the tables",
            )

    def _has_tablets(self, connection: CqlConnection) -> bool:
        found = connection.rows(
            "SELECT initial_tablets FROM system_schema.scylla_keyspaces WHERE keyspace_name = ?",
            (connection.keyspace,),
            doing="asking whether the keyspace has tablets",
        )
        return bool(found) and found[0]["initial_tablets"] is not None

    def index_state(self, connection: CqlConnection, index: Index, version: str) -> IndexState:
        """From the vector stores' status addresses if the settings name them, else by whether a search succeeds."""
        if self._vector_stores is None:
            return _by_searching(connection, index)
        return self._vector_stores.state(connection.keyspace, index.name, _age_s(connection, version))

    def index_size(self, connection: CqlConnection, index: Index, rows: int) -> IndexSize:
        """Always computed: a vector store does not tell its size."""
        return computed_size(index, rows)

    def similarity(self, connection: CqlConnection, index: Index) -> str | None:
        """``similarity_cosine`` and its kind, which newer versions have: asked by preparing a statement with it."""
        metric = index.options.metric
        function = f"similarity_{metric}"
        if metric not in self._similarities:
            table = qualified(connection.keyspace, index.table)
            try:
                connection.prepare(f"SELECT {function}({quote(index.column)}, ?) FROM {table} LIMIT 1")
            except SchemaError as error:
                if "function" not in error.what.lower():
                    raise
                self._similarities[metric] = False
            else:
                self._similarities[metric] = True
        return function if self._similarities[metric] else None

    def results_asked(self, index: Index, k: int) -> int:
        """``k``: the server widens a search itself."""
        return k

    def keyspace_options(self, *, catalog: bool) -> str:
        """Tablets for vector indexes; for the catalog what the server does by itself.

        Every version with vector indexes has lightweight transactions on tablets, and where tablets are enforced a
        keyspace without them is refused.
        """
        return "" if catalog else " AND tablets = {'enabled': true}"

    def write_floor(self, connection: CqlConnection, table: str) -> int | None:
        """When the oldest stream of the table's change log began. A vector index switches the log on."""
        return cdc.log_began(connection, table)

    def secondary_serving(self, connection: CqlConnection, name: str) -> bool:
        """An index is a view here; a node lists those that it has built."""
        query = "SELECT view_name FROM system.built_views WHERE keyspace_name = ? AND view_name = ?"
        try:
            return bool(connection.rows(query, (connection.keyspace, f"{name}_index"), doing=f"looking at {name}"))
        except (SchemaError, NotPermitted):
            return True  # this user may not ask

    def reads(self, connection: CqlConnection, table: str) -> int | None:
        """ScyllaDB does not offer the counts of a table by CQL."""
        return None

    def row_ttl(self, connection: CqlConnection, table: str, columns: Sequence[Column]) -> str | None:
        return None if self._is_before(ROW_TTL_SINCE) else row_ttl.find(connection, table, columns)

    def tablets(self, connection: CqlConnection, keyspace: str, table: str) -> list[Piece]:
        """From ``system.tablets``: each tablet ends at its ``last_token``."""
        doing = f"asking for the tablets of {table}"
        ids = connection.rows(
            "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
            (keyspace, table),
            doing=doing,
        )
        if not ids:
            return []
        try:
            found = connection.rows(
                "SELECT last_token, replicas FROM system.tablets WHERE table_id = ?", (ids[0]["id"],), doing=doing
            )
        except (SchemaError, NotPermitted):  # a version from before tablets, or a user who may not ask
            return []
        addresses = {host.host_id: str(host.address) for host in connection.hosts()}
        return pieces_of_tablets([(row["last_token"], row["replicas"] or ()) for row in found], addresses)


def computed_size(index: Index, rows: int) -> IndexSize:
    """The size of an index by the formula of ScyllaDB's sizing page; needs no server.

    The formula is rows × (dimension × bytes + connections × 16) × 1.2.
    """
    quantization = index.options.quantization or Scylla.index_defaults["quantization"]
    connections = index.options.connections or int(Scylla.index_defaults["maximum_node_connections"])
    each = index.dimension * _BYTES[quantization] + connections * 16
    note = "memory of one vector store, by ScyllaDB's sizing formula"
    return IndexSize(round(rows * each * 1.2), False, note, log_days=cdc.TTL_S / 86_400)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def pieces_of_tablets(
    rows: Sequence[tuple[int, Sequence[tuple[object, int]]]], addresses: dict[object, str]
) -> list[Piece]:
    """Tablets as pieces of the ring.

    Args:
        rows: each tablet's last token and its replicas, as (host id, shard).
        addresses: the addresses of the hosts of the local datacenter, by host id.
    """
    pieces = []
    start = MIN_TOKEN
    for last, replicas in sorted(rows, key=lambda row: row[0]):
        hosts = tuple(sorted(addresses[host] for host, _ in replicas if host in addresses))
        if last > start:
            pieces.append(Piece(TokenRange(start, last), hosts))
            start = last
    if pieces and start < MAX_TOKEN:
        pieces.append(Piece(TokenRange(start, MAX_TOKEN)))
    return pieces


def _age_s(connection: CqlConnection, version: str) -> float:
    """How long ago an index was created, by the servers' clock; version: the time-based id of that."""
    if not version:
        return inf
    query = "SELECT toUnixTimestamp(now()) AS now_ms FROM system.local"
    (row,) = connection.rows(query, doing="asking for the server's time")
    now_s: float = row["now_ms"] / 1000
    return now_s - float(unix_time_from_uuid1(UUID(version)))


def _by_searching(connection: CqlConnection, index: Index) -> IndexState:
    keys = connection.rows(
        "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?",
        (connection.keyspace, index.table),
        doing="describing the table",
    )
    key = next((row["column_name"] for row in keys if row["kind"] == "partition_key"), None)
    if key is None:
        return IndexState("absent")
    probe = np.zeros(index.dimension, np.float32)
    probe[0] = 1
    query = (
        f"SELECT {quote(key)} FROM {qualified(connection.keyspace, index.table)} "
        f"ORDER BY {quote(index.column)} ANN OF ? LIMIT 1"
    )
    for _ in range(_SEARCHES):
        try:
            connection.rows(query, (probe.tolist(),), doing="searching the index", again=False)
        except NotPermitted:
            raise
        except SchemaError as error:
            return IndexState("failed", reason=error.what)
        except StoreUnavailable as error:
            return IndexState("building", reason=error.what)
    return IndexState("serving")
