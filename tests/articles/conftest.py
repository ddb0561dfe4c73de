"""Worlds in which an application uses its articles: on the embedded store, and on a real Cassandra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from embedshift import Articles
from embedshift.articles.delete import add_soft_delete
from embedshift.catalog.alias import create_alias
from embedshift.catalog.dead_letters import DeadLetter, read_dead_letters
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.shadow import read_shadow
from embedshift.catalog.tables import MIGRATION
from embedshift.stores import open_store
from embedshift.stores.model import Column
from tests.cluster.worlds import cluster_world
from tests.world import ARTICLE, World

COLUMNS = (*ARTICLE, Column("views", "int"))

SALT = {"id": "salt", "title": "Salt", "content": "It keeps bread from spoiling."}
RIVER = {"id": "river", "title": "A river", "content": "Water runs to the sea."}
STONE = {"id": "stone", "title": "Stone", "content": "Walls are made of it."}


@pytest.fixture(params=("embedded", "cassandra"))
def new_world(
    request: pytest.FixtureRequest, tmp_path: Path, old_model: Path, new_model: Path
) -> Iterator[Callable[..., World]]:
    """Makes worlds with an empty, live table of articles; they are closed after the test."""
    with ExitStack() as stack:
        made: list[World] = []

        def make(*, soft_delete: bool = False, rows: Any = (), **options: Any) -> World:
            folder = tmp_path / f"world-{len(made)}"
            folder.mkdir()
            options = {"columns": COLUMNS, **options}
            models = options.pop("models", (old_model, new_model))
            if request.param == "cassandra":
                cluster = request.getfixturevalue("cassandra")
                world = stack.enter_context(cluster_world(folder, models, cluster, **options))
            else:
                world = World(folder, models, **options)
                stack.callback(world.close)
            made.append(world)
            ensure_catalog(world.store)
            world.create_source(rows)
            create_alias(world.store, "articles", live_vector_table(world.settings, world.store, table(world)))
            if soft_delete:
                add_soft_delete(world.settings, world.store)
            return world

        yield make


@pytest.fixture
def world(new_world: Callable[..., World]) -> World:
    """A world with an empty, live table: id, title, content, views."""
    return new_world()


@pytest.fixture
def soft_world(new_world: Callable[..., World]) -> World:
    """The same with the column for soft delete."""
    return new_world(soft_delete=True)


@pytest.fixture
def opened() -> Iterator[Callable[[World], Articles]]:
    """Opens the articles of a world; they are closed after the test."""
    with ExitStack() as stack:
        yield lambda world: stack.enter_context(Articles.open(world.config))


@pytest.fixture
def opened_on() -> Iterator[Callable[[World], tuple[Articles, Any]]]:
    """The same, with the store that these articles use, whose methods a test may wrap; both are closed after it."""
    with ExitStack() as stack:

        def open_on(world: World) -> tuple[Articles, Any]:
            store = open_store(world.settings.store)
            return stack.enter_context(Articles(world.settings, store)), store

        yield open_on


@pytest.fixture
def articles(world: World, opened: Callable[[World], Articles]) -> Articles:
    """The articles of the world."""
    return opened(world)


def table(world: World, name: str = "articles") -> Any:
    return world.store.describe(name)


def letters(world: World) -> list[DeadLetter]:
    return list(read_dead_letters(world.store, world.migration.id))


def value(world: World, id_: str, column: str, name: str = "articles") -> Any:
    """The value of one cell, None where there is none."""
    cells = world.read_one(name, id_)
    return None if cells is None or column not in cells else cells[column][0]


def times(world: World, id_: str, name: str = "articles") -> dict[str, int]:
    """The write time of each cell of a row."""
    cells = world.read_one(name, id_)
    assert cells is not None
    return {column: cell[1] for column, cell in cells.items()}


@pytest.fixture
def migrating(world) -> World:
    """A world whose new table is filled and has an index."""
    with Articles.open(world.config) as articles:
        articles.add_many([SALT, RIVER, STONE])
    world.step("prepare")
    world.carry("sync/1")
    in_state(world, "caught_up")
    world.step("index")
    return world


def in_state(world: World, state: str) -> None:
    """Put the migration into a state, as the step does that a test leaves out."""
    assert world.store.records.update_if(MIGRATION, {"id": world.migration.id}, {"state": state}, {"owner": ""})


def figures(world: World) -> dict[str, Any]:
    """What shadow reading has measured so far."""
    found = read_shadow(world.store, world.migration.id)
    assert found is not None
    return found
