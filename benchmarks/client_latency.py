"""Latency of another client's writes while a load runs, with and without a latency limit, on a Cassandra of its own.

``python -m benchmarks.client_latency``. The client writes a table of its own, from a process of its own, fifty rows per
second. The load copies vectors, so that writing is the bottleneck and not a model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from embedshift.spark.context import spark_context
from scripts.run_cassandra import CassandraCluster
from tests.cluster.neighbour import fill, neighbour, p99_alone, p99_beside_a_load
from tests.cluster.worlds import cluster_world
from tests.small_models import save_model

ROWS, DIMENSION, SECONDS, TURNS = 20_000, 256, 20.0, 2


def main() -> None:
    """Print the client's 99th percentile alone, and beside loads with limits of several times that, in turns."""
    with tempfile.TemporaryDirectory() as name, CassandraCluster(Path(name) / "node", use="measured") as node:
        models = save_model(Path(name) / "old", DIMENSION, seed=1, poisoned=False), None
        with (
            cluster_world(Path(name), models, node) as world,
            neighbour(world) as took,
            spark_context(world.settings, "client latency"),
        ):
            fill(world, ROWS, DIMENSION)
            for _ in range(TURNS):
                alone_s = p99_alone(took, SECONDS)
                print(f"alone: p99 {1000 * alone_s:.1f} ms", flush=True)
                for times in (None, 2.0, 1.5, 1.0):
                    limit = None if times is None else f"{1000 * times * alone_s:.3f}ms"
                    world.with_settings(throttle={"max_latency": limit})
                    world.step("prepare")
                    p99_s, rows = p99_beside_a_load(world, took, SECONDS)
                    world.step("abort")
                    limited = "without a limit" if limit is None else f"with a limit of {limit}"
                    print(f"beside a load {limited}: p99 {1000 * p99_s:.1f} ms, {p99_s / alone_s:.1f} ×; {rows:,} rows")


if __name__ == "__main__":
    main()
