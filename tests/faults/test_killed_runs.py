"""Kill anything, any time: a run again does only what was not finished, and ends in the same state. Invariant 4."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import threading
from typing import Any

import pytest

import embedshift.steps.cutover
import embedshift.steps.prepare
import embedshift.steps.rollback
import embedshift.steps.sync
from embedshift.catalog.ranges import progress
from embedshift.catalog.tables import BUCKETS, RANGE
from embedshift.errors import OwnedByAnother, RefusedError, UnavailableError
from tests.processes import alive, command, descendants, kill, spark_workers
from tests.world import World, eventually, now_us, some_articles

ROWS = 240


def done_rows(world: World, step: str = "load") -> dict[int, dict[str, Any]]:
    """The catalog's rows of ranges that are done, by the start of the range."""
    found = {}
    for bucket in range(BUCKETS):
        partition = {"migration": world.migration.id, "step": step, "bucket": bucket}
        found.update(
            {r["range_start"]: r for r in world.store.records.select(RANGE, partition) if r["state"] == "done"}
        )
    return found


def started_load(world: World, done: int) -> tuple[subprocess.Popen[str], set[int]]:
    """A load in a process of its own that has recorded this many more ranges as done; and all processes of it."""
    before = progress(world.store, world.migration.id, "load").done
    process = world.start("load")

    def far_enough() -> bool:
        assert process.poll() is None, process.communicate()
        return progress(world.store, world.migration.id, "load").done >= before + done

    eventually(far_enough)
    return process, descendants(process.pid) | {process.pid}


def ended(process: subprocess.Popen[str], processes: set[int]) -> tuple[str, str]:
    """Waits until a run and everything that it started is gone."""
    out, err = process.communicate(timeout=300)
    eventually(lambda: not alive(processes))
    return out, err


@pytest.fixture
def world(new_world) -> World:
    world = new_world(load={"ranges": 48, "window_rows": 16}, cutover={"lease": "10m"})
    world.create_source(some_articles(ROWS))
    world.step("prepare")
    return world


def test_a_driver_killed_at_random_moments_is_taken_up_where_it_was(world, spark):
    chance = random.Random(20261123)
    kept: dict[int, dict[str, Any]] = {}
    for _ in range(2):
        process, processes = started_load(world, chance.randint(1, 12))
        kill(process.pid)
        ended(process, processes)
        assert process.returncode == -signal.SIGKILL
        kept |= done_rows(world)
        assert len(kept) < 48
        # Its lease runs on; but that its process is no more can be seen on this machine, so nobody has to wait.
        assert world.migration.owner
        assert world.migration.lease_until_us > now_us()
    result = world.step("load")
    assert result["rows"] == ROWS
    after = done_rows(world)
    assert {start: after[start] for start in kept} == kept, "a range that was done was done again"
    assert {row["attempts"] for row in after.values()} == {1}
    world.assert_migrated()
    assert world.migration.state == "loaded"


def test_ctrl_c_ends_a_load_with_one_line_and_gives_the_lease_back(world, spark):
    process, processes = started_load(world, 2)
    os.killpg(process.pid, signal.SIGINT)
    out, err = ended(process, processes)
    assert process.returncode == 130
    (line,) = [each for each in err.splitlines() if each.startswith("embedshift: ")]
    assert line == "embedshift: interrupted: finished work is kept, run the same command again to continue"
    assert "Traceback" not in out + err
    assert world.migration.owner == ""
    kept = done_rows(world)
    assert world.step("load")["rows"] == ROWS
    after = done_rows(world)
    assert {start: after[start] for start in kept} == kept
    world.assert_migrated()


def test_ctrl_c_ends_a_survey_with_one_line(loaded, spark):
    """The call of the JVM that it waits for must not keep the JVM from being stopped."""
    process = loaded.start("validate")
    eventually(lambda: any("embedshift.spark.worker" in command(each) for each in descendants(process.pid)))
    processes = descendants(process.pid) | {process.pid}
    os.killpg(process.pid, signal.SIGINT)
    out, err = ended(process, processes)
    assert process.returncode == 130, out + err
    assert err == "embedshift: interrupted: finished work is kept, run the same command again to continue\n"
    assert (loaded.migration.state, loaded.migration.owner) == ("synced", "")


def test_ctrl_c_while_spark_starts_is_one_line_too(world):
    process = world.start("load")
    eventually(lambda: any("SparkSubmit" in command(each) for each in descendants(process.pid)))
    processes = descendants(process.pid) | {process.pid}
    os.killpg(process.pid, signal.SIGINT)
    out, err = ended(process, processes)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert err.splitlines()[-1].startswith("embedshift: interrupted: ")
    assert world.migration.owner == ""


