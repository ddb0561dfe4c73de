"""The time to the first embedded row, compared with importing torch and loading the model once."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.corpus import log_normal
from benchmarks.embedding import MODEL
from benchmarks.pairs import Result, in_pairs
from benchmarks.scenes import fill, scene
from embedshift.catalog.ranges import read_ranges

_BARE = """
from embedshift.embedding.packaged import load_packaged
load_packaged({model!r}, "cpu").encode(["one text"], show_progress_bar=False)
"""
_DEADLINE_S = 300


def measure(*, quick: bool) -> list[Result]:
    """From the start of the command to the first range that is done: Python, JVM, context, workers, model."""
    with scene("embedded", MODEL, load={"ranges": 1, "precision": "float32"}) as world:
        fill(world, log_normal(1), vectors=False)
        world.step("prepare")
        world.step("abort")

        def ours() -> float:
            world.step("prepare")
            started_us = time.time_ns() / 1000
            world.command("load", "--json").check_returncode()
            (done,) = read_ranges(world.store, world.migration.id, "load")
            world.step("abort")
            return 1e6 / (done.ended_us - started_us)

        def bare() -> float:
            started = time.perf_counter()
            command = [sys.executable, "-c", _BARE.format(model=MODEL)]
            subprocess.run(command, check=True, timeout=_DEADLINE_S, capture_output=True)
            return 1 / (time.perf_counter() - started)

        starts, others = in_pairs(ours, bare, 1 if quick else 2)
    return [
        Result(
            "time to the first embedded row",
            "importing torch, loading the model and embedding one text, in a fresh process",
            "s",
            [1 / each for each in starts],
            [1 / each for each in others],
            1.5,
            most=True,
            note="embedded store, from the start of embedshift load",
        )
    ]
