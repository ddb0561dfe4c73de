"""The program in tutorials, row by row (select, encode, insert), compared with the whole load."""

from __future__ import annotations

import time

from benchmarks.bare_driver import session_of
from benchmarks.corpus import cranfield, log_normal, texts
from benchmarks.embedding import MODEL
from benchmarks.migrating import carried, cut, prepared
from benchmarks.pairs import Result, in_pairs
from benchmarks.scenes import fill, scene
from embedshift.embedding.packaged import load_packaged
from tests.world import World

_STATIC = "package:wordllama-l2-256"
_INSERT = "INSERT INTO articles_v2 (id, title, content, embedding) VALUES (?, ?, ?, ?)"


def measure(*, quick: bool) -> list[Result]:
    """With a transformer, whose arithmetic limits both, and with a table of word vectors, where the method matters."""
    results = []
    # The arithmetic of a transformer is the same in both programs: only bfloat16 and batches can make it quicker.
    for model, rows, some, goal in (
        (MODEL, 64 if quick else 300, 16, None),
        (_STATIC, 1000 if quick else 20_000, 100, 15.0),
    ):
        results.append(_measured(model, rows, some if quick else 4 * some, 1 if quick else 2, goal))
    return results


def _measured(model: str, rows: int, some: int, pairs: int, goal: float | None) -> Result:
    articles = (cranfield(rows) if model == MODEL else []) or log_normal(rows)
    settings = cut(8, model, texts(articles))
    with scene("Cassandra", model, **settings) as world:
        fill(world, articles, vectors=False)
        with prepared(world) as spark:

            def ours() -> float:
                world.step("abort")
                world.step("prepare")
                done, seconds = carried(world, spark, "load")
                return done / seconds

            rates, others = in_pairs(ours, lambda: _row_by_row(world, model, articles[:some]), pairs)
    return Result(
        f"whole load, {model.partition(':')[2]}, {settings['load']['precision']}",
        "the naive program: select a row, encode it, insert it",
        "rows/s",
        rates,
        others,
        goal,
        note=f"Cassandra, {len(articles):,} rows, the naive program {some} of them",
    )


def _row_by_row(world: World, model: str, articles: list[dict[str, str]]) -> float:
    network = load_packaged(model, "cpu")
    with session_of(world) as session:
        select = session.prepare("SELECT id, title, content FROM articles WHERE id = ?")
        insert = session.prepare(_INSERT)
        network.encode(["warm"], show_progress_bar=False)
        started = time.perf_counter()
        for each in articles:
            row = session.execute(select, (each["id"],)).one()
            vector = network.encode(f"{row.title}. {row.content}", show_progress_bar=False)
            session.execute(insert, (row.id, row.title, row.content, vector.tolist()))
        return len(articles) / (time.perf_counter() - started)
