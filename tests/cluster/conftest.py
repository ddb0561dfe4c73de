"""Stores open on real Cassandra nodes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from embedshift.settings import StoreSettings
from embedshift.stores.cql.store import CqlStore
from scripts.run_cassandra import CassandraCluster
from tests.clusters import CATALOG_KEYSPACE, KEYSPACE, settings_of, started

__all__ = ["CATALOG_KEYSPACE", "DEADLINE_S", "KEYSPACE", "settings_of", "started"]

DEADLINE_S = 60


@pytest.fixture(scope="session")
def settings(cassandra_settings: StoreSettings) -> StoreSettings:
    """Settings for the plain node, its keyspaces made."""
    return cassandra_settings


@pytest.fixture(scope="session")
def store(settings: StoreSettings) -> Iterator[CqlStore]:
    """A store open on the node."""
    with closing(CqlStore.open(settings)) as opened:
        yield opened


@pytest.fixture
def new_name() -> Callable[[], str]:
    """Makes names that no other test has."""
    return lambda: f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture(scope="session")
def password_file(guarded: CassandraCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The superuser's name and password, as ``store.credentials_file`` wants them."""
    file = tmp_path_factory.mktemp("secret") / "credentials"
    assert guarded.credentials is not None
    file.write_text("\n".join(guarded.credentials) + "\n")
    return file
