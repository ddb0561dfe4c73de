"""Real Cassandra nodes, started once for all tests here, and stores opened on them."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.settings import StoreSettings
from jobs.stores.cql.store import CqlStore
from scripts.run_cassandra import CassandraCluster, CassandraUnavailable

KEYSPACE = "articles_ks"
CATALOG_KEYSPACE = "catalog_ks"
DEADLINE_S = 60


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
    yield from started(CassandraCluster(tmp_path_factory.mktemp("cassandra")))


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    """One node that demands certificates and passwords."""
    yield from started(CassandraCluster(tmp_path_factory.mktemp("guarded"), tls=True, auth=True))


@pytest.fixture(scope="session")
def settings(cassandra: CassandraCluster) -> StoreSettings:
    """Settings for the node, its keyspaces made."""
    found = settings_of(cassandra)
    with closing(CqlStore.open(found)) as store:
        store.create_keyspaces()
    return found


@pytest.fixture(scope="session")
def store(settings: StoreSettings) -> Iterator[CqlStore]:
    """A store open on the node."""
    with closing(CqlStore.open(settings)) as opened:
        yield opened


@pytest.fixture
def new_name() -> Callable[[], str]:
    """Makes names that no other test has."""
    return lambda: f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Waits until a condition holds, and returns its value."""

    def wait(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not (value := condition()):
            assert time.monotonic() < deadline, "the condition did not come to hold in time"
            time.sleep(0.02)
        return value

    return wait


@pytest.fixture(scope="session")
def password_file(guarded: CassandraCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The superuser's name and password, as ``store.credentials_file`` wants them."""
    file = tmp_path_factory.mktemp("secret") / "credentials"
    assert guarded.credentials is not None
    file.write_text("\n".join(guarded.credentials) + "\n")
    return file
