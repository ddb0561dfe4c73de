"""What ``expansion_search`` gives and costs on Cassandra: ``python -m benchmarks.search_widths``.

The share of the exactly nearest articles that a search finds, and its time, for several widths: Cranfield's abstracts
and questions, 256 dimensions, a node that is started for it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpus import CRANFIELD, cranfield, texts
from benchmarks.node import node
from embedshift.settings import IndexSettings
from tests.cluster.worlds import cluster_world
from tests.world import World, now_us

MODEL, K = "package:wordllama-l2-256", 10
WIDTHS = (None, 20, 50, 100, 200)


def main() -> None:
    """Print a line for each width."""
    articles = cranfield(sys.maxsize)
    if not articles:
        sys.exit("the Cranfield collection is not beside the project")
    lines = (CRANFIELD / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    with (
        tempfile.TemporaryDirectory() as name,
        node() as cluster,
        cluster_world(Path(name), (MODEL, None), cluster, digests=False) as world,
    ):
        vectors = world.encode(MODEL, texts(articles))
        questions = world.encode(MODEL, [json.loads(line)["text"] for line in lines])
        ids, moment = np.array([each["id"] for each in articles]), now_us()
        rows = zip(ids.tolist(), vectors.tolist(), strict=True)
        world.create_source({"id": id_, "embedding": (vector, moment)} for id_, vector in rows)
        exact = np.argsort(-(questions @ vectors.T), axis=1)[:, :K]
        _measure(world, questions, [set(each) for each in ids[exact]])


def _measure(world: World, questions: NDArray[np.float32], nearest: list[set[str]]) -> None:
    table, index = world.store.describe("articles"), world.store.index_on("articles", "embedding")
    assert index is not None

    def searched(width: int | None) -> tuple[float, float]:
        wide = replace(index, options=IndexSettings(expansion_search=width))
        seconds, shares = [], []
        for question, right in zip(questions, nearest, strict=True):
            started = time.perf_counter()
            hits = world.store.search(table, wide, question, K)
            seconds.append(time.perf_counter() - started)
            shares.append(len(right & {hit.values["id"] for hit in hits}) / K)
        return float(np.mean(shares)), statistics.median(seconds)

    searched(None)  # the first searches are the slowest
    for width in WIDTHS:
        share, seconds = searched(width)
        print(f"{width or 'not set':>7}: {share:6.1%} of the {K} nearest, {1000 * seconds:.1f} ms")


if __name__ == "__main__":
    main()
