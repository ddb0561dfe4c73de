"""How long a search takes if many of the articles are inactive: ``python -m benchmarks.search_among_inactive``.

With ``--cassandra`` on a Cassandra node that is started for it, otherwise on the embedded store.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from embedshift import Articles
from embedshift.articles.delete import add_soft_delete
from embedshift.catalog.alias import create_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.small_models import save_model, words
from tests.world import World

ROWS, QUESTIONS, K = 5000, 30, 10


def main() -> None:
    """Print a line for each share of inactive articles: rounds of the index, and the time of a search."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        world = _world(Path(folder), stack)
        chance = random.Random(1)
        with Articles.open(world.settings) as articles:
            started = time.perf_counter()
            articles.add_many(
                {"id": f"a{n}", "title": _text(chance, 3), "content": _text(chance, 12)} for n in range(ROWS)
            )
            print(f"{world.store.label}: {ROWS / (time.perf_counter() - started):,.0f} articles added per second")
            questions = [_text(chance, 4) for _ in range(QUESTIONS)]
            order = chance.sample(range(ROWS), ROWS)
            for share in (0, 0.5, 0.9, 0.99):
                moment = "2026-01-01T00:00:00Z"
                articles.add_many({"id": f"a{n}", "deactivated_at": moment} for n in order[: int(share * ROWS)])
                _measure(articles, questions, share)


def _world(folder: Path, stack: ExitStack) -> World:
    models = save_model(folder / "old", 24, seed=1, poisoned=False), None
    if "--cassandra" in sys.argv:
        cluster = CassandraCluster(folder / "node", use="measured")
        cluster.start()
        stack.callback(cluster.stop)
        world = stack.enter_context(cluster_world(folder / "world", models, cluster))
    else:
        world = World(folder, models)
        stack.callback(world.close)
    ensure_catalog(world.store)
    world.create_source()
    create_alias(
        world.store, "articles", live_vector_table(world.settings, world.store, world.store.describe("articles"))
    )
    add_soft_delete(world.settings, world.store)
    return world


def _text(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(words(), k=count))


def _measure(articles: Articles, questions: list[str], share: float) -> None:
    store: Any = articles._store
    search, asked, seconds, found = store.search, [], [], []

    def counted(*arguments: Any, **more: Any) -> Any:
        asked.append(arguments[3])
        return search(*arguments, **more)

    articles.search(questions[0], K)
    store.search = counted
    for question in questions:
        started = time.perf_counter()
        found.append(len(articles.search(question, K)))
        seconds.append(time.perf_counter() - started)
    store.search = search
    print(
        f"{share:>4.0%} inactive: {statistics.median(seconds) * 1000:6.1f} ms (maximum {max(seconds) * 1000:.1f}), "
        f"{len(asked) / QUESTIONS:.1f} reads of the index, at least {min(found)} of {K} found"
    )


if __name__ == "__main__":
    main()
