"""Columns may have any name that CQL takes, and a table several vectors: none of them becomes a column of Spark's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import ARTICLE, World, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

NAMES = ("a.b", "back`tick", 'quo"te', "with space", "select")
COLUMNS = (*ARTICLE, *(Column(name, "text") for name in NAMES), Column("picture", vector_type(3)))


def rows(*names: str) -> Iterator[dict[str, object]]:
    for number, row in enumerate(some_articles(40)):
        moment = row["title"][1] + number % 3
        yield {**row, **{name: (f"{name} {number}", moment) for name in names}, "picture": ([number, 0.5, -1], moment)}


def whole_way(world: World, *names: str) -> None:
    world.create_source(rows(*names))
    world.steps("prepare", "load", "sync", "index")
    world.write("articles", {"id": "a003", names[0]: ("written later", now_us())})
    world.delete("articles", {"id": "a004"})
    world.steps("sync", "validate", "cutover")
    world.assert_migrated()
    found = world.read("articles_v2")[("a007",)]
    assert [found[name][0] for name in names] == [f"{name} 7" for name in names]
    assert found["picture"][0] == [7, 0.5, -1]
    assert world.read("articles_v2")[("a003",)][names[0]][0] == "written later"
    after = now_us()
    world.write("articles_v2", {"id": "new", "title": ("after", after), names[1]: ("the switch", after)})
    world.step("rollback")
    assert world.read("articles")[("new",)][names[1]][:2] == ("the switch", after)


@pytest.mark.parametrize("digests", [True, False])
def test_names_that_need_quoting_go_the_whole_way_on_the_embedded_store(new_world, spark, digests) -> None:
    whole_way(new_world(columns=COLUMNS, digests=digests), *NAMES)


def test_names_that_need_quoting_and_pairs_that_differ_in_case_go_the_whole_way_on_a_cluster(
    tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, spark: SparkContext
) -> None:
    columns = (*COLUMNS, Column("Title", "text"), Column("CONTENT", "text"))
    with cluster_world(tmp_path, (old_model, new_model), cassandra, columns=columns) as world:
        whole_way(world, *NAMES, "Title", "CONTENT")