def test_a_jvm_that_is_killed_ends_the_load_in_one_line_and_another_load_goes_on(world, spark):
    process, processes = started_load(world, 2)
    (jvm,) = [each for each in descendants(process.pid) if "org.apache.spark.deploy.SparkSubmit" in command(each)]
    kill(jvm)
    out, err = ended(process, processes)
    assert process.returncode == UnavailableError.exit_code, out + err
    (line,) = [each for each in err.splitlines() if each.startswith("embedshift: ")]
    assert line.startswith("embedshift: Spark's JVM has ended in the middle of the step: find out why")
    assert "Traceback" not in out + err
    assert world.migration.owner == ""
    kept = done_rows(world)
    assert world.step("load")["rows"] == ROWS
    assert {start: done_rows(world)[start] for start in kept} == kept
    world.assert_migrated()


def test_spark_workers_killed_in_the_middle_cost_some_tries_and_nothing_else(world, spark):
    killed: list[int] = []
    stop = threading.Event()

    def murder() -> None:
        """Kill a worker after some ranges, and another one later."""
        for least in (3, 14):
            while not stop.wait(0.01) and progress(world.store, world.migration.id, "load").done < least:
                pass
            # Between two jobs there is none for a moment.
            while not stop.wait(0.01) and not (victims := spark_workers()):
                pass
            if victims:
                killed.append(min(victims))
                kill(killed[-1])

    thread = threading.Thread(target=murder)
    thread.start()
    try:
        result = world.step("load")
    finally:
        stop.set()
        thread.join(60)
    assert len(killed) == 2
    assert result["rows"] == ROWS
    world.assert_migrated()
    # The session is as good as before.
    world.steps("sync", "index", "sync", "validate")


def test_a_run_that_loses_its_lease_stops_and_changes_nothing(world, spark):
    """Somebody else took the migration: this run ends with exit 4, and the other one's state stays."""
    from embedshift.catalog.lease import Lease
    from embedshift.catalog.tables import MIGRATION

    def rob() -> None:
        eventually(lambda: progress(world.store, world.migration.id, "load").done >= 1)
        world.store.records.update_if(MIGRATION, {"id": world.migration.id}, {"owner": "a thief"}, {})

    # Ten seconds' work, of which the first range is done when the thief comes.
    world.with_settings(throttle={"rows_per_second": ROWS / 10})
    thread = threading.Thread(target=rob)
    thread.start()
    with pytest.raises(OwnedByAnother, match="this run lost migration"):
        world.step("load")
    thread.join(60)
    world.with_settings(throttle={"rows_per_second": None})
    assert len(done_rows(world)) < 48, "Spark went on with the job that was lost"
    assert not logging.root.manager.disable, "the log of this process fell silent"
    assert world.migration.owner == "a thief"
    assert world.migration.state == "prepared"
    world.store.records.update_if(MIGRATION, {"id": world.migration.id}, {"owner": "", "lease_until_us": 0}, {})
    assert Lease(world.store, world.migration.id, world.settings.cutover.lease).owner
    assert world.step("load")["rows"] == ROWS
    world.assert_migrated()


@pytest.mark.parametrize("moment", ["before_the_move", "after_the_move"])
def test_a_cutover_killed_beside_the_move_of_the_alias_is_run_again(new_world, spark, monkeypatch, moment):
    """Where most can go wrong: readers see the old table and model or the new ones, never a mixture."""
    world = new_world(cutover={"lease": "1s"})
    world.create_source(some_articles(20))
    world.steps("prepare", "load", "sync", "index", "sync", "validate")
    interrupted(monkeypatch, embedshift.steps.cutover, "move_alias", after=moment == "after_the_move")
    with pytest.raises(Killed):
        world.step("cutover")
    monkeypatch.undo()
    alias = world.alias
    pair = (alias.target.table, alias.target.model.dimension)
    assert pair == (("articles", 24) if moment == "before_the_move" else ("articles_v2", 40))
    assert world.migration.state == "switching"
    # A client that has heard of the switch writes before the run is taken up again.
    if moment == "after_the_move":
        model = world.migration.target.model
        row = {"id": "late", "title": ("new application", now_us()), "content": ("changed", now_us())}
        world.write("articles_v2", *world.embedded(model, row))
    world.step("cutover")
    assert world.alias.target.table == "articles_v2"
    assert world.alias.version == 2
    assert world.migration.state == "switched"
    assert (("late",) in world.read("articles_v2")) == (moment == "after_the_move")


class Killed(BaseException):
    """Like SIGKILL, nothing of ours runs after it but what Python itself cannot leave out."""


def interrupted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> None:
    """Make a function kill its caller: before it does anything, or when it has done all."""
    real = getattr(owner, name)

    def killing(*arguments: Any, **options: Any) -> None:
        if after:
            real(*arguments, **options)
        raise Killed

    monkeypatch.setattr(owner, name, killing)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("where", ["create_alias", "create_migration", "open_ranges"])
