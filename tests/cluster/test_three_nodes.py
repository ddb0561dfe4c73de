"""A migration on three nodes with three replicas, during which one node is killed and comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.clusters import started
from tests.world import World, eventually, some_articles

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RANGES = 40


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    # What a killed node has acknowledged must be on its disk, or one replica of three would forget it.
    durable = {"commitlog_sync": "batch", "commitlog_sync_period": None}
    yield from started(CassandraCluster(tmp_path_factory.mktemp("three"), nodes=3, settings=durable))


def test_a_node_killed_in_the_middle_of_a_load_costs_no_row(
    tmp_path: Path, old_model: Path, new_model: Path, three_nodes: CassandraCluster, spark: SparkSession
) -> None:
    patient = {"request_timeout": "20s"}
    with cluster_world(
        tmp_path, (old_model, new_model), three_nodes, replicas=3, store=patient, load={"ranges": RANGES}
    ) as world:
        world.create_source(some_articles(1500))
        world.step("prepare")
        assert world.settings.store.consistency.write == "LOCAL_QUORUM"
        fate = threading.Thread(target=_kill_and_restart, args=(world, three_nodes))
        fate.start()
        world.step("load")
        fate.join(timeout=300)
        assert not fate.is_alive()
        three_nodes.wait_until_joined()
        world.steps("index", "sync", "validate", "cutover")

        counts = [record.counts for record in world.ranges()]
        assert sum(each.read for each in counts) == 1500
        assert all(each.balanced for each in counts)
        world.assert_migrated()
        print(f"1500 rows, {len(counts)} ranges, attempts {max(record.attempts for record in world.ranges())} at most")


def _kill_and_restart(world: World, cluster: CassandraCluster) -> None:
    eventually(lambda: sum(record.state == "done" for record in world.ranges()) >= 3, every_s=0.5)
    cluster.node(1).kill()
    eventually(lambda: sum(record.state == "done" for record in world.ranges()) >= RANGES // 2, every_s=0.5)
    cluster.node(1).restart()
