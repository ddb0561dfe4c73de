"""Many ranges: planned, recorded, watched, resumed, and given to Spark: ``python -m benchmarks.ranges [RANGES]``."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from embedshift.catalog.ranges import Counts, RangeRecord, open_ranges, progress, read_ranges, write_ranges
from embedshift.catalog.tables import BUCKETS, RANGE
from embedshift.spark.context import spark_context
from embedshift.spark.ranges import cut
from embedshift.spark.run import planned_ranges
from embedshift.spark.transfer import transfer_of
from embedshift.stores.model import Piece
from embedshift.tokens import WHOLE_RING
from tests.processes import peak_mb
from tests.small_models import save_model
from tests.world import World, some_articles

Made = TypeVar("Made")


class Figures:
    """Seconds and memory of several steps, printed at once."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def timed(self, name: str, work: Callable[[], Made]) -> Made:
        """Do a piece of work and note how long it took."""
        started = time.perf_counter()
        made = work()
        self.note(f"{name}, s", round(time.perf_counter() - started, 2))
        return made

    def note(self, name: str, value: float) -> None:
        """Print and keep a figure."""
        self.found[name] = value
        print(f"{name:<60} {value:>10,}", flush=True)


def main() -> None:
    """Print the figures, then all of them as JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    figures = Figures()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = save_model(folder / "old", 24, seed=1, poisoned=False), save_model(folder / "new", 40, seed=2)
        with closing(World(folder, models)) as world:
            world.create_source(some_articles(20))
            world.step("prepare")
            _catalog(world, count, figures)
            _spark(world, figures)
    figures.note("peak memory of the driver's Python, MB", round(peak_mb()))
    print(json.dumps(figures.found))


def _catalog(world: World, count: int, figures: Figures) -> None:
    store, migration = world.store, world.migration.id
    plan = figures.timed(f"cut the ring into {count:,} ranges", lambda: cut([Piece(WHOLE_RING)], count))
    figures.timed("plan them", lambda: open_ranges(store, migration, "load", plan))
    random.Random(1).shuffle(plan)
    done = [RangeRecord(each, "done", Counts(5, 5)) for each in plan[: count // 2]]
    figures.timed("record 1,000 as tasks do, one by one", lambda: _record(world, done[:1000]))
    figures.timed("record half of them", lambda: write_ranges(store, migration, "load", done))
    figures.timed("look at the progress once", lambda: progress(store, migration, "load"))
    figures.timed("resume under the same plan", lambda: open_ranges(store, migration, "load", plan))
    other = cut([Piece(WHOLE_RING)], count * 7 // 10)
    figures.timed("resume under another plan", lambda: open_ranges(store, migration, "load", other))
    figures.note("ranges then", sum(1 for _ in read_ranges(store, migration, "load")))
    parts = [{"migration": migration, "step": "load", "bucket": bucket} for bucket in range(BUCKETS)]
    figures.note("rows of the largest partition", max(sum(1 for _ in store.records.select(RANGE, p)) for p in parts))


def _record(world: World, records: list[RangeRecord]) -> None:
    for each in records:
        write_ranges(world.store, world.migration.id, "load", [each])


def _spark(world: World, figures: Figures) -> None:
    """What a job costs before its first task: every planned range becomes a task."""
    transfer = transfer_of(world.settings, world.store, world.migration, "load")
    with spark_context(world.settings, "ranges") as spark:
        ranges = planned_ranges(world.store, transfer)
        figures.timed("send what is left to Spark", lambda: spark.parallelize(ranges, len(ranges)).count())
        figures.note("tasks", len(ranges))
        jvm: Any = spark._jvm
        runtime = jvm.java.lang.Runtime.getRuntime()
        figures.note("memory of the driver's JVM, MB", (runtime.totalMemory() - runtime.freeMemory()) // 1_000_000)


if __name__ == "__main__":
    main()
