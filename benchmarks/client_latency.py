"""What another client's writes take while a load runs, with a limit of latency and without: on a Cassandra of its own.

``python -m benchmarks.client_latency``. The client writes a table of its own, from a process of its own, fifty rows a
second. The load copies vectors, so that it is bound by writing and not by a model.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from jobs.settings import load_settings
from jobs.spark.rate import percentile_99
from jobs.stores import open_store
from jobs.stores.contract import Column, Table
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.small_models import save_model
from tests.world import World, batch_of, now_us, some_articles

ROWS, QUIET_S, EVERY_S = 20_000, 20.0, 0.02
CLIENT = Table("client", (Column("id", "text", "partition"), Column("title", "text")))


def main() -> None:
    """Print the client's 99th percentile alone, beside a load, and beside a load with twice its own as the limit."""
    with tempfile.TemporaryDirectory() as name, CassandraCluster(Path(name) / "node") as node:
        models = save_model(Path(name) / "old", 256, seed=1, poisoned=False), None
        limit_ms: float | None = None
        for turn in ("alone", "beside a load", "beside a load with a limit"):
            throttle = {"max_latency": None if limit_ms is None else f"{limit_ms:.3f}ms"}
            folder = Path(name) / turn.replace(" ", "-")
            with cluster_world(folder, models, node, throttle=throttle) as world:
                took, rate = _measured(world, load=turn != "alone")
            p99_ms = 1000 * percentile_99(took)
            if limit_ms is None:
                limit_ms = 2 * p99_ms
            print(f"{turn}: p99 {p99_ms:.1f} ms of {len(took):,} writes; the load wrote {rate:,.0f} rows/s", flush=True)


def _measured(world: World, *, load: bool) -> tuple[list[float], float]:
    """Seconds of each write of the client, and rows a second of the load."""
    world.store.create(CLIENT)
    if load:
        rows = some_articles(ROWS // 100)
        many = [{**row, "id": f"{row['id']}-{copy}"} for copy in range(100) for row in rows]
        world.create_source(dimension=256)
        model = world.old_model()
        for start in range(0, len(many), 1000):
            world.write("articles", *world.embedded(model, *many[start : start + 1000]))
        world.step("prepare")
    context = multiprocessing.get_context("spawn")
    ended, answers = context.Event(), context.Queue()
    client = context.Process(target=_client, args=(str(world.config), ended, answers))
    client.start()
    answers.get(timeout=120)
    started, rate = time.monotonic(), 0.0
    if load:
        rate = world.step("load")["rows"] / (time.monotonic() - started)
    else:
        time.sleep(QUIET_S)
    ended.set()
    took: list[float] = answers.get(timeout=120)
    client.join()
    return took, rate


def _client(config: str, ended: Event, answers: Any) -> None:
    store = open_store(load_settings(Path(config)).store)
    took: list[float] = []
    answers.put("ready")
    while not ended.wait(EVERY_S):
        row = batch_of(CLIENT, [{"id": f"c{len(took)}", "title": ("write", now_us())}])
        began = time.monotonic()
        store.write(CLIENT, row)
        took.append(time.monotonic() - began)
    store.close()
    answers.put(took[10:])  # the first ones open connections


if __name__ == "__main__":
    main()
