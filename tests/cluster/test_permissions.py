"""A migration by roles that have only what docs/security.md grants, each statement read from that page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.roles import Roles, live
from tests.world import some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext


@pytest.fixture
def roles(
    tmp_path: Path, old_model: Path, new_model: Path, guarded: CassandraCluster, password_file: Path
) -> Iterator[Roles]:
    files = guarded.tls_files
    tls = {"ca": str(files.ca), "certificate": str(files.client_cert), "key": str(files.client_key)}
    store = {"tls": tls, "credentials_file": str(password_file)}
    few = {"ranges": 1, "attempts": 1}  # what fails for want of a right fails at every try
    with cluster_world(tmp_path / "world", (old_model, new_model), guarded, store=store, load=few) as world:
        world.create_source(some_articles(30))
        yield Roles(world, tmp_path)


def test_each_step_runs_with_the_rights_of_its_group_and_names_the_one_that_is_missing(
    roles: Roles, spark: SparkContext
) -> None:
    live(roles)


def test_a_migration_is_given_up_with_the_rights_of_abort(roles: Roles) -> None:
    roles.world.step("prepare")
    roles.act("abort")
    assert not roles.world.store.exists("articles_v2")
