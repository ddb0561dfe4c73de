"""Three real nodes for all tests of this folder, and what became of the rows in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.run_cassandra import CassandraCluster
from tests.clusters import started
from tests.reliability.disks import small_disk
from tests.reliability.life import cluster_of_three
from tests.reliability.matrix import Matrix


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The disk of one node; None where this machine lets us mount none."""
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as mounted:
        yield mounted


@pytest.fixture(scope="session")
def three_nodes(tmp_path_factory: pytest.TempPathFactory, disk: Path | None) -> Iterator[CassandraCluster]:
    yield from started(cluster_of_three(tmp_path_factory.mktemp("three"), disk))


@pytest.fixture
def matrix(record_property: Callable[[str, object], None]) -> Iterator[Matrix]:
    """The lines of one test; those of all are shown at the end of the run."""
    lines = Matrix()
    yield lines
    for outcome in lines.outcomes:
        record_property("fault", outcome.cells)
