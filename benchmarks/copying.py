"""Vectors copied between two tables on Cassandra, as a change of the index only needs it; nothing is embedded.

``python -m benchmarks.copying --against FOLDER`` compares the whole command with that of another checkout instead.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from cassandra.concurrent import execute_concurrent_with_args

from benchmarks.bare_driver import session_of
from benchmarks.children import Work, children
from benchmarks.corpus import log_normal
from benchmarks.migrating import cores, steady
from benchmarks.node import node, processor_s, shared_node
from benchmarks.pairs import Result, in_pairs
from benchmarks.scenes import DIMENSION, scene, with_vectors
from embedshift.catalog.ranges import read_ranges
from embedshift.embedding import DIGEST
from embedshift.settings import StoreSettings
from embedshift.stores import open_store
from embedshift.tokens import WHOLE_RING, TokenRange
from tests.world import World

_ROWS, _ROWS_QUICK, _AT_ONCE = 50_000, 5_000, 1000
_DEADLINE_S = 900
_TEXT, _CELLS = ("title", "content"), ("title", "content", "embedding", DIGEST)


def measure(*, quick: bool) -> list[Result]:
    """The steady state and the server's work."""
    rows, pairs = (_ROWS_QUICK, 1) if quick else (_ROWS, 3)
    with _filled(rows) as world, node() as server:
        spent: tuple[list[float], list[float]] = ([], [])
        parts = [(world.settings.store.model_dump_json(), each.start, each.end) for each in WHOLE_RING.split(cores())]

        def ours() -> float:
            _prepare(world)
            started = processor_s(server)
            _load(world)
            spent[0].append(processor_s(server) - started)
            return steady(list(read_ranges(world.store, world.migration.id, "load")), cores())

        with session_of(world) as session, children(_read_and_write, parts) as alone:

            def theirs() -> float:
                started = processor_s(server)
                _paged_and_inserted(world, session)
                spent[1].append(processor_s(server) - started)
                return rows / alone.ask()[0]

            rates, others = in_pairs(ours, theirs, pairs)
    return [
        Result(
            "vectors copied, steady state",
            "our reader and writer alone, without comparison, catalog and Spark, one process per core",
            "rows/s",
            rates,
            others,
            0.7,
            note=f"Cassandra, {rows:,} rows with {DIMENSION} dimensions",
        ),
        Result(
            "vectors copied, processor time of the server",
            "a loop that pages the same cells with the bare driver and inserts them",
            "s",
            spent[0][1:],
            spent[1][1:],
            1.0,
            most=True,
            note=f"{rows:,} rows; the whole command",
        ),
    ]


@contextmanager
def _filled(rows: int) -> Iterator[World]:
    """A world in which only the index changes, its source full of the model's vectors."""
    with scene(
        "Cassandra", None, only_index=True, load={"ranges": "auto"}, spark={"master": f"local[{cores()}]"}
    ) as world:
        fingerprint, table = world.old_model().fingerprint, world.store.describe("articles")
        articles, random = log_normal(rows), np.random.default_rng(1)
        for at in range(0, rows, _AT_ONCE):
            part = articles[at : at + _AT_ONCE]
            columns = {name: [each[name] for each in part] for name in ("id", *_TEXT)}
            vectors = random.standard_normal((len(part), DIMENSION), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            world.store.write(table, with_vectors(columns, fingerprint, vectors))
        yield world


def _prepare(world: World) -> None:
    """Make the target empty again."""
    if world.store.exists("articles_v2"):
        world.step("abort")
    world.step("prepare")


def _load(world: World) -> float:
    """Seconds of the command ``load``."""
    started = time.perf_counter()
    world.command("load").check_returncode()
    return time.perf_counter() - started


def _load_of(world: World, folder: Path) -> float:
    """The same by another checkout, with a catalog of its own. Its table is gone afterwards."""
    package = "embedshift" if (folder / "embedshift").is_dir() else "jobs"
    catalog = {**world.tree["store"]["catalog"], "keyspace": f"{world.tree['store']['keyspace']}_other"}
    # Only keys that every version knows.
    tree = {name: world.tree[name] for name in ("alias", "source", "target", "load", "spark")}
    config = world.folder / "other.yaml"
    config.write_text(yaml.safe_dump({**tree, "store": {**world.tree["store"], "catalog": catalog}}))

    def run(*arguments: str) -> float:
        started = time.perf_counter()
        command = [sys.executable, "-m", package, *arguments, "--config", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:] + done.stdout[-500:])
        return time.perf_counter() - started

    if world.store.exists("articles_v2"):
        world.step("abort")
    run("schema", "apply")
    run("prepare")
    try:
        return run("load")
    finally:
        run("abort", "--yes")


def _read_and_write(settings: str, start: int, end: int) -> Work:
    store = open_store(StoreSettings.model_validate_json(settings))
    source = store.describe("articles")

    def work() -> int:
        target, done = store.describe("articles_v2"), 0
        for batch in store.scan(source, TokenRange(start, end), values=_CELLS, times=_CELLS):
            store.write(target, batch)
            done += batch.num_rows
        return done

    return work


def _paged_and_inserted(world: World, session: Any) -> None:
    """Read every cell with its write time and TTL, and insert the rows, with nothing but the driver."""
    columns = ", ".join([f"{form}({name})" for name in _CELLS for form in ("writetime", "ttl")])
    found = session.execute(session.prepare(f"SELECT id, {', '.join(_CELLS)}, {columns} FROM articles"))
    insert = session.prepare(
        f"INSERT INTO articles_v2 (id, {', '.join(_CELLS)}) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
    )
    while True:
        # Page by page: the driver fetches a page where it is asked for, which must not be its own thread.
        rows = [(*row[:6], row[6] or 0) for row in found.current_rows]
        execute_concurrent_with_args(session, insert, rows)
        if not found.has_more_pages:
            return
        found.fetch_next_page()


def main() -> None:
    """Print the seconds of the whole command, ours and another checkout's, in pairs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.copying", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--against", type=Path, required=True, help="the folder of another checkout")
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    with shared_node(True) as environment:
        # The scene uses the same node; without this it would start another one.
        os.environ.update(environment)
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    with node() as server, _filled(options.rows) as world:

        def seconds(name: str, load: Callable[[], float]) -> Callable[[], float]:
            def once() -> float:
                busy, took = processor_s(server), load()
                print(f"{name}: {took:.1f} s, the server {processor_s(server) - busy:.1f} s", flush=True)
                return took

            return once

        def prepared_load() -> float:
            _prepare(world)
            return _load(world)

        here, there = seconds("here", prepared_load), seconds("there", lambda: _load_of(world, options.against))
        ours, theirs = in_pairs(here, there, options.pairs)
    print("ratios", [round(each / other, 3) for each, other in zip(ours, theirs, strict=True)])


if __name__ == "__main__":
    main()
