"""What the pipeline writes into tables whose index follows a change log. Each test is a line of ScyllaDB's rules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.errors import CheckFailed, RefusedError
from embedshift.stores.log_fed import delete_rows
from tests.scylla.servers import Server
from tests.scylla.worlds import assert_indexed, indexed, scylla_world
from tests.world import DIGEST, HOUR_US, World, batch_of, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

SECOND_US = 1_000_000


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, server: Server, spark: SparkContext) -> Iterator[World]:
    """A world whose target has its index; the source has none, so that writes of any time may arrive in it."""
    quick = {"probes": 5, "reembed_sample": 5, "latency_searches": 0, "recall_at_10": 0.3}
    with scylla_world(tmp_path / "world", (old_model, new_model), server, validation=quick) as world:
        world.create_source(some_articles(20, now_us() - HOUR_US), before_index=True)
        source_index = world.store.index_on("articles", "embedding")
        assert source_index is not None
        world.store.drop_index(source_index)
        world.steps("prepare", "load", "sync", "index")
        yield world


def titled(world: World, id_: str, title: str, at_us: int, ttl: int | None = None) -> None:
    world.write("articles", {"id": id_, "title": (title, at_us) if ttl is None else (title, at_us, ttl)})


def title(world: World, id_: str) -> tuple[Any, int, int | None]:
    return world.read("articles_v2")[(id_,)]["title"]


def floor_us(world: World) -> int:
    found = world.store.write_floor("articles_v2")
    assert found is not None
    return found


def test_a_write_from_before_the_index_arrives_late_and_is_carried(world, server):
    """The server refuses its own time: it gets that at which the log began. So does one that arrives later still."""
    titled(world, "a003", "bread", now_us() - HOUR_US // 2)
    world.step("sync")
    assert title(world, "a003")[:2] == ("bread", floor_us(world))
    titled(world, "a003", "river", now_us() - HOUR_US // 3)
    world.step("sync")
    assert title(world, "a003")[:2] == ("river", floor_us(world) + 1)
    assert world.step("sync")["passes"][0]["written"] == 0
    assert_indexed(world, "articles_v2", server)
    world.step("validate")


def test_a_vector_of_a_text_that_arrives_late_reaches_the_index(world, server):
    """With the text's own time it would be in the table, and never in the index."""
    at = floor_us(world) + 1
    time.sleep(server.settled_s)
    titled(world, "a003", "river", at)
    world.step("sync")
    assert title(world, "a003")[:2] == ("river", at)
    world.assert_embedded("articles_v2", world.migration.target.model)
    assert_indexed(world, "articles_v2", server)


def test_a_row_that_is_deleted_late_leaves_the_index(world, server):
    time.sleep(server.settled_s)
    for id_ in ("a003", "a004"):
        world.delete("articles", {"id": id_})
    world.step("sync")
    assert not world.read("articles_v2").keys() & {("a003",), ("a004",)}
    assert_indexed(world, "articles_v2", server)


@pytest.mark.long
def test_a_row_without_a_text_any_more_leaves_the_index(world, server):
    time.sleep(server.settled_s)
    world.write("articles", {"id": "a003", "title": (None, now_us()), "content": (None, now_us())})
    world.step("sync")
    assert "a003" not in indexed(world, "articles_v2")
    assert_indexed(world, "articles_v2", server)


@pytest.mark.long
def test_a_cell_from_the_future_waits_until_the_server_takes_it(world, server):
    """A writer's clock is eight seconds ahead, and the server takes five: the row is a dead letter until then."""
    at = now_us() + 8 * SECOND_US
    titled(world, "a003", "river", at)
    world.with_settings(load={"tolerate_dead": 1})
    world.step("sync")
    (letter,) = read_dead_letters(world.store, world.migration.id)
    assert "from the future" in letter.reason
    time.sleep(max(0.0, (at - now_us()) / SECOND_US - 4))
    world.step("sync")
    assert title(world, "a003")[:2] == ("river", at)
    assert not list(read_dead_letters(world.store, world.migration.id))


