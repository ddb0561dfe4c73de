"""Indexes of other shapes, users of few rights, failures of the vector store: each is a line of ScyllaDB's rules."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cassandra.cluster import Session

from embedshift.articles.client import Articles
from embedshift.catalog.alias import create_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.errors import InputError, StoreUnavailable
from embedshift.settings import IndexSettings
from embedshift.stores import open_store
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.model import Column, Index, Table
from embedshift.tokens import WHOLE_RING
from tests.scylla.servers import Server
from tests.scylla.shelves import Shelf, new_name
from tests.scylla.stand_in import StandIn
from tests.scylla.worlds import assert_indexed, scylla_world
from tests.world import ARTICLE, HOUR_US, World, batch_of, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

QUICK = {"probes": 5, "reembed_sample": 5, "latency_searches": 2, "recall_at_10": 0.3, "self_retrieval": 0}


@pytest.fixture
def store(server: Server, session: Session) -> Iterator[CqlStore]:
    settings = server.settings.model_copy(update={"keyspace": session.keyspace})
    opened = open_store(settings)
    assert isinstance(opened, CqlStore)
    yield opened
    opened.close()


def index_of(shelf: Shelf, name: str = "") -> Index:
    return Index(name or f"{shelf.table}_idx", shelf.table, "v", 3, IndexSettings())


# Names of the class, and the index of a dropped name.


@pytest.mark.parametrize(
    "spelled", ["vector_index", "VECTOR_INDEX", "sai", "org.apache.cassandra.index.sai.StorageAttachedIndex"]
)
def test_every_spelling_of_the_class_is_a_vector_index(
    store: CqlStore, session: Session, shelf: Shelf, spelled: str
) -> None:
    session.execute(f"CREATE CUSTOM INDEX mine_{shelf.table} ON {shelf.table} (v) USING '{spelled}'")
    found = store.index_on(shelf.table, "v")
    assert found is not None
    assert found.name == f"mine_{shelf.table}"
    assert store.write_floor(shelf.table) is not None


def test_an_index_that_was_created_again_does_not_serve_before_its_time(
    store: CqlStore, shelf: Shelf, stand_in: StandIn, eventually: Callable[..., Any]
) -> None:
    """The vector store knows it by its name, and speaks of the dropped one until it looks at the schema again."""
    index = index_of(shelf)
    store.create_index(index)
    eventually(lambda: store.index_state(index).status == "serving")
    store.drop_index(index)
    stand_in.vector_store.holds_scans.set()
    store.create_index(index)
    assert store.index_state(index).status == "building"
    stand_in.vector_store.holds_scans.clear()
    eventually(lambda: store.index_state(index).status == "serving")


# Failures of the vector store.


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("unavailable", "Vector Store service is unavailable"),
        ("constructing", "still being constructed"),
        ("missing", "missing index"),
        ("error", "HTTP status 500"),
    ],
)
def test_a_failure_that_passes_is_waited_for(
    server: Server, session: Session, shelf: Shelf, stand_in: StandIn, failure: str, words: str
) -> None:
    settings = server.settings.model_copy(update={"keyspace": session.keyspace})
    impatient = settings.model_validate(settings.model_dump() | {"request_timeout": "2s"})
    opened = open_store(impatient)
    assert isinstance(opened, CqlStore)
    try:
        index = index_of(shelf)
        session.execute(f"INSERT INTO {shelf.table} (id, v) VALUES ('a', [1, 0, 0])")
        opened.create_index(index)
        table, query = opened.describe(shelf.table), np.array([1, 0, 0], np.float32)
        server_ready(opened, index)
        stand_in.vector_store.failure = failure
        passing = threading.Timer(0.7, lambda: setattr(stand_in.vector_store, "failure", ""))
        passing.start()
        assert [hit.values["id"] for hit in opened.search(table, index, query, 1)] == ["a"]
        passing.join()
        stand_in.vector_store.failure = failure
        with pytest.raises(StoreUnavailable, match=words):
            opened.search(table, index, query, 1)
    finally:
        opened.close()


def server_ready(store: CqlStore, index: Index) -> None:
    from tests.world import eventually

    eventually(lambda: store.index_state(index).status == "serving")


# Rights.


def test_a_user_with_rights_on_his_keyspace_alone_connects(
    server: Server, session: Session, shelf: Shelf, stand_in: StandIn
) -> None:
    stand_in.set_rights(keyspace_alone=True)
    opened = open_store(server.settings.model_copy(update={"keyspace": session.keyspace}))
    try:
        assert opened.label.startswith("ScyllaDB at ")
        assert sum(piece.range.end - piece.range.start for piece in opened.ring(shelf.table)) == 2**64 - 1
        assert opened.estimate(shelf.table).rows == 0
        opened.check_index(index_of(shelf))
        assert not opened.holds_several_indexes()
    finally:
        opened.close()


@pytest.mark.long
def test_a_user_with_rights_on_his_keyspace_alone_takes_a_table_through_its_life(
    tmp_path: Path, old_model: Path, new_model: Path, server: Server, stand_in: StandIn, spark: SparkContext
) -> None:
    stand_in.set_rights(keyspace_alone=True)
    with scylla_world(tmp_path / "world", (old_model, new_model), server, validation=QUICK) as world:
        world.create_source(
            world.embedded(world.old_model(), *some_articles(20, now_us() - HOUR_US)), before_index=True
        )
        world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
        world.write("articles_v2", {"id": "a003", "title": ("river", now_us())})
        world.step("rollback")
        assert world.read("articles")[("a003",)]["title"][0] == "river"
        world.steps("sync", "validate", "cutover", "retire")


# Names, and keyspaces.


def test_columns_of_reserved_names(store: CqlStore) -> None:
    table = Table(
        new_name(), (Column("ann", "text", "partition"), Column("concurrency", "int"), Column("Vector", "text"))
    )
    store.create(table)
    at = now_us()
    rows = [{"ann": "a", "concurrency": (3, at), "Vector": ("b", at)}]
    assert store.write(table, batch_of(table, rows)) == []
    assert store.describe(table.name).column("concurrency") == Column("concurrency", "int")
    (batch,) = store.scan(table, WHOLE_RING, values=["concurrency", "Vector"])
    assert [(row["ann"], row["concurrency"], row["Vector"]) for row in batch.to_pylist()] == [("a", 3, "b")]
    store.drop(table.name)


def test_keyspaces_are_created_where_tablets_are_enforced(server: Server, stand_in: StandIn) -> None:
    stand_in.set_tablets_mode("enforced")
    names = [f"k{uuid.uuid4().hex[:12]}" for _ in range(2)]
    tree = server.settings.model_dump() | {"keyspace": names[0]}
    tree["catalog"] |= {"keyspace": names[1]}
    opened = open_store(server.settings.model_validate(tree))
    assert isinstance(opened, CqlStore)
    try:
        assert opened.create_keyspaces() == names
    finally:
        for name in names:
            opened.connection.define(f"DROP KEYSPACE IF EXISTS {name}", "dropping a keyspace")
        opened.close()


# Shapes.


def searched(world: World, where: dict[str, Any] | None) -> set[str]:
    with Articles.open(world.config) as articles:
        found = articles.search("bread and water", 50, where=where)
    return {str(each.values["id"]) for each in found}


@pytest.fixture
def shaped(
    tmp_path: Path, old_model: Path, new_model: Path, server: Server, spark: SparkContext
) -> Iterator[Callable[..., World]]:
    opened = []

    def start(columns: tuple[Column, ...], rows: list[dict[str, Any]], **shape: tuple[str, ...]) -> World:
        context = scylla_world(tmp_path / "world", (old_model, new_model), server, columns=columns, validation=QUICK)
        world = context.__enter__()
        opened.append(context)
        ensure_catalog(world.store)
        made = (
            Column("embedding", f"vector<float, {world.old_model().dimension}>"),
            Column("embedding_digest", "blob"),
        )
        world.store.create(Table("articles", (*columns, *made)))
        world.write("articles", *world.embedded(world.old_model(), *rows))
        index = Index("articles_by", "articles", "embedding", world.old_model().dimension, IndexSettings(), **shape)
        world.store.create_index(index)
        server_ready(world.store, index)  # type: ignore[arg-type]
        described = world.store.describe("articles")
        create_alias(world.store, "articles", live_vector_table(world.settings, world.store, described))
        return world

    yield start
    for context in opened:
        context.__exit__(None, None, None)


@pytest.mark.long
def test_a_table_whose_index_has_a_filtering_column(shaped: Callable[..., World], server: Server) -> None:
    at = now_us() - HOUR_US
    rows = [{**each, "category": ("salt" if n % 4 else "sea", at)} for n, each in enumerate(some_articles(24, at))]
    world = shaped((*ARTICLE, Column("category", "text")), rows, filtering=("category",))
    wanted = {row["id"] for row in rows if row["category"][0] == "sea"}
    assert searched(world, {"category": "sea"}) == wanted
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    assert searched(world, {"category": "sea"}) == wanted
    found = world.store.index_on("articles_v2", "embedding")
    assert found is not None
    assert (found.partition, found.filtering) == ((), ("category",))
    assert_indexed(world, "articles_v2", server)
    world.step("rollback")
    assert searched(world, {"category": "sea"}) == wanted


@pytest.mark.long
def test_a_table_whose_index_is_local(shaped: Callable[..., World]) -> None:
    """It is searched within one partition, by applications as by the validation."""
    at = now_us() - HOUR_US
    columns = (Column("id", "text", "partition"), Column("n", "int", "clustering"), Column("title", "text"))
    texts = [(each["title"][0], each["content"][0]) for each in some_articles(24, at)]
    rows = [
        {"id": "ab"[n % 2], "n": n, "title": (title, at), "content": (content, at)}
        for n, (title, content) in enumerate(texts)
    ]
    world = shaped((*columns, Column("content", "text")), rows, partition=("id",))
    assert searched(world, {"id": "a"}) == {"a"}
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    found = world.store.index_on("articles_v2", "embedding")
    assert found is not None
    assert (found.partition, found.filtering) == (("id",), ())
    assert searched(world, {"id": "b"}) == {"b"}
    with pytest.raises(InputError, match="within one partition, and id is not given"):
        searched(world, None)
    assert world.migration.state == "switched"
