"""What a row costs in each stage of a load: ``python -m benchmarks.stages [--model NAME] [--rows N]``.

Processor time of this process and of the Cassandra node beside it, one stage after the other, in one process.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import pyarrow as pa

from benchmarks.corpus import log_normal, texts
from benchmarks.node import node, processor_s, shared_node
from benchmarks.scenes import DIMENSION, cells, fill, scene
from embedshift.embedding import choose_precision, load_model, use_threads
from embedshift.settings import ModelSettings
from embedshift.tokens import WHOLE_RING

_CELLS = ("title", "content")
_WARM = 2


def main() -> None:
    """Print a line for each stage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", default="package:wordllama-l2-256")
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()
    use_threads(1)
    articles = log_normal(options.rows)
    documents = texts(articles)
    settings = ModelSettings(name=options.model)
    model = load_model(settings, choose_precision(settings, documents[:64]))
    with shared_node(True) as environment:
        _print_stages(options.rows, environment, articles, lambda: model.embed(documents))


def _print_stages(
    rows: int, environment: dict[str, str], articles: list[dict[str, str]], embed: Callable[[], object]
) -> None:
    os.environ.update(environment)
    with scene("Cassandra") as world, node() as server:
        table = fill(world, articles)
        batches = [cells(articles[at : at + 1000], at) for at in range(0, rows, 1000)]

        def read() -> int:
            found: list[pa.RecordBatch] = list(world.store.scan(table, WHOLE_RING, values=_CELLS, times=_CELLS))
            return sum(each.num_rows for each in found)

        def write() -> None:
            for batch in batches:
                world.store.write(table, batch)

        for name, work in (("reading", read), ("embedding", embed), (f"writing {DIMENSION} dimensions", write)):
            for _ in range(_WARM):
                work()
            own, its = time.process_time(), processor_s(server)
            work()
            own, its = time.process_time() - own, processor_s(server) - its
            print(f"{name:<24} {own / rows * 1e6:>7.0f} µs a row here, {its / rows * 1e6:>7.0f} µs in the server")


if __name__ == "__main__":
    main()
