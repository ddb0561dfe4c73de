"""A migration in one Spark session, step by step, for the measures of load and sync."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobs.catalog.ranges import forget_step, read_ranges
from jobs.spark.plan import plan_ranges
from jobs.spark.run import run_transfer
from jobs.spark.session import spark_session
from jobs.spark.transfer import transfer_of
from tests.world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextmanager
def prepared(world: World) -> Iterator[SparkSession]:
    """The target made, and a session whose workers have its model."""
    world.step("prepare")
    with spark_session(world.settings, "benchmark", model=world.migration.target.model) as session:
        yield session


def carried(world: World, session: SparkSession, step: str) -> tuple[int, float]:
    """Carry what differs between the tables once, as ``load`` and each pass of ``sync`` do.

    Returns:
        Rows, and seconds, of the steady state: from the first range that each core has finished to the last.
    """
    store, migration = world.store, world.migration
    forget_step(store, migration.id, step)
    transfer = transfer_of(world.settings, store, migration, step)
    plan = plan_ranges(store, "articles", world.settings.load.ranges)
    run_transfer(session, store, transfer, plan, attempts=1, report=lambda _: None, still_ours=lambda: None)
    ended = sorted(read_ranges(store, migration.id, step), key=lambda each: each.ended_us)
    first = session.sparkContext.defaultParallelism - 1
    rows = sum(each.counts.read for each in ended[first + 1 :])
    return rows, (ended[-1].ended_us - ended[first].ended_us) / 1e6
