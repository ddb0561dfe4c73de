"""Three real nodes for all tests of this folder, and the table of what they found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.run_cassandra import CassandraCluster
from tests.clusters import started
from tests.reliability.disks import small_disk
from tests.reliability.life import cluster_of_three
from tests.reliability.matrix import Matrix

_MATRIX = Matrix()


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The disk of one node; None where this machine lets us mount none."""
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as mounted:
        yield mounted


@pytest.fixture(scope="session")
def three_nodes(tmp_path_factory: pytest.TempPathFactory, disk: Path | None) -> Iterator[CassandraCluster]:
    yield from started(cluster_of_three(tmp_path_factory.mktemp("three"), disk))


@pytest.fixture(scope="session")
def matrix() -> Iterator[Matrix]:
    """The lines of this run; written as Markdown to the file that EMBEDSHIFT_MATRIX names, if it does."""
    yield _MATRIX
    if file := os.environ.get("EMBEDSHIFT_MATRIX"):
        Path(file).write_text(_MATRIX.markdown, encoding="utf-8")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _MATRIX.outcomes:
        terminalreporter.section("faults and what became of the rows")
        terminalreporter.write(_MATRIX.markdown)
