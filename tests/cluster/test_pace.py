"""A limit of latency on a real server: what its requests took is what writers slow down for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.console import Console
from jobs.pace import throttle
from scripts.run_cassandra import CassandraCluster
from tests.cluster.neighbour import fill, neighbour, p99_alone, p99_beside_a_load
from tests.cluster.worlds import cluster_world
from tests.world import eventually, some_articles

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_writers_slow_down_while_the_servers_answers_are_slower_than_the_limit(
    cassandra: CassandraCluster, old_model: Path, new_model: Path, tmp_path: Path, spark: SparkSession
):
    # No server answers a write within a hundredth of a millisecond. The rate lets the load last until that is learnt.
    limits = {"max_latency": "0.01ms", "rows_per_second": 30}
    with cluster_world(tmp_path, (old_model, new_model), cassandra, throttle=limits) as world:
        world.create_source(some_articles(300))
        world.step("prepare")
        seen: list[dict[str, Any]] = []

        def look() -> None:
            def slowed() -> Any:
                pace = world.step("status")["migration"]["pace"]
                return pace["slowed"] and pace

            try:
                seen.append(eventually(slowed))
            finally:
                throttle(world.settings, world.store, Console(quiet=True), off=True)

        operator = threading.Thread(target=look)
        operator.start()
        world.step("load")
        operator.join(60)
        assert seen[0]["reason"].endswith(" ms > 0.01 ms")
        assert 0.01 < seen[0]["slowed"]["p99_ms"] < 60_000
        world.assert_migrated()


def test_another_application_hardly_feels_a_load_that_is_limited(
    cassandra: CassandraCluster, old_model: Path, tmp_path: Path, spark: SparkSession
):
    """Its writes' p99 stays below twice what it is without us, before or after. One of four tries counts."""
    tries: list[tuple[float, int]] = []
    limited = cluster_world(tmp_path, (old_model, None), cassandra, load={"ranges": 120})
    with limited as world, neighbour(world) as took:
        fill(world, 12_000, 24)
        alone_s = p99_alone(took, 12)
        # Each try allows the load more: how far a machine's slowest answers lie above the usual ones differs.
        for factor in (1.5, 2.0, 2.0, 3.0):
            # Without a limit it is four to fourteen times as much; see docs/how-to/throttle.md.
            world.with_settings(throttle={"max_latency": f"{1000 * factor * alone_s:.3f}ms"})
            world.step("prepare")
            beside_s, rows = p99_beside_a_load(world, took, 12)
            world.step("abort")
            before_s, alone_s = alone_s, p99_alone(took, 12)
            tries.append((beside_s / max(before_s, alone_s), rows))
            if rows and tries[-1][0] < 2:
                return
    pytest.fail(f"times as long as alone, and rows that the load carried meanwhile: {tries}")
