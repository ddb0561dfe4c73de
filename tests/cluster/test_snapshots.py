"""A copy that outlives a table: Cassandra's own snapshot of what is dropped."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa

from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column, Table, write_time
from tests.cluster.conftest import KEYSPACE, settings_of


def test_what_is_dropped_is_where_the_store_says(guarded, password_file, new_name):
    files = guarded.tls_files
    tls = {"ca": files.ca, "certificate": files.client_cert, "key": files.client_key}
    with closing(CqlStore.open(settings_of(guarded, tls=tls, credentials_file=password_file))) as store:
        store.create_keyspaces()
        table = Table(new_name(), (Column("id", "int", "partition"), Column("v", "text")))
        store.create(table)
        row = {"id": pa.array([1], pa.int32()), "v": pa.array(["kept"]), write_time("v"): pa.array([10], pa.int64())}
        store.write(table, pa.RecordBatch.from_pydict(row))
        assert store.snapshot(table.name) == (
            f"a snapshot of {table.name} on every node, made as it is dropped: nodetool listsnapshots"
        )
        store.drop(table.name)
        query = "SELECT name FROM system_views.snapshots WHERE keyspace_name = ? AND table_name = ? ALLOW FILTERING"
        (found,) = store.connection.rows(query, (KEYSPACE, table.name), doing="looking for snapshots")
        assert found["name"].startswith("dropped-")
