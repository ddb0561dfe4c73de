"""The target has what the source has: options, other indexes, columns; and what an application relies on before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedshift import Articles
from embedshift.errors import RefusedError, SchemaError
from embedshift.stores.cql.store import CqlStore
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.clusters import started
from tests.world import World, now_us, some_articles

TEN_DAYS = 864_000


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster) -> Iterator[World]:
    with cluster_world(tmp_path, (old_model, new_model), cassandra) as made:
        yield made


def cql(world: World, statement: str) -> list[dict[str, Any]]:
    assert isinstance(world.store, CqlStore)
    keyspace = world.settings.store.keyspace
    return world.store.connection.rows(statement.replace("KS", str(keyspace)), doing="a test", again=False)


def define(world: World, *statements: str) -> None:
    assert isinstance(world.store, CqlStore)
    for statement in statements:
        world.store.connection.define(statement.replace("KS", str(world.settings.store.keyspace)), "a test")


def options(world: World, table: str) -> dict[str, str]:
    return dict(world.store.options(table))


def test_options_and_other_indexes_come_along(world, spark):
    world.create_source(some_articles(20))
    define(
        world,
        "ALTER TABLE KS.articles ADD tags map<text, text>",
        "ALTER TABLE KS.articles ADD kind text",
        f"ALTER TABLE KS.articles WITH default_time_to_live = {10 * TEN_DAYS} AND gc_grace_seconds = 3600 "
        "AND comment = 'a ''shop'' AND more' AND compaction = {'class': 'LeveledCompactionStrategy'} "
        "AND compression = {'class': 'ZstdCompressor'}",
        "CREATE INDEX articles_kind_idx ON KS.articles (kind) USING 'sai' WITH OPTIONS = {'case_sensitive': 'false'}",
        "CREATE INDEX by_tag ON KS.articles (entries(tags)) USING 'sai'",
        "CREATE INDEX articles_title_2i ON KS.articles (title)",
    )
    world.write("articles", {"id": "typed", "title": ("Salt", now_us()), "kind": ("Spice", now_us())})
    world.steps("prepare", "load", "sync", "index")
    mine, theirs = options(world, "articles"), options(world, "articles_v2")
    assert theirs == {**mine, "gc_grace_seconds": str(TEN_DAYS)}
    names = {each.name for each in world.store.secondary_indexes("articles_v2", "embedding")}
    assert names == {"articles_v2_kind_idx", "by_tag_articles_v2", "articles_v2_title_2i"}
    world.steps("sync", "validate", "cutover")
    # What an application asks with a condition, and what it writes, is as it was.
    assert [row["id"] for row in cql(world, "SELECT id FROM KS.articles_v2 WHERE kind = 'spice'")] == ["typed"]
    cells = world.read("articles_v2")[("typed",)]
    assert cells["title"][2] is None  # it was written without a TTL, against the table's default
    world.step("retire")
    assert options(world, "articles_v2") == mine


def test_an_application_writes_with_the_default_ttl_of_the_table(world, spark):
    world.create_source(some_articles(4))
    define(world, f"ALTER TABLE KS.articles WITH default_time_to_live = {TEN_DAYS}")
    world.steps("prepare", "load")
    with Articles.open(world.settings) as articles:
        articles.add({"id": "new", "title": "Bread", "content": "why bread rises"})
        articles.update("new", title="Dough")
    for table in ("articles", "articles_v2"):
        cells = world.read(table)[("new",)]
        assert {name for name, (_, _, ttl) in cells.items() if ttl is None} == set(), table
        assert all(TEN_DAYS - 600 < ttl <= TEN_DAYS for _, _, ttl in cells.values())


def test_a_cutover_refuses_a_target_that_lacks_an_index_or_a_column(world, spark):
    world.create_source(some_articles(8))
    world.steps("prepare", "load", "sync", "index", "sync", "validate")
    define(world, "CREATE INDEX late_idx ON KS.articles (title)")
    with pytest.raises(
        RefusedError, match="lacks 1 indexes of articles, such as late_idx_articles_v2: run embedshift index"
    ):
        world.step("cutover")
    world.steps("index", "sync", "validate")
    define(world, "ALTER TABLE KS.articles DROP content")
    with pytest.raises(
        SchemaError, match="ALTER TABLE articles ADD content text, or ALTER TABLE articles_v2 DROP content"
    ):
        world.step("cutover")
    assert world.alias.target.table == "articles"


def test_the_way_back_to_a_table_that_never_had_an_index(world, spark):
    world.create_source(some_articles(8))
    define(world, "DROP INDEX KS.articles_embedding_ann")
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover", "rollback")
    assert world.alias.target.table == "articles"
    assert world.store.index_on("articles", "embedding") is not None


def test_a_column_of_ones_own_named_like_the_digest_is_refused(tmp_path, old_model, new_model, cassandra):
    with cluster_world(tmp_path, (old_model, new_model), cassandra, digests=False) as world:
        world.create_source(some_articles(2))
        define(world, "ALTER TABLE KS.articles ADD embedding_digest text")
        with pytest.raises(SchemaError, match="embedding_digest is a text of your own"):
            world.step("prepare")


@pytest.fixture(scope="module")
def generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraCluster]:
    """A node with change logs and materialized views."""
    settings = {"materialized_views_enabled": True, "cdc_enabled": True}
    yield from started(CassandraCluster(tmp_path_factory.mktemp("generous"), settings=settings, use="once"))


@pytest.mark.long
def test_a_change_log_waits_and_what_depends_on_the_table_is_named(tmp_path, old_model, new_model, generous, spark):
    with cluster_world(tmp_path, (old_model, new_model), generous) as world:
        world.create_source(some_articles(8))
        define(
            world,
            "ALTER TABLE KS.articles WITH cdc = true",
            "CREATE MATERIALIZED VIEW KS.by_title AS SELECT * FROM KS.articles WHERE title IS NOT NULL AND id IS NOT "
            "NULL PRIMARY KEY (title, id)",
        )
        remarks = world.store.remarks(world.store.describe("articles"))
        assert any("the materialized view by_title stays with articles" in line for line in remarks)
        world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
        assert options(world, "articles_v2")["cdc"] == "false"
        with pytest.raises(SchemaError):
            world.step("retire")  # the view depends on it
        assert world.step("rollback")
        world.steps("sync", "validate", "cutover")
        define(world, "DROP MATERIALIZED VIEW KS.by_title")
        world.step("retire")
        assert options(world, "articles_v2")["cdc"] == "true"