@pytest.mark.long
def test_a_newer_write_of_an_application_is_never_overwritten(world, server):
    """It writes both tables; the pipeline has an older text in hand, and its vector at the present time."""
    titled(world, "a003", "bread", now_us() - HOUR_US // 2)
    at = now_us()
    row = {"id": "a003", "title": ("river", at), "content": ("cloud", at)}
    world.write("articles_v2", *world.embedded(world.migration.target.model, row))
    world.step("sync")
    assert title(world, "a003")[:2] == ("river", at)
    world.assert_embedded("articles_v2", world.migration.target.model, only=[("a003",)])


@pytest.mark.long
def test_what_was_written_into_the_table_late_is_noticed_and_the_index_built_anew(world, server):
    """By somebody else, with a time of long ago: no check of the table shows that the index lacks the vector."""
    world.step("sync")
    time.sleep(server.settled_s)
    late = floor_us(world) + 1000
    other = world.embedded(
        world.migration.target.model, {"id": "a003", "title": ("river", late), "content": ("x", late)}
    )
    contents = world.read("articles_v2")[("a003",)]
    assert contents["embedding"][1] < late
    world.write("articles_v2", *other)
    titled(world, "a003", "river", late)
    world.write("articles", {"id": "a003", "content": ("x", late)})
    with pytest.raises(CheckFailed, match="index_recent"):
        world.step("validate")
    world.step("index", rebuild=True)
    assert world.migration.state == "indexed"
    world.steps("sync", "validate")
    assert_indexed(world, "articles_v2", server)


@pytest.mark.long
def test_what_was_deleted_late_is_noticed(world, server):
    world.step("sync")
    time.sleep(server.settled_s)
    world.delete("articles", {"id": "a003"})
    at = world.read("articles_v2")[("a003",)]["embedding"][1]
    world.delete("articles_v2", {"id": "a003"}, at_us=max(at, floor_us(world)))
    assert "a003" in indexed(world, "articles_v2")
    with pytest.raises(CheckFailed, match="index_rows"):
        world.step("validate")
    world.step("index", rebuild=True)
    world.steps("sync", "validate")
    assert_indexed(world, "articles_v2", server)


@pytest.mark.long
def test_an_index_that_the_target_has_already_is_dropped_with_consent(
    tmp_path: Path, old_model: Path, new_model: Path, server: Server, spark: SparkContext
) -> None:
    with scylla_world(tmp_path / "world", (old_model, new_model), server) as world:
        world.create_source(some_articles(10, now_us() - HOUR_US), before_index=True)
        world.step("prepare")
        world.store.create_index(world.migration.target.index)
        with pytest.raises(RefusedError, match=r"has an index already.*--drop-index"):
            world.step("load")
        assert world.read("articles_v2") == {}
        world.step("load", drop_index=True)
        world.assert_migrated()
        assert world.store.index_on("articles_v2", "embedding") is None


@pytest.mark.long
def test_other_options_for_a_live_index_without_an_interruption(world, server):
    """The second index is built beside the first one, which serves until then."""
    world.steps("sync", "validate", "cutover")
    before = world.alias.target.index
    world.with_settings(target={"index": {"connections": 8}})
    world.step("reindex")
    after = world.store.index_on("articles_v2", "embedding")
    assert after is not None
    assert (after.name, after.options.connections) == (f"{before.name}_2", 8)
    assert world.alias.target.index.name == after.name
    assert world.store.index_state(before).status == "absent"
    assert_indexed(world, "articles_v2", server)
    world.with_settings(target={"index": {"connections": 16}})
    world.step("reindex")
    assert world.alias.target.index.name == before.name


@pytest.mark.long
def test_a_repair_of_the_live_table_reaches_its_index(world, server):
    """A program that leaves vectors to the audit has written a text."""
    world.steps("sync", "validate", "cutover")
    time.sleep(server.settled_s)
    world.write("articles_v2", {"id": "a003", "title": ("river", now_us())})
    world.step("audit", repair=True)
    world.assert_embedded("articles_v2", world.migration.target.model)
    assert_indexed(world, "articles_v2", server)


@pytest.mark.long
def test_a_deletion_as_of_long_ago_leaves_the_index(world, server):
    """Such as that of a purge, which deletes the version of a row that it has judged."""
    time.sleep(server.settled_s)
    table = world.store.describe("articles_v2")
    made = [column for column in table.columns if column.name in ("embedding", DIGEST)]
    keys = batch_of(table, [{"id": "a003"}, {"id": "a004"}])
    delete_rows(world.store, table, made, keys, np.array([now_us() - HOUR_US // 4] * 2, np.int64))
    assert not world.read("articles_v2").keys() & {("a003",), ("a004",)}
    assert_indexed(world, "articles_v2", server)