def test_a_prepare_killed_anywhere_is_run_again(new_world, monkeypatch, where, after):

    world = new_world()
    world.create_source(some_articles(20))
    interrupted(monkeypatch, embedshift.steps.prepare, where, after=after)
    with pytest.raises(Killed):
        world.step("prepare")
    monkeypatch.undo()
    result = world.step("prepare")
    assert result["migration"] == {"id": "articles-to-articles_v2", "state": "prepared"}
    assert world.moves == [("created", "articles")]
    assert len(world.ranges()) == 4


def test_a_prepare_killed_when_the_target_was_just_created_knows_it_for_its_own(new_world, monkeypatch):
    world = new_world()
    world.create_source(some_articles(20))
    interrupted(monkeypatch, world.store, "create", after=True)
    with pytest.raises(Killed):
        world.step("prepare")
    monkeypatch.undo()
    assert world.store.exists("articles_v2")
    assert world.step("prepare")["migration"]["state"] == "prepared"


def test_a_cutover_killed_before_the_move_can_be_validated_again(new_world, spark, monkeypatch):
    """The alias never moved, and the content has changed since: sync, validate and cutover may follow."""
    world = new_world()
    world.create_source(some_articles(20))
    world.steps("prepare", "load", "sync", "index", "sync", "validate")
    interrupted(monkeypatch, embedshift.steps.cutover, "move_alias", after=False)
    with pytest.raises(Killed):
        world.step("cutover")
    monkeypatch.undo()
    world.write("articles", {"id": "a003", "content": ("changed", now_us())})
    with pytest.raises(RefusedError, match="has changed since it was validated"):
        world.step("cutover")
    assert world.alias.target.table == "articles"
    world.steps("sync", "validate", "cutover")
    assert world.alias.target.table == "articles_v2"
    world.assert_migrated()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_rollback_killed_beside_the_move_of_the_alias_is_run_again(new_world, spark, monkeypatch, after):

    world = new_world()
    world.create_source(world.embedded(world.old_model(), *some_articles(20)))
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    world.write("articles_v2", {"id": "a003", "content": ("changed", now_us())})
    world.delete("articles_v2", {"id": "a004"})
    interrupted(monkeypatch, embedshift.steps.rollback, "move_alias", after=after)
    with pytest.raises(Killed):
        world.step("rollback")
    monkeypatch.undo()
    assert world.alias.target.table == ("articles" if after else "articles_v2")
    if after:
        model = world.migration.source.model
        row = {"id": "back", "title": ("new", now_us()), "content": ("application", now_us())}
        world.write("articles", *world.embedded(model, row))
    world.step("rollback")
    rows = world.read("articles")
    assert rows[("a003",)]["content"][0] == "changed"
    assert ("a004",) not in rows
    assert (("back",) in rows) == after
    assert world.alias.target.table == "articles"
    world.assert_embedded("articles", world.migration.source.model)


def test_a_pass_of_sync_that_was_killed_is_ended_and_never_counts_as_the_clean_one(new_world, spark, monkeypatch):

    world = new_world()
    world.create_source(some_articles(20))
    world.steps("prepare", "load", "sync", "index")
    interrupted(monkeypatch, embedshift.steps.sync, "forget_step", after=False)
    with pytest.raises(Killed):
        world.step("sync")
    monkeypatch.undo()
    # What changes now lies behind the killed pass, which has compared every range already.
    world.write("articles", {"id": "a003", "content": ("changed", now_us())})
    world.delete("articles", {"id": "a004"})
    result = world.step("sync")
    assert len(result["passes"]) >= 2
    world.assert_migrated()


def test_a_retire_killed_after_the_drop_is_run_again(new_world, spark, monkeypatch):
    world = new_world()
    world.create_source(some_articles(20))
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    interrupted(monkeypatch, world.store, "drop", after=True)
    with pytest.raises(Killed):
        world.step("retire")
    monkeypatch.undo()
    assert world.step("retire")["state"] == "retired"
    assert world.alias.target.table == "articles_v2"


def test_what_a_late_task_writes_again_after_a_deletion_stays_without_effect(new_world, spark):
    """Invariant 2: Spark may run a task twice, and the second copy may come after the row was found to be an orphan."""
    from embedshift.spark.stores import Stores
    from embedshift.spark.task import RangeTask
    from embedshift.spark.transfer import transfer_of
    from embedshift.tokens import WHOLE_RING

    world = new_world()
    world.create_source(some_articles(20))
    world.step("prepare")
    transfer = transfer_of(world.settings, world.store, world.migration, "load")
    task = RangeTask(Stores.one(world.store), transfer, WHOLE_RING, 1)
    late = [task.embed(window) for window in task.compared()]
    world.steps("load", "sync", "index")
    world.delete("articles", {"id": "a007"})
    world.step("sync")
    assert ("a007",) not in world.read("articles_v2")
    with task.recorded():
        for window in late:
            task.write(window)
    assert ("a007",) not in world.read("articles_v2")
    world.assert_migrated()
