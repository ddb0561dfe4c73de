"""A migration from end to end on one real Cassandra node."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from embedshift.errors import RefusedError, SchemaError, StoreUnavailable
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.measures import REFERENCE, ids_of, ndcg, share_found
from tests.world import World, batch_of, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext


@contextmanager
def busy(call: Callable[[], object]) -> Iterator[None]:
    """An application that does one thing over and over."""
    ended, begun = threading.Event(), threading.Event()

    def run() -> None:
        while not ended.wait(0.02):
            with suppress(SchemaError, StoreUnavailable):  # the table goes while it is written
                call()
            begun.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        ended.set()
        thread.join(60)


def reading(world: World, table: str) -> AbstractContextManager[None]:
    vector_table, described = world.migration.source, world.store.describe(table)
    vector = np.ones(vector_table.model.dimension, np.float32)
    return busy(lambda: world.store.search(described, vector_table.index, vector, 3))


def writing(world: World, *tables: str) -> AbstractContextManager[None]:
    at_us = now_us()
    described = [world.store.describe(table) for table in tables]
    rows = [(each, batch_of(each, [{"id": "dual", "title": ("write", at_us)}])) for each in described]
    return busy(lambda: [world.store.write(*each) for each in rows])


def test_the_whole_way_keeps_every_row_and_the_way_back_loses_no_write(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, spark: SparkContext
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra) as world:
        rows = some_articles(90)
        rows[3]["content"] = (*rows[3]["content"], 3600)
        world.create_source(rows)

        world.steps("prepare", "load")
        world.assert_migrated()
        assert world.migration.state == "loaded"

        newer = now_us()
        world.write("articles", {"id": "a007", "title": ("a new title", newer)})
        world.delete("articles", {"id": "a008"})
        world.steps("sync", "index", "sync", "validate")
        world.assert_migrated()
        assert ("a008",) not in world.read("articles_v2")
        assert world.read("articles_v2")[("a007",)]["title"][:2] == ("a new title", newer)

        world.step("cutover")
        assert world.alias.target.table == "articles_v2"
        after = now_us()
        world.write("articles_v2", {"id": "new", "title": ("written after", after), "content": ("the cutover", after)})
        world.delete("articles_v2", {"id": "a009"})

        world.step("rollback")
        assert world.alias.target.table == "articles"
        assert world.read("articles")[("new",)]["title"][:2] == ("written after", after)
        assert ("a009",) not in world.read("articles")
        old = world.migration.source.model
        world.assert_embedded("articles", old, only=[("new",)])

        world.steps("sync", "validate", "cutover")
        with reading(world, "articles"), pytest.raises(RefusedError, match=r"articles was read \d+ times within 1s"):
            world.step("retire")
        with pytest.raises(SchemaError, match=r"does not say that it keeps a snapshot .* nodetool snapshot"):
            world.step("retire", snapshot=True)
        assert world.store.exists("articles")
        with writing(world, "articles_v2", "articles"):  # as clients do until the end
            world.step("retire")
        assert not world.store.exists("articles")
        assert world.moves == [
            ("created", "articles"),
            ("cutover", "articles_v2"),
            ("rollback", "articles"),
            ("cutover", "articles_v2"),
        ]


def test_two_cutovers_at_once_move_the_alias_once(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, spark: SparkContext
) -> None:
    with cluster_world(tmp_path, (old_model, new_model), cassandra) as world:
        world.create_source(some_articles(30))
        world.steps("prepare", "load", "sync", "index", "sync", "validate")
        both = [world.start("cutover") for _ in range(2)]
        ended = [(each.communicate(timeout=300)[1], each.returncode) for each in both]
        assert sorted(code for _, code in ended) == [0, 4], ended
        assert [reason for reason, _ in world.moves] == ["created", "cutover"]
        assert world.alias.version == 2


@pytest.fixture(scope="module")
def cranfield_world(
    tmp_path_factory: pytest.TempPathFactory, cranfield: Path, cassandra: CassandraCluster, spark: SparkContext
) -> Iterator[World]:
    from embedshift.operations.import_file import import_articles

    folder = tmp_path_factory.mktemp("cranfield")
    models = ("package:wordllama-l2-256", "package:all-MiniLM-L6-v2")
    validation = {"questions": str(cranfield / "queries.jsonl"), "relevance_drop": 0.01}
    wide = {"index": {"expansion_search": 50}}
    with cluster_world(folder, models, cassandra, validation=validation, target=wide) as world:
        imported = import_articles(world.settings, world.store, cranfield / "articles.jsonl")
        assert (imported.rows, imported.faults) == (1400, [])
        world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
        yield world


@pytest.mark.long
def test_cranfield_keeps_every_abstract(cranfield_world: World) -> None:
    assert len(cranfield_world.carried("articles_v2")) == 1400
    cranfield_world.assert_same()


@pytest.mark.long
def test_cranfield_is_as_relevant_as_an_independent_computation_says(cranfield: Path, cranfield_world: World) -> None:
    world = cranfield_world
    report = json.loads(world.settings.validation.report.read_text())
    questions = [json.loads(line) for line in (cranfield / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    for side, vector_table in (("old", world.migration.source), ("new", world.migration.target)):
        table = world.store.describe(vector_table.table)
        asked = world.encode(vector_table.model.name, [question["text"] for question in questions])
        answers = [ids_of(world.store.search(table, vector_table.index, vector, 10)) for vector in asked]
        pairs = list(zip(questions, answers, strict=True))
        figures = {name: report["relevance"][side][name] for name in REFERENCE[side]}
        gains = [ndcg(q["relevant"], ids) for q, ids in pairs]
        found = [share_found(q["relevant"], ids) for q, ids in pairs]
        assert figures == pytest.approx({"ndcg@10": np.mean(gains), "recall@10": np.mean(found)}, abs=0.005)
        # Asked for 10, Cassandra's index finds about 97 of the 100 nearest: what exact search finds is a little apart,
        # and less so where expansion_search lets it look for 50.
        assert figures == pytest.approx(REFERENCE[side], abs={"old": 0.015, "new": 0.005}[side])
