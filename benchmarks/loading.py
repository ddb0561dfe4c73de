"""The whole load (read, embed and write), compared with the embedding stage alone on the same cores."""

from __future__ import annotations

from functools import partial

from benchmarks.children import children
from benchmarks.corpus import cranfield, log_normal, texts
from benchmarks.embedding import MODEL, stage
from benchmarks.migrating import carried, cores, cut, prepared
from benchmarks.pairs import Result, in_pairs, results_of
from benchmarks.scenes import StoreName, fill, scene

#: Ranges per core, and documents. With fewer ranges little would be left between the first and the last; with fewer
#: documents a range's own cost, which is that of a few documents, would count as if ranges had no more.
_RANGES, _DOCUMENTS, _DOCUMENTS_QUICK = 5, 1200, 200
_GOALS: tuple[tuple[StoreName, float], ...] = (("embedded", 0.95), ("Cassandra", 0.92))


def measure(*, quick: bool) -> list[Result]:
    """In steady state: the workers are warm, and all cores are busy."""
    count, pairs = (_DOCUMENTS_QUICK, 1) if quick else (_DOCUMENTS, 3)
    articles = cranfield(count) or log_normal(count)
    goals = _GOALS[:1] if quick else _GOALS
    return results_of(partial(_measured, store, articles, goal, pairs) for store, goal in goals)


def _measured(store: StoreName, articles: list[dict[str, str]], goal: float, pairs: int) -> Result:
    documents = texts(articles)
    settings = cut(_RANGES, MODEL, documents)
    precision = settings["load"]["precision"]
    with scene(store, MODEL, **settings) as world:
        fill(world, articles, vectors=False)
        with prepared(world) as spark:
            # A window never crosses a range, so the stage alone gets as many texts at a time to sort by length.
            window = len(documents) // (_RANGES * cores())
            shares = [(documents[part :: cores()], precision, window) for part in range(cores())]

            def ours() -> float:
                world.step("abort")
                world.step("prepare")
                rows, seconds = carried(world, spark, "load")
                return rows / seconds

            with children(stage, shares) as alone:
                rates, others = in_pairs(ours, lambda: len(documents) / alone.ask()[0], pairs)
    return Result(
        f"whole load, {store}, {precision}",
        "the embedding stage alone on the same documents and cores, in windows as long as a range",
        "documents/s",
        rates,
        others,
        goal,
        note=f"{len(articles):,} documents in {_RANGES * cores()} ranges, steady state",
    )
