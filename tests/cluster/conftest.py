"""Stores open on real Cassandra nodes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

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
