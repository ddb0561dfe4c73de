"""A limit of latency on a real server: what its requests took is what writers slow down for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedshift.operations.throttle import throttle
from scripts.run_cassandra import CassandraCluster
from tests.cluster.neighbour import fill, neighbour, p99_beside_a_load
from tests.cluster.worlds import cluster_world
from tests.world import eventually, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext


def test_writers_slow_down_while_the_servers_answers_are_slower_than_the_limit(
    cassandra: CassandraCluster, old_model: Path, new_model: Path, tmp_path: Path, spark: SparkContext
):
    # No server answers a write within a hundredth of a millisecond. The rate lets the load last until that is learnt.
    limits = {"max_latency": "0.01ms", "rows_per_second": 30}
    with cluster_world(tmp_path, (old_model, new_model), cassandra, throttle=limits) as world:
        world.create_source(some_articles(300))
        world.step("prepare")
        seen: list[dict[str, Any]] = []

        def look() -> None:
            def slowed() -> Any:
                throttle = world.step("status")["migration"]["throttle"]
                return throttle["slowed"] and throttle

            try:
                seen.append(eventually(slowed))
            finally:
                world.run(throttle, off=True)

        operator = threading.Thread(target=look)
        operator.start()
        world.step("load")
        operator.join(60)
        assert seen[0]["reason"].endswith(" ms > 0.01 ms")
        assert 0.01 < seen[0]["slowed"]["p99_ms"] < 60_000
        world.assert_migrated()


@pytest.mark.long
def test_another_application_feels_a_load_less_that_is_limited(
    cassandra: CassandraCluster, old_model: Path, tmp_path: Path, spark: SparkContext
):
    """Under a limit of half of what its writes' p99 is beside an unlimited load, that p99 falls, and rows flow on.

    How far it is then from its value without us, ``benchmarks.client_latency`` measures: here it is a handful of
    writes, which wait on the same two cores for the load's own processes too. It scatters: one of three tries counts.
    """
    with cluster_world(tmp_path, (old_model, None), cassandra, load={"ranges": 48}) as world, neighbour(world) as took:
        fill(world, 12_000, 24)

        def beside(limit_s: float | None) -> tuple[float, int]:
            world.with_settings(throttle={"max_latency": limit_s and f"{1000 * limit_s:.3f}ms"})
            world.step("prepare")
            found = p99_beside_a_load(world, took, 12)
            world.step("abort")
            return found

        tries: list[tuple[float, float, int]] = []
        for _ in range(3):
            unlimited_s, _ = beside(None)
            limited_s, rows = beside(unlimited_s / 2)
            tries.append((unlimited_s, limited_s, rows))
            if rows and limited_s < 0.75 * unlimited_s:
                return
    pytest.fail(f"p99 in seconds without a limit and with one, and the rows that the load then carried: {tries}")
