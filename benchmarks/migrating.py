"""A migration in one Spark context, step by step, for the measures of load and sync."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from embedshift.catalog.ranges import RangeRecord, forget_step, read_ranges
from embedshift.embedding import choose_precision
from embedshift.settings import ModelSettings
from embedshift.spark.context import spark_context
from embedshift.spark.ranges import plan_ranges
from embedshift.spark.run import run_transfer
from embedshift.spark.transfer import transfer_of
from tests.world import World

if TYPE_CHECKING:
    from pyspark import SparkContext


def cores() -> int:
    """How many tasks run at once, and how many processes the other side has."""
    return os.cpu_count() or 1


def cut(ranges_a_core: int, model: str | None = None, documents: list[str] | None = None) -> dict[str, Any]:
    """Settings of a migration on all cores; the precision is chosen once, so that every turn has the same."""
    load: dict[str, Any] = {"ranges": ranges_a_core * cores()}
    if model and documents:
        load["precision"] = choose_precision(ModelSettings(name=model), documents[:64])
    return {"load": load, "spark": {"master": f"local[{cores()}]"}}


@contextmanager
def prepared(world: World) -> Iterator[SparkContext]:
    """Prepare the target; yields a Spark context whose workers have its model loaded."""
    world.step("prepare")
    with spark_context(world.settings, "benchmark", model=world.migration.target.model) as spark:
        yield spark


def carried(world: World, spark: SparkContext, step: str) -> tuple[int, float]:
    """Run the transfer between the tables once, as ``load`` and each pass of ``sync`` do.

    Returns:
        Rows and seconds of the steady state: from when each core has finished its first range to when the first of them
        finds no further range. If a range reaches beyond either end, its rows count by its share of time within.
    """
    store, migration = world.store, world.migration
    forget_step(store, migration.id, step)
    transfer = transfer_of(world.settings, store, migration, step)
    plan = plan_ranges(store, "articles", world.settings.load.ranges)
    run_transfer(spark, store, transfer, plan, attempts=1, report=lambda _: None, still_ours=lambda: None)
    ranges = list(read_ranges(store, migration.id, step))
    rows, seconds = _between(ranges, spark.defaultParallelism)
    return round(rows), seconds


def steady(ranges: Sequence[RangeRecord], tasks: int) -> float:
    """Rows per second of the steady state (see ``carried``) of ranges that so many tasks at once have carried."""
    rows, seconds = _between(ranges, tasks)
    return rows / seconds


def _between(ranges: Sequence[RangeRecord], tasks: int) -> tuple[float, float]:
    ended = sorted(each.ended_us for each in ranges)
    first_us, last_us = ended[tasks - 1], ended[len(ended) - tasks]
    return sum(each.counts.read * _within(each, first_us, last_us) for each in ranges), (last_us - first_us) / 1e6


def _within(done: RangeRecord, first_us: int, last_us: int) -> float:
    """Which share of the time of a range lies between two times."""
    took_us = done.seconds * 1e6
    inside_us = min(done.ended_us, last_us) - max(done.ended_us - took_us, first_us)
    return max(0.0, inside_us) / took_us
