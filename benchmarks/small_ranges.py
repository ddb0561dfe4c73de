"""What a range costs beyond its embedding: a load in ranges of ten rows, with a table of word vectors."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.corpus import log_normal, texts
from benchmarks.migrating import carried, cores, cut, prepared
from benchmarks.pairs import Result, results_of
from benchmarks.scenes import StoreName, fill, scene
from embedshift.catalog.vector_table import proven_model
from embedshift.embedding import Model

_ROWS_A_RANGE = 10


def measure(*, quick: bool) -> list[Result]:
    """Each store, in steady state."""
    stores: tuple[StoreName, ...] = ("embedded",) if quick else ("embedded", "Cassandra")
    return results_of(partial(_measured, store, 20 if quick else 100, 1 if quick else 3) for store in stores)


def _measured(store: StoreName, ranges_a_core: int, turns: int) -> Result:
    ranges = ranges_a_core * cores()
    articles = log_normal(_ROWS_A_RANGE * ranges)
    found = []
    with scene(store, **cut(ranges_a_core)) as world:
        fill(world, articles, vectors=False)
        with prepared(world) as spark:
            for _ in range(turns + 1):
                world.step("abort")
                world.step("prepare")
                rows, seconds = carried(world, spark, "load")
                found.append(1000 * cores() * seconds / (rows / _ROWS_A_RANGE))
            embedding_ms = _embedding_ms(
                proven_model(world.store, world.migration.target), texts(articles[:_ROWS_A_RANGE])
            )
    return Result(
        f"a range of {_ROWS_A_RANGE} rows beyond its embedding, {store}",
        "a millisecond",
        "ms of a core",
        [each - embedding_ms for each in found[1:]],
        [1.0] * turns,
        50,
        most=True,
        note=f"{ranges} ranges; their embedding takes {embedding_ms:.1f} ms each; the first turn does not count",
    )


def _embedding_ms(model: Model, documents: list[str]) -> float:
    took = []
    for _ in range(20):
        started = time.perf_counter()
        model.embed(documents)
        took.append(1000 * (time.perf_counter() - started))
    return sorted(took)[len(took) // 2]
