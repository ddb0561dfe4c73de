"""What the stand-in knows of the schema, and ScyllaDB's system tables: real tables in a keyspace of its own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from tests.scylla.backend import Backend
from tests.scylla.frames import Value
from tests.scylla.statements import Select
from tests.scylla.words import invalid

KEYSPACE = "scylla_stand_in"
#: Every tablet has one stream of the log; real ones are split and merged, these are not.
TABLETS = 4
_TABLES = {
    "versions": "key text PRIMARY KEY, version text, build_mode text, build_id text",
    "config": "name text PRIMARY KEY, source text, type text, value text",
    "scylla_keyspaces": "keyspace_name text PRIMARY KEY, initial_tablets int, consistency text",
    "scylla_tables": "keyspace_name text, table_name text, cdc map<text, text>, partitioner text, version uuid, "
    "PRIMARY KEY (keyspace_name, table_name)",
    "indexes": "keyspace_name text, table_name text, index_name text, kind text, options frozen<map<text, text>>, "
    "PRIMARY KEY (keyspace_name, table_name, index_name)",
    "cdc_timestamps": "keyspace_name text, table_name text, timestamp timestamp, "
    "PRIMARY KEY ((keyspace_name, table_name), timestamp)) WITH CLUSTERING ORDER BY (timestamp DESC",
    "cdc_streams": "keyspace_name text, table_name text, timestamp timestamp, stream_state tinyint, stream_id blob, "
    "PRIMARY KEY ((keyspace_name, table_name), timestamp, stream_state, stream_id)",
    "tablets": "table_id uuid, last_token bigint, keyspace_name text static, table_name text static, "
    "tablet_count int static, replicas frozen<list<frozen<tuple<uuid, int>>>>, PRIMARY KEY (table_id, last_token)",
}
_SYSTEM = {"versions", "config", "tablets", "cdc_timestamps", "cdc_streams"}
_SCHEMA = {"scylla_keyspaces", "scylla_tables", "indexes"}
#: What ScyllaDB's system.local has: no port, so that a driver keeps the one that it has connected to.
_LOCAL = (
    "key, bootstrapped, broadcast_address, cluster_name, cql_version, data_center, gossip_generation, host_id, "
    "listen_address, native_protocol_version, partitioner, rack, release_version, rpc_address, schema_version, tokens"
)
_ABSENT = frozenset({"system_views", "system_virtual_schema"})


@dataclass(frozen=True)
class Table:
    """A table's columns; ``types`` are those of all, in CQL."""

    keyspace: str
    name: str
    id: uuid.UUID
    partition: tuple[str, ...]
    clustering: tuple[str, ...]
    types: Mapping[str, str]
    statics: frozenset[str] = frozenset()

    @property
    def keys(self) -> tuple[str, ...]:
        return self.partition + self.clustering

    @property
    def others(self) -> list[str]:
        return [name for name in self.types if name not in self.keys]

    @property
    def path(self) -> str:
        return f"{quoted(self.keyspace)}.{quoted(self.name)}"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> Value:
    return value.encode()


class Catalog:
    """The tables as Cassandra has them, and the keyspace of the stand-in."""

    def __init__(self, own: Backend) -> None:
        self.own = own
        #: A user with rights on his own keyspace alone (SCYLLADB.md, "Rights").
        self.rights_on_keyspace_alone = False
        self._known: dict[tuple[str, str], Table] = {}

    async def create(self, version: str) -> None:
        """Make the system tables."""
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        await self.own.query(f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {replication}")
        for name, columns in _TABLES.items():
            await self.own.query(f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.{name} ({columns})")
        await self.set_version(version)
        await self.configure("auto_snapshot", "true")
        await self.configure("tablets_mode_for_new_keyspaces", "enabled")

    async def set_version(self, version: str) -> None:
        await self.own.query(f"INSERT INTO {KEYSPACE}.versions (key, version) VALUES ('local', ?)", [text(version)])

    async def configure(self, name: str, value: str) -> None:
        await self.own.query(
            f"INSERT INTO {KEYSPACE}.config (name, value, source) VALUES (?, ?, 'yaml')", [text(name), text(value)]
        )

    def forget(self) -> None:
        """The schema has changed."""
        self._known.clear()

    async def table(self, keyspace: str, name: str) -> Table | None:
        """A table as Cassandra describes it; None if there is none."""
        if (keyspace, name) not in self._known:
            where = "WHERE keyspace_name = ? AND table_name = ?"
            ids = await self.own.rows(f"SELECT id FROM system_schema.tables {where}", [text(keyspace), text(name)])
            found = await self.own.rows(
                f"SELECT column_name, kind, position, type FROM system_schema.columns {where}",
                [text(keyspace), text(name)],
            )
            if not ids:
                return None

            def of_kind(kind: str) -> tuple[str, ...]:
                rows = sorted((row["position"], row["column_name"]) for row in found if row["kind"] == kind)
                return tuple(name for _, name in rows)

            types = {row["column_name"]: row["type"] for row in found}
            self._known[keyspace, name] = Table(
                keyspace,
                name,
                ids[0]["id"],
                of_kind("partition_key"),
                of_kind("clustering"),
                types,
                frozenset(of_kind("static")),
            )
        return self._known[keyspace, name]

    async def has_tablets(self, keyspace: str) -> bool:
        found = await self.own.rows(
            f"SELECT initial_tablets FROM {KEYSPACE}.scylla_keyspaces WHERE keyspace_name = ?", [text(keyspace)]
        )
        return bool(found)

    async def spread(self, table: Table) -> None:
        """Record a table's tablets, all on this node."""
        host = (await self.own.rows("SELECT host_id FROM system.local"))[0]["host_id"]
        for number in range(1, TABLETS + 1):
            last = -(2**63) + number * (2**64 // TABLETS) - 1
            await self.own.query(
                f"INSERT INTO {KEYSPACE}.tablets (table_id, last_token, keyspace_name, table_name, tablet_count, "
                f"replicas) VALUES ({table.id}, {last}, ?, ?, {TABLETS}, [({host}, 0)])",
                [text(table.keyspace), text(table.name)],
            )

    async def set_cdc(self, keyspace: str, table: str, options: Mapping[str, str] | None) -> None:
        """Record what a client has said of CDC: that an index switches it on is not recorded [cdc/log.cc]."""
        said = "{" + ", ".join(f"'{key}': '{value}'" for key, value in (options or {}).items()) + "}"
        await self.own.query(
            f"INSERT INTO {KEYSPACE}.scylla_tables (keyspace_name, table_name, cdc) VALUES (?, ?, {said})",
            [text(keyspace), text(table)],
        )

    def rewritten(self, statement: str, select: Select) -> str:
        """A SELECT as Cassandra can answer it: of ScyllaDB's system tables, or of system.local.

        Raises:
            Refused: ScyllaDB has none of that name.
        """
        keyspace, table = select.keyspace, select.table
        if keyspace in _ABSENT or (keyspace, table) == ("system", "peers_v2"):
            raise invalid(f"unconfigured table {table}")
        if (keyspace == "system" and table in _SYSTEM) or (keyspace == "system_schema" and table in _SCHEMA):
            start, end = select.source
            return f"{statement[:start]}{KEYSPACE}.{table}{statement[end:]}"
        start, end = select.columns
        if (keyspace, table) == ("system", "local") and statement[start:end] == "*":
            return statement[:start] + _LOCAL + statement[end:]
        return statement
