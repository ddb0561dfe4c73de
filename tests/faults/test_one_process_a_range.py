"""A range is the work of one process: how many there are, what they leave, and that a cancelled one writes no more."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from embedshift.catalog.activity import activity_of
from embedshift.catalog.ranges import progress, read_ranges
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.signals import signals_under
from embedshift.catalog.tables import MIGRATION
from embedshift.errors import OwnedByAnother
from embedshift.settings import StoreSettings
from embedshift.spark.stores import Stores
from embedshift.spark.task import carry_range
from embedshift.spark.transfer import transfer_of
from embedshift.stores import open_store
from embedshift.tokens import WHOLE_RING
from tests.processes import alive, command, descendants, spark_workers
from tests.world import World, eventually, now_us, some_articles

SLOW = {"throttle": {"rows_per_second": 20}, "load": {"ranges": 2, "window_rows": 16}}


def rows_of(world: World) -> int:
    return len(world.read("articles_v2"))


def test_a_load_of_two_cores_has_three_python_processes_beside_the_command(new_world):
    world: World = new_world(**SLOW)
    world.create_source(some_articles(120))
    world.step("prepare")
    command_line = world.start("load")
    try:
        eventually(lambda: rows_of(world) > 20)
        below = descendants(command_line.pid)
        python = [each for each in below if "python" in command(each).partition(" ")[0]]
        assert len(python) <= 3, [command(each) for each in below]
        assert any("-m embedshift.spark.worker" in command(each) for each in python)
    finally:
        command_line.terminate()
        command_line.communicate(timeout=60)
    eventually(lambda: not alive(below), 30)


def test_a_cancelled_job_leaves_no_process_that_could_write(new_world, spark):
    """Spark ends a task within seconds, and its process with it. Its range is tried again by another process."""
    world: World = new_world(**SLOW)
    world.create_source(some_articles(300))
    world.step("prepare")
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(world.step, "load")
        eventually(lambda: rows_of(world) > 20)
        working = spark_workers()
        assert working
        spark.cancelJobGroup("load")
        eventually(lambda: not alive(working), 5)
        assert rows_of(world) < 300
        loading.result(300)
    world.assert_migrated()


def test_a_run_that_is_over_writes_nothing_more(new_world, spark):
    world: World = new_world(**SLOW)
    world.create_source(some_articles(200))
    world.step("prepare")
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(world.step, "load")
        eventually(lambda: rows_of(world) > 20)
        working = spark_workers()
        lost = {"owner": "another@elsewhere:1/abcdef", "lease_until_us": now_us() + 10**9}
        world.store.records.put(MIGRATION, [{"id": world.migration.id, **lost}])
        with pytest.raises(OwnedByAnother):
            loading.result(60)
    eventually(lambda: not alive(working), 5)
    left = rows_of(world)
    assert left < 200
    time.sleep(3)
    assert rows_of(world) == left
    assert progress(world.store, world.migration.id, "load").done == 0


def test_rows_count_while_their_range_is_under_way(new_world, spark):
    """From the first second somebody who watches is told what is going on."""
    world: World = new_world(**SLOW)
    world.create_source(some_articles(200))
    world.step("prepare")
    migration, said, counted = world.migration.id, set(), []
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(world.step, "load")
        while not loading.done():
            found = activity_of(world.store, migration, "load")
            said.add(found.doing)
            if not progress(world.store, migration, "load").done:
                counted.append(found.rows)
            time.sleep(0.05)
        loading.result()
    assert {"starting the workers and loading the model", "embedding"} <= said
    assert len(set(counted)) >= 3
    assert max(counted) <= 200
    # Nothing is left that a later run could take for its own.
    assert signals_under(world.store, migration, "activity/") == {}


def test_no_thread_of_a_range_outlives_it(new_world):
    world: World = new_world()
    world.create_source(some_articles(50))
    world.step("prepare")
    world.carry("sync/1")
    assert [each.name for each in threading.enumerate() if each.name.startswith("embedshift-")] == []


def test_a_range_is_carried_from_one_store_into_another(new_world, tmp_path):
    """Source, target and catalog are three files: a range takes none of them for another."""
    world: World = new_world()
    world.create_source(some_articles(50))
    world.step("prepare")
    transfer = transfer_of(world.settings, world.store, world.migration, "load")
    elsewhere = [StoreSettings(path=tmp_path / f"{name}.sqlite") for name in ("target", "catalog")]
    with closing(open_store(elsewhere[0])) as target, closing(open_store(elsewhere[1])) as catalog:
        ensure_catalog(catalog)
        target.create(world.store.describe("articles_v2"))
        stores = Stores(world.store, target, catalog)
        layout = replace(transfer.layout, target_id=target.table_id("articles_v2"))
        transfer = replace(transfer, layout=layout)
        for step in ("load", "sync/1"):
            changed = replace(transfer, step=step, read_back=step != "load", target=elsewhere[0], catalog=elsewhere[1])
            carry_range(stores, changed, WHOLE_RING, 1)
        (loaded,), (synced,) = (list(read_ranges(catalog, transfer.migration, step)) for step in ("load", "sync/1"))
        assert (loaded.state, loaded.error, loaded.counts.written) == ("done", "", 50)
        assert (synced.state, synced.counts.unchanged, synced.counts.written) == ("done", 50, 0)
        world.delete("articles", {"id": "a007"})
        carry_range(stores, replace(changed, step="sync/2"), WHOLE_RING, 1)
        (again,) = read_ranges(catalog, transfer.migration, "sync/2")
        assert (again.counts.deleted, again.counts.unchanged) == (1, 49)
    assert rows_of(world) == 0
    assert {each.state for each in read_ranges(world.store, transfer.migration, "load")} == {"planned"}
