"""Sync by the source's change log, and when the log is not to be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift.catalog.lease import owned
from embedshift.catalog.migration import read_migration
from embedshift.errors import CheckFailed
from embedshift.steps.sync import Pass, Syncing
from embedshift.stores.model import Column
from tests.scylla.servers import Server
from tests.scylla.worlds import scylla_world
from tests.world import ARTICLE, HOUR_US, World, now_us, some_articles

pytestmark = pytest.mark.long

if TYPE_CHECKING:
    from pyspark import SparkContext


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, server: Server, spark: SparkContext) -> Iterator[World]:
    with scylla_world(tmp_path / "world", (old_model, new_model), server) as world:
        world.create_source(some_articles(20, now_us() - HOUR_US), before_index=True)
        world.steps("prepare", "load", "sync", "index")
        yield world


def passes(world: World, spark: SparkContext, **options: bool) -> list[Pass]:
    """What a cutover does before it moves the alias, and after it."""
    with owned(world.store, world.migration, "sync", world.settings.cutover.lease) as lease:
        return Syncing(world.context("sync"), spark, lease).passes(**options)


def change(world: World, id_: str) -> None:
    world.write("articles", {"id": id_, "title": ("changed", now_us())})


def test_passes_after_a_whole_one_read_only_the_log(world, spark):
    result = world.step("sync")
    assert [each["compared"] for each in result["passes"]] == ["all"]
    change(world, "a003")
    change(world, "a004")
    change(world, "a004")
    world.delete("articles", {"id": "a005"})

    found = passes(world, spark)
    assert {each.compared for each in found} == {"change log"}
    assert (found[0].counts.read, found[0].counts.written, found[0].counts.deleted) == (2, 2, 1)
    assert found[-1].counts.difference == 0

    # The command compares every row first.
    result = world.step("sync")
    assert (result["passes"][0]["compared"], result["passes"][0]["written"]) == ("all", 0)
    world.assert_migrated()
    world.step("validate")
    change(world, "a007")
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


def test_a_log_that_was_silent_is_not_trusted(world, spark, capsys):
    """Without an index nothing is logged, and the log that is left says nothing of that; nor does a newer one."""
    world.step("sync")
    index = world.store.index_on("articles", "embedding")
    world.store.drop_index(index)
    change(world, "a003")
    found = passes(world, spark)
    assert (found[0].compared, found[0].counts.written) == ("all", 1)
    change(world, "a004")
    world.store.create_index(index)
    found = passes(world, spark)
    assert (found[0].compared, found[0].counts.written) == ("all", 1)
    world.assert_migrated()


def test_a_log_whose_old_streams_are_collected_is_not_trusted(world, spark, stand_in):
    world.step("sync")
    change(world, "a003")
    stand_in.raise_floor(world.settings.store.keyspace, "articles", now_us() / 1e6)
    assert passes(world, spark)[0].compared == "all"


def test_a_pass_over_the_log_that_was_killed_is_ended_as_such(world, spark, monkeypatch):
    world.step("sync")
    change(world, "a003")

    def killed(*arguments: object) -> None:
        raise CheckFailed("killed")

    monkeypatch.setattr("embedshift.steps.sync.settle_dead_letters", killed)
    with pytest.raises(CheckFailed, match="killed"):
        passes(world, spark)
    monkeypatch.undo()
    found = passes(world, spark)
    assert {each.compared for each in found} == {"change log"}
    world.assert_migrated()


def test_since_reads_the_log_where_there_is_one(world):
    world.step("sync")
    before = datetime.now().isoformat()
    change(world, "a003")
    world.delete("articles", {"id": "a005"})
    result = world.step("sync", since=before)
    assert [each["compared"] for each in result["passes"]] == ["change log", "change log"]
    assert (result["passes"][0]["written"], result["passes"][0]["deleted"]) == (1, 1)


def test_where_a_deletion_may_name_no_row_the_log_is_not_enough(
    tmp_path: Path, old_model: Path, new_model: Path, server: Server
) -> None:
    columns = (*ARTICLE, Column("part", "int", "clustering"))
    with scylla_world(tmp_path / "world", (old_model, new_model), server, columns=columns) as world:
        world.create_source()
        table = world.store.describe("articles")
        assert world.store.keeps_changes(table)
        assert "need not name a row" in world.store.lacks_changes(table, now_us())
