"""Real Cassandra nodes for tests: started once, on free ports, and stopped at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from embedshift.settings import StoreSettings
from embedshift.stores.cql.store import CqlStore
from scripts.run_cassandra import CassandraCluster, CassandraUnavailable

KEYSPACE = "articles_ks"
CATALOG_KEYSPACE = "catalog_ks"


def started(cluster: CassandraCluster) -> Iterator[CassandraCluster]:
    try:
        cluster.start()
    except CassandraUnavailable as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run Cassandra: {missing.reason}")
        pytest.skip(missing.reason)
    try:
        yield cluster
    finally:
        cluster.stop()


def settings_of(cluster: CassandraCluster, **changes: Any) -> StoreSettings:
    """Settings for a running cluster."""
    usual: dict[str, Any] = {
        "kind": "cql",
        "hosts": tuple(cluster.hosts),
        "port": cluster.port,
        "local_dc": cluster.datacenter,
        "keyspace": KEYSPACE,
        "catalog": {"keyspace": CATALOG_KEYSPACE},
    }
    return StoreSettings(**(usual | changes))


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    """One node without passwords or certificates."""
    yield from started(CassandraCluster(tmp_path_factory.mktemp("cassandra"), use="once"))


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    """One node that demands certificates and passwords, and keeps a snapshot of what is dropped."""
    folder, kept = tmp_path_factory.mktemp("guarded"), {"auto_snapshot": True}
    yield from started(CassandraCluster(folder, tls=True, auth=True, settings=kept, use="once"))


@pytest.fixture(scope="session")
def cassandra_settings(cassandra: CassandraCluster) -> StoreSettings:
    """Settings for the plain node, its keyspaces made."""
    return _with_keyspaces(settings_of(cassandra))


@pytest.fixture(scope="session")
def scylla_settings() -> StoreSettings:
    """Settings for the ScyllaDB that SCYLLA_HOST names, in the datacenter that SCYLLA_DC names."""
    host = os.environ.get("SCYLLA_HOST")
    if not host:
        pytest.skip("SCYLLA_HOST names no ScyllaDB")
    replication = {"class": "NetworkTopologyStrategy", "replication_factor": 1}
    return _with_keyspaces(
        StoreSettings(
            kind="cql",
            hosts=(host,),
            port=int(os.environ.get("SCYLLA_PORT", "9042")),
            local_dc=os.environ.get("SCYLLA_DC", "datacenter1"),
            keyspace=KEYSPACE,
            replication=replication,
            vector_status=tuple(filter(None, os.environ.get("SCYLLA_VECTOR_STATUS", "").split(","))),
            catalog={"keyspace": CATALOG_KEYSPACE, "replication": replication},
        )
    )


def _with_keyspaces(settings: StoreSettings) -> StoreSettings:
    with closing(CqlStore.open(settings)) as store:
        store.create_keyspaces()
    return settings
