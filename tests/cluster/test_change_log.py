"""Sync by the source's change log. Only ScyllaDB keeps one; here a table of its columns stands beside the articles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift.catalog.lease import owned
from embedshift.catalog.migration import read_migration
from embedshift.errors import CheckFailed
from embedshift.steps.sync import Pass, Syncing
from embedshift.stores.model import Column
from scripts.run_cassandra import CassandraCluster
from tests.change_log import log, make_log
from tests.cluster.worlds import cluster_world
from tests.world import ARTICLE, World, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext


@pytest.fixture
def world(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, spark: SparkContext
) -> Iterator[World]:
    with cluster_world(tmp_path, (old_model, new_model), cassandra) as world:
        world.create_source(some_articles(20))
        make_log(world)
        world.steps("prepare", "load", "sync", "index")
        yield world


def passes(world: World, spark: SparkContext, **options: bool) -> list[Pass]:
    """What a cutover does before it moves the alias, and after it."""
    with owned(world.store, world.migration, "sync", world.settings.cutover.lease) as lease:
        return Syncing(world.context("sync"), spark, lease).passes(**options)


def change(world: World, id_: str, *, stream: bytes) -> None:
    world.write("articles", {"id": id_, "title": ("changed", now_us())})
    log(world, id_, stream=stream)


def test_passes_after_a_whole_one_read_only_the_log(world, spark):
    result = world.step("sync")
    assert [each["compared"] for each in result["passes"]] == ["all"]
    change(world, "a003", stream=b"first")
    change(world, "a004", stream=b"second")
    change(world, "a004", stream=b"second")
    world.delete("articles", {"id": "a005"})
    log(world, "a005", stream=b"third")
    # In no log, and so not seen by such a pass.
    world.write("articles", {"id": "a006", "title": ("silently", now_us())})

    found = passes(world, spark)
    assert [each.compared for each in found] == ["change log", "change log"]
    assert (found[0].counts.read, found[0].counts.written, found[0].counts.deleted) == (2, 2, 1)
    assert found[1].counts.difference == 0

    # The command compares every row first.
    result = world.step("sync")
    assert [(each["compared"], each["written"]) for each in result["passes"]] == [("all", 1), ("change log", 0)]
    world.assert_migrated()
    world.step("validate")
    change(world, "a007", stream=b"first")
    world.with_settings(cutover={"drift": 0.5})
    world.step("cutover")
    world.assert_same()
    # The way back writes the source, at times of long ago: the next pass forward compares every row.
    world.step("rollback")
    assert read_migration(world.store, world.migration.id).facts.compared_us is None
    assert passes(world, spark)[0].compared == "all"


def test_a_log_that_has_forgotten_is_not_trusted(world, spark):
    world.step("sync")
    world.with_settings(sync={"change_log_kept": "1ms"})
    assert [each.compared for each in passes(world, spark)] == ["all"]
    world.with_settings(sync={"change_log_kept": "1h", "change_log": "off"})
    assert [each.compared for each in passes(world, spark)] == ["all"]


def test_a_pass_over_the_log_that_was_killed_is_ended_as_such(world, spark, monkeypatch):
    world.step("sync")
    change(world, "a003", stream=b"first")

    def killed(*arguments: object) -> None:
        raise CheckFailed("killed")

    monkeypatch.setattr("embedshift.steps.sync.settle_dead_letters", killed)
    with pytest.raises(CheckFailed, match="killed"):
        passes(world, spark)
    monkeypatch.undo()
    found = passes(world, spark)
    assert [each.compared for each in found] == ["change log", "change log"]
    world.assert_migrated()


def test_since_reads_the_log_where_there_is_one(world):
    world.step("sync")
    change(world, "a003", stream=b"first")
    world.delete("articles", {"id": "a005"})
    log(world, "a005", stream=b"third")
    result = world.step("sync", since="1m")
    assert [(each["compared"], each["written"], each["deleted"]) for each in result["passes"]] == [
        ("change log", 1, 1),
        ("change log", 0, 0),
    ]


def test_where_a_deletion_may_name_no_row_the_log_is_not_enough(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster
) -> None:
    columns = (*ARTICLE, Column("part", "int", "clustering"))
    with cluster_world(tmp_path, (old_model, new_model), cassandra, columns=columns) as world:
        world.create_source()
        make_log(world)
        assert not world.store.keeps_changes(world.store.describe("articles"))
