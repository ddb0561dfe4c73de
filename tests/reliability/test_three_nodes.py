"""A migration on three nodes with three replicas, during which one node is killed and comes back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.reliability.matrix import Matrix, assert_nothing_wrong, tried_again
from tests.reliability.writer import Writer
from tests.world import World, eventually, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

ROWS, RANGES = 400, 20


def test_a_node_killed_in_the_middle_of_a_load_costs_no_row(
    tmp_path: Path,
    old_model: Path,
    new_model: Path,
    three_nodes: CassandraCluster,
    spark: SparkContext,
    matrix: Matrix,
) -> None:
    patient, ranges = {"request_timeout": "20s"}, {"ranges": RANGES}
    with (
        cluster_world(tmp_path, (old_model, new_model), three_nodes, replicas=3, store=patient, load=ranges) as world,
        matrix.case("a node killed and started again", "load") as outcome,
    ):
        world.create_source(some_articles(ROWS))
        world.step("prepare")
        assert world.settings.store.consistency.write == "LOCAL_QUORUM"
        fate = threading.Thread(target=_kill_and_restart, args=(world, three_nodes))
        # Its articles are new ones, so that every row of the load is still there to be counted.
        with Writer(world, three_nodes, {}) as writer:
            fate.start()
            world.step("load")
            fate.join(timeout=300)
        assert not fate.is_alive()
        three_nodes.wait_until_joined()
        counts = [record.counts for record in world.ranges()]
        assert all(each.balanced for each in counts)
        assert sum(each.read for each in counts) >= ROWS
        world.steps("sync", "index", "sync")
        outcome.application, outcome.again = f"{writer.writes} writes", tried_again(world)
        assert_nothing_wrong(outcome, outcome.judge(world, writer.truth))
        world.assert_migrated()


def _kill_and_restart(world: World, cluster: CassandraCluster) -> None:
    eventually(lambda: sum(record.state == "done" for record in world.ranges()) >= 3, every_s=0.5)
    cluster.node(1).kill()
    eventually(lambda: sum(record.state == "done" for record in world.ranges()) >= RANGES // 2, every_s=0.5)
    cluster.node(1).restart()
