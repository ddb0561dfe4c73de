"""Collections that shrink: an element's removal moves no write time, and is carried all the same (invariants 1, 2)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embedshift.steps.proof import subject_of
from embedshift.stores.cql.cassandra import Cassandra
from embedshift.stores.model import Column
from embedshift.tokens import WHOLE_RING
from embedshift.validation.survey import Look, survey_range
from scripts.run_cassandra import CassandraCluster
from tests.cluster.worlds import cluster_world
from tests.world import ARTICLE, World, now_us, some_articles

COLUMNS = (*ARTICLE, Column("tags", "set<text>"), Column("notes", "map<text, text>"))


@pytest.fixture(params=["told", "untold"])
def world(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    old_model: Path,
    new_model: Path,
    cassandra: CassandraCluster,
) -> Iterator[World]:
    """A world with collections, on a server that tells their write times, and as if it did not (ScyllaDB)."""
    if request.param == "untold":
        monkeypatch.setattr(Cassandra, "time_of_collection", lambda self, column: None)
    with cluster_world(tmp_path, (old_model, new_model), cassandra, columns=COLUMNS) as world:
        world.create_source(some_articles(6))
        for number in range(6):
            change(world, f"tags = {{'x', 'y'}}, notes = {{'k': 'v', 'l': 'w'}} WHERE id = 'a00{number}'")
        world.step("prepare")
        world.carry("by hand")
        yield world


def run(world: World, statement: str) -> list[dict[str, Any]]:
    """A statement on the world's keyspace, which it calls KS."""
    return world.store.connection.rows(
        statement.replace("KS", world.settings.store.keyspace), doing="x", profile="write"
    )


def change(world: World, assignment: str, table: str = "articles") -> None:
    run(world, f"UPDATE KS.{table} SET {assignment}")


def collections(world: World, table: str) -> dict[str, tuple[set[str] | None, dict[str, str] | None]]:
    return {row["id"]: (row["tags"], row["notes"]) for row in run(world, f"SELECT id, tags, notes FROM KS.{table}")}


def faults(world: World) -> int:
    survey = survey_range(world.store, subject_of(world.store, world.migration), WHOLE_RING, Look(again_after_s=0))
    return survey.older_cells


def passes(world: World, **options: object) -> list[int]:
    """Run passes until one finds nothing; returns what each repaired. They are as far apart as clocks may be."""
    repaired = []
    for number in range(4):
        counts = world.carry(f"sync/{number}-{now_us()}", read_back=True, **options)
        assert counts.shadowed == 0
        repaired.append(counts.written)
        if not counts.difference:
            return repaired
    raise AssertionError(f"never at rest: {repaired}")


def test_every_change_of_a_collection_is_found_and_carried_once(world: World) -> None:
    assert faults(world) == 0
    assert passes(world) == [0]
    change(world, "tags = tags - {'y'} WHERE id = 'a000'")
    change(world, "notes = notes - {'l'} WHERE id = 'a001'")
    change(world, "tags = null, notes['k'] = 'other' WHERE id = 'a002'")
    change(world, "tags = tags + {'z'} WHERE id = 'a003'")
    assert faults(world) == 4
    assert passes(world) == [4, 0]
    assert faults(world) == 0
    assert collections(world, "articles_v2") == collections(world, "articles")
    # The same cells once more, above what the first repair wrote, and a collection that comes back.
    change(world, "tags = tags - {'x'} WHERE id = 'a003'")
    change(world, "tags = {'back'}, notes = notes - {'k'} WHERE id = 'a002'")
    assert passes(world) == [2, 0]
    assert collections(world, "articles_v2") == collections(world, "articles")
    assert collections(world, "articles_v2")["a003"] == ({"y", "z"}, {"k": "v", "l": "w"})


def test_an_element_that_the_application_adds_to_both_tables_outlives_a_repair(world: World) -> None:
    change(world, "tags = tags - {'y'} WHERE id = 'a000'")
    soon = now_us() + 1_000_000
    for table in ("articles", "articles_v2"):
        run(world, f"UPDATE KS.{table} USING TIMESTAMP {soon} SET tags = tags + {{'late'}} WHERE id = 'a000'")
    passes(world)
    assert collections(world, "articles_v2")["a000"][0] == {"x", "late"}


def test_the_way_back_carries_what_was_removed_from_the_new_table(world: World) -> None:

    migration = world.migration
    world.store.create_index(migration.target.index)
    world.move(migration.target, reason="cutover")
    change(world, "tags = tags - {'y'} WHERE id = 'a000'", "articles_v2")
    back = partial(passes, world, backwards=True, orphans_before_us=now_us())
    assert back()[-1] == 0
    assert collections(world, "articles") == collections(world, "articles_v2")
    # The other way, into the table that answers readers: its own removals stay.
    change(world, "tags = tags - {'y'} WHERE id = 'a001'", "articles_v2")
    assert passes(world, orphans_before_us=now_us())[-1] == 0
    assert collections(world, "articles_v2")["a001"][0] == {"x"}
