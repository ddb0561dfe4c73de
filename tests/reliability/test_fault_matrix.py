"""Every fault that we know how to make, in the middle of a step on three real nodes: nothing is lost or mixed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift import Articles
from embedshift.spark.run import planned_ranges
from embedshift.spark.stores import Stores
from embedshift.spark.task import RangeTask, carry_range
from embedshift.spark.transfer import transfer_of
from scripts.run_cassandra import CassandraCluster
from tests.articles.applications import calls_of
from tests.reliability import faults
from tests.reliability.faults import Fault, strike_during
from tests.reliability.life import SMALL, Life, known_to, lived, living
from tests.reliability.matrix import Matrix, tried_again
from tests.reliability.writer import Asker, Writer
from tests.world import DEADLINE_S, HOUR_US, now_us

if TYPE_CHECKING:
    from pyspark import SparkContext

pytestmark = pytest.mark.matrix

ROWS = 240


@pytest.fixture(scope="module")
def life(
    tmp_path_factory: pytest.TempPathFactory,
    old_model: Path,
    new_model: Path,
    three_nodes: CassandraCluster,
    spark: SparkContext,
) -> Iterator[Life]:
    """One live table for all cases: each migrates it into a table of its own, and gives that up at the end."""
    with lived(tmp_path_factory.mktemp("life"), (old_model, new_model), three_nodes, ROWS) as life:
        yield life


def fault_of(name: str, cluster: CassandraCluster, disk: Path | None) -> Fault:
    if name == "disk":
        if disk is None:
            pytest.skip("mounting a small disk needs root, or sudo without a password")
        return faults.DiskFull(cluster, SMALL, disk)
    made: dict[str, Callable[[], Fault]] = {
        "command": faults.DriverKilled,
        "worker": faults.WorkerKilled,
        "jvm": faults.JvmKilled,
        "pause": lambda: faults.NodePaused(cluster),
        "timeout": lambda: faults.WriteTimedOut(cluster),
        "coordinator": lambda: faults.CoordinatorKilled(cluster),
    }
    return made[name]()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("command", "load"),
        ("worker", "load"),
        ("jvm", "sync"),
        ("pause", "load"),
        ("timeout", "load"),
        ("coordinator", "sync"),
        ("disk", "load"),
    ],
)
def test_a_fault_while_an_application_writes_loses_nothing(
    name: str, step: str, life: Life, three_nodes: CassandraCluster, disk: Path | None, matrix: Matrix
) -> None:
    fault = fault_of(name, three_nodes, disk)
    with matrix.case(fault.name, step) as outcome:
        life.struck(outcome, step, fault)


def test_two_attempts_of_every_range_side_by_side_and_a_late_third_one(
    life: Life, three_nodes: CassandraCluster, matrix: Matrix
) -> None:
    """What speculative execution does, and a worker that was thought dead: the same range, written again and again."""
    world = life.world
    life.next_target()
    with matrix.case("every range tried twice at once, and once more late", "load") as outcome:
        world.step("prepare")
        transfer = transfer_of(world.settings, world.store, world.migration, "load")
        parts, stores = planned_ranges(world.store, transfer), Stores.one(world.store)
        assert len(parts) == world.settings.load.ranges

        def attempt() -> None:
            for part in parts:
                carry_range(stores, transfer, part.range, 1)

        tasks = [RangeTask(stores, transfer, part.range, 1) for part in parts]
        late = [[task.embed(window) for window in task.compared()] for task in tasks]
        with Writer(world, three_nodes, life.own) as writer:
            with ThreadPoolExecutor(2) as pool:
                for each in [pool.submit(attempt), pool.submit(attempt)]:
                    each.result(DEADLINE_S)
            # Both have recorded every range as done: the step finds nothing left.
            world.steps("load", "sync", "index")
        life.own = writer.truth
        world.step("sync")
        for task, windows in zip(tasks, late, strict=True):
            with task.recorded():
                for window in windows:
                    task.write(window)
        world.step("sync")
        outcome.application, outcome.again = f"{writer.writes} writes", 2 * len(parts)
        life.judge(outcome)
        world.step("abort")


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
def test_an_application_whose_clock_is_an_hour_off_loses_nothing_where_clock_skew_says_so(
    hours: int, life: Life, three_nodes: CassandraCluster, matrix: Matrix
) -> None:
    world, off_us, words = life.world, hours * HOUR_US, "ahead" if hours > 0 else "behind"

    def appears(id_: str) -> None:
        """An article that comes into the new table alone, after the switch, by that clock."""
        at_us = now_us() + off_us
        row = {"id": id_, "title": ("new", at_us), "content": ("application", at_us)}
        world.write(world.settings.target.table, *world.embedded(world.migration.target.model, row))

    life.next_target()
    world.with_settings(sync={"clock_skew": "10s"})
    with matrix.case(f"a clock an hour {words}", "load to rollback") as outcome:
        world.step("prepare")
        # Articles of its own: whose clock is ahead writes what nobody else can change for an hour.
        with Writer(world, three_nodes, {}, off_us, name=words) as writer:
            world.steps("load", "sync", "index")
        life.theirs |= writer.truth
        world.steps("sync", "validate", "cutover")
        life.judge(outcome)
        if hours < 0:
            with matrix.case("the same, sync.clock_skew left at 10 s", "sync after the switch") as unsaid:
                # Without the setting it looks like a row that was deleted at the source long before the switch.
                appears("unsaid")
                world.step("sync")
                unsaid.rows, unsaid.lost = 1, ("unsaid",) not in world.read(world.settings.target.table)
                assert unsaid.lost == 1
        world.with_settings(sync={"clock_skew": "2h"})
        appears(f"said-{words}")
        life.theirs[f"said-{words}"] = ("new", "application")
        world.steps("sync", "rollback")
        outcome.application, outcome.again = f"{writer.writes + 1} writes", tried_again(world)
        life.judge(outcome, back=True)
        world.with_settings(sync={"clock_skew": "10ms"})
        world.step("abort")


def test_a_cutover_killed_after_the_move_and_a_rollback_past_a_silent_node_mix_no_models(
    life: Life, three_nodes: CassandraCluster, matrix: Matrix
) -> None:
    world = life.world
    life.next_target()
    world.steps("prepare", "load", "sync", "index", "sync", "validate")
    with Articles.open(world.config) as client, Asker(world, life.still, 1) as asker:
        with living(client, 1, 2) as first, matrix.case("the command killed", "cutover") as cutover:
            strike_during(world, "cutover", faults.DriverKilled())
        answered = asker.models.copy()
        cutover.application, cutover.mixed = f"{calls_of(first).total()} calls", asker.mixed
        life.theirs |= known_to(first)
        life.judge(cutover)
        with living(client, 3, 4) as second, matrix.case(faults.NodePaused.name, "rollback") as rollback:
            strike_during(world, "rollback", faults.NodePaused(three_nodes))
    rollback.application, rollback.mixed = f"{calls_of(second).total()} calls", asker.mixed
    life.theirs |= known_to(second)
    # What could not be written to both tables meanwhile is in the live one; the next sync carries it over.
    world.step("sync")
    life.judge(rollback, back=True)
    life.judge(rollback)
    assert answered == {world.tree[side]["model"]["name"] for side in ("source", "target")}
    world.step("abort")
