"""Invariant 4 on a real Cassandra: kill anything, any time; a run again does only what was not finished."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import World, eventually, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

#: Ten in the long tests.
KILLS = int(os.environ.get("KILLS") or 2)
RANGES = 40


def test_a_load_killed_at_random_moments_ends_complete_and_does_no_recorded_range_twice(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, spark: SparkContext
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    with cluster_world(tmp_path, (old_model, new_model), cassandra, load={"ranges": RANGES}) as world:
        world.create_source(some_articles(600))
        world.step("prepare")
        done = _done(world)
        for kill in range(KILLS):
            moment = _kill_a_load(world, chance)
            now = _done(world)
            # What was recorded stays as it was, to the attempt, the worker and the duration.
            assert done.items() <= now.items()
            print(f"kill {kill + 1} of {KILLS}, {moment}: {len(now)} of {RANGES} ranges done")
            done = now
        world.step("load")
        final = _done(world)
        assert done.items() <= final.items()
        assert all(record.state == "done" for record in world.ranges())
        world.assert_migrated()
        print(f"seed {seed}: {KILLS} kills, {len(final)} ranges, {len(world.read('articles_v2'))} rows, none lost")


def _done(world: World) -> dict[object, object]:
    return {record.range: record for record in world.ranges() if record.state == "done"}


def _kill_a_load(world: World, chance: random.Random) -> str:
    """Start a load and end it with all its children, somewhere between its first breath and its last range."""
    before = len(_done(world))
    running = world.start("load")
    if before == RANGES or chance.random() < 0.3:
        wait_s = chance.uniform(0, 8)
        moment = f"{wait_s:.1f} s after its start"
        time.sleep(wait_s)  # a moment in time is what is tested here, not a condition
    else:
        more = chance.randint(1, 6)
        moment = f"after {more} further ranges"
        eventually(
            lambda: running.poll() is not None or len(_done(world)) >= min(before + more, RANGES - 1), every_s=0.5
        )
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        moment += " (it had ended)"
    running.communicate(timeout=60)
    return moment
