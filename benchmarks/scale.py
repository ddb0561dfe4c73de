"""How a load grows with the table: ``python -m benchmarks.scale [--largest 1000000]``.

The real command loads synthetic rows in the embedded store, on all cores: once embedded by a static model, and once
with copied vectors, which costs nothing and shows only the pipeline. Time is from the start of the first task to the
end of the last; memory is the maximum of all Python workers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.corpus import short
from benchmarks.pairs import Result
from benchmarks.record import heading, write_record
from benchmarks.scenes import with_vectors
from embedshift.embedding import load_model
from embedshift.reporting.data import throughput
from embedshift.settings import ModelSettings
from embedshift.tokens import WHOLE_RING
from tests.processes import command, descendants, peak_mb
from tests.small_models import save_model
from tests.world import ROOT, World

KINDS = ("static model", "vectors copied")
DIMENSION, BATCH, RANGE_ROWS = 64, 10_000, 5_000
DEADLINE_S = 3 * 3600


@dataclass(frozen=True, slots=True)
class Run:
    """One load: its rows, its seconds, and the peak memory of a worker."""

    kind: str
    rows: int
    seconds: float
    rows_per_second: float
    worker_mb: float


def measure(*, quick: bool) -> list[Result]:
    """Every kind at two sizes, the second ten times the first."""
    largest = 40_000 if quick else 100_000
    return results(runs(largest // 10, largest))


def runs(least: int, largest: int) -> list[Run]:
    """Load every size from least to largest, each ten times the one before, in every way, and print each."""
    found = []
    rows = least
    while rows <= largest:
        for kind in KINDS:
            found.append(_run(kind, rows))
            print(_line(found[-1]), flush=True)
        rows *= 10
    return found


def results(found: list[Run]) -> list[Result]:
    """The slopes, which should be 1, and the memory, which should not grow."""
    made = []
    for kind in KINDS:
        sizes = [run for run in found if run.kind == kind]
        slope = slope_of(sizes)
        note = ", ".join(f"{run.rows:,} rows: {run.rows_per_second:,.0f} rows/s" for run in sizes)
        made.append(
            Result(f"growth of time, {kind}", "linear", "log s/log row", [slope], [1.0], 1.1, most=True, note=note)
        )
        last, before = sizes[-1], sizes[-2]
        made.append(
            Result(
                f"peak memory of a worker at {last.rows:,} rows, {kind}",
                f"at {before.rows:,} rows",
                "MB",
                [last.worker_mb],
                [before.worker_mb],
                1.1,
                most=True,
            )
        )
    return made


def slope_of(sizes: list[Run]) -> float:
    """The slope of the line through log seconds over log rows: 1 if twice the rows take twice the time."""
    rows, seconds = [log(run.rows) for run in sizes], [log(run.seconds) for run in sizes]
    return float(np.polyfit(rows, seconds, 1)[0])


def _run(kind: str, rows: int) -> Run:
    copied = kind != KINDS[0]
    with filled(rows, copied=copied) as world:
        world.step("prepare")
        _, worker_mb = watched(world, "load")
        spent = throughput(world.store, world.migration.id)
        assert spent is not None
        assert spent["rows"] == rows
        if copied:
            assert _vectors(world, "articles") == _vectors(world, "articles_v2"), "they were not copied"
        return Run(kind, rows, spent["seconds"], spent["rows_per_s_mean"], worker_mb)


@contextmanager
def filled(rows: int, *, copied: bool = False) -> Iterator[World]:
    """An embedded store with a table of synthetic rows; their vectors are copied, or made by another static model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = save_model(folder / "old", DIMENSION, seed=1, poisoned=False)
        new = None if copied else save_model(folder / "new", DIMENSION, seed=2)
        with closing(World(folder, (old, new), load={"ranges": max(2, rows // RANGE_ROWS)})) as world:
            world.with_settings(spark={"master": "local[*]"})
            world.create_source(dimension=DIMENSION)
            numbers, fingerprint = np.random.default_rng(1), load_model(ModelSettings(name=str(old))).fingerprint
            for articles in short(rows, BATCH):
                vectors = numbers.standard_normal((len(articles["id"]), DIMENSION), np.float32)
                rejected = world.store.write(
                    world.store.describe("articles"), with_vectors(articles, fingerprint, vectors)
                )
                assert rejected == []
            yield world


def watched(world: World, *arguments: str) -> tuple[float, float]:
    """Run a command. Returns the peak memory of its own process and the highest of its workers, in MB."""
    with (world.folder / "command.log").open("w+") as log_file:
        command_line = [sys.executable, "-m", "embedshift", *arguments, "--config", str(world.config), "--json"]
        process = subprocess.Popen(command_line, stdout=log_file, stderr=log_file, cwd=ROOT)
        own = workers = 0.0
        deadline = time.monotonic() + DEADLINE_S
        try:
            while process.poll() is None:
                assert time.monotonic() < deadline, "the command does not end"
                own = max(own, np.nan_to_num(peak_mb(process.pid)))
                workers = max([workers, *_peaks(process.pid)])
                time.sleep(0.2)
        finally:
            process.terminate()
            process.wait(60)
        log_file.seek(0)
        assert process.returncode == 0, log_file.read()
    return own, workers


def _peaks(process: int) -> Iterator[float]:
    for each in descendants(process):
        if command(each).rstrip().endswith("pyspark.worker"):  # under either daemon
            yield peak_mb(each)


def _vectors(world: World, table: str) -> list[pa.Array]:
    """The vectors of a small part of a table."""
    scanned = world.store.scan(world.store.describe(table), WHOLE_RING.split(100)[0], values=["embedding"], times=[])
    return [batch.column("embedding") for batch in scanned]


def _line(run: Run) -> str:
    return (
        f"{run.kind:<16} {run.rows:>10,} rows  {run.seconds:>8.1f} s  {run.rows_per_second:>8,.0f} rows/s"
        f"  worker {run.worker_mb:,.0f} MB"
    )


def main() -> None:
    """Print each run and the results of all, and write them as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--largest", type=int, default=1_000_000, metavar="ROWS")
    parser.add_argument("--least", type=int, default=10_000, metavar="ROWS")
    chosen = parser.parse_args()
    if chosen.largest < 10 * chosen.least:
        parser.error("--largest must be at least ten times --least, because one size shows no growth")
    head = heading(f"python -m benchmarks.scale --least {chosen.least} --largest {chosen.largest}")
    found = runs(chosen.least, chosen.largest)
    made = results(found)
    for kind in KINDS:
        sizes = [run for run in found if run.kind == kind]
        steps = ", ".join(f"{two.seconds / one.seconds:.1f}" for one, two in pairwise(sizes))
        print(f"{kind}: slope {slope_of(sizes):.3f}; ten times the rows take {steps} times the time")
    tree = {"runs": [asdict(run) for run in found], "results": [each.tree() for each in made]}
    print(f"written: {write_record({**head, **tree}, 'scale')}")


if __name__ == "__main__":
    main()
