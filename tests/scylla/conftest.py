"""A ScyllaDB to test on: the stand-in, or with ``-m scylla`` the server that SCYLLA_HOST names."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import pytest
from cassandra.cluster import Session

from embedshift.settings import StoreSettings
from scripts.run_cassandra import CassandraCluster
from tests.scylla.backend import Node
from tests.scylla.servers import SLOW, Server, connected, settings_of
from tests.scylla.shelves import Shelf, new_name
from tests.scylla.stand_in import VERSION, StandIn

SERVERS = ("stand_in", pytest.param("real", marks=pytest.mark.scylla))


@pytest.fixture(scope="module")
def scylla_stand_in(cassandra: CassandraCluster) -> Iterator[StandIn]:
    """The stand-in over the session's node."""
    with StandIn(Node(cassandra.hosts[0], cassandra.port), slow=SLOW) as stand_in:
        yield stand_in


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """The stand-in, or a real server."""
    if request.param == "real":
        if not os.environ.get("SCYLLA_HOST"):
            pytest.skip("SCYLLA_HOST names no ScyllaDB")
        return Server(request.getfixturevalue("scylla_settings"), None, 45.0)
    stand_in = request.getfixturevalue("scylla_stand_in")
    settings = settings_of(stand_in, request.getfixturevalue("cassandra"))
    return Server(settings, stand_in, SLOW.lag_s + 2 * SLOW.poll_s + 0.5)


@pytest.fixture(scope="module")
def settings(server: Server) -> StoreSettings:
    """How the product reaches the server."""
    return server.settings


@pytest.fixture
def stand_in(server: Server) -> Iterator[StandIn]:
    """The stand-in, for tests that tell it how to be; afterwards it is as before."""
    found = server.stand_in
    if found is None:
        pytest.skip("a real server does not do what a test tells it")
    yield found
    found.now, found.vector_store.now = time.time, time.time
    found.vector_store.failure, found.vector_store.rereads = "", False
    found.vector_store.holds_scans.clear()
    found.set_rights(keyspace_alone=False)
    found.hold_expiry(held=False)
    found.set_version(VERSION)
    found.set_tablets_mode("enabled")
    found.set_vector_store_address(found.vector_store.address)


@pytest.fixture(autouse=True)
def sound(server: Server) -> Iterator[None]:
    """A stand-in that has failed by itself proves nothing."""
    yield
    if server.stand_in is not None:
        faults = list(server.stand_in.faults)
        server.stand_in.faults.clear()
        assert not faults, faults[0]


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[Session]:
    """A session of the plain driver, in a keyspace with tablets of its own."""
    found = connected(server.settings, protocol_version=4)
    keyspace = f"k{uuid.uuid4().hex[:12]}"
    replication = f"{{'class': 'NetworkTopologyStrategy', '{server.settings.local_dc}': 1}}"
    found.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication} AND tablets = {{'enabled': true}}")
    found.set_keyspace(keyspace)
    yield found
    found.execute(f"DROP KEYSPACE {keyspace}")
    found.cluster.shutdown()


@pytest.fixture
def shelf(session: Session, server: Server) -> Iterator[Shelf]:
    """A table of articles without an index."""
    table = new_name()
    session.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, title text, v vector<float, 3>)")
    yield Shelf(session, server, table)
    session.execute(f"DROP TABLE {table}")
