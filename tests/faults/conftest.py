"""Worlds that are ready to be cut over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import HOUR_US, World, now_us, some_articles


@pytest.fixture(scope="session")
def synced(tmp_path_factory: pytest.TempPathFactory, old_model: Path, new_model: Path, spark: object) -> Path:
    """The folder of a world whose target is complete and synced, but not validated; each test takes a copy."""
    folder = tmp_path_factory.mktemp("synced")
    world = World(folder, (old_model, new_model))
    rows = some_articles(30, now_us() - HOUR_US)
    world.create_source(world.embedded(world.old_model(), *rows))
    world.steps("prepare", "load", "sync", "index", "sync")
    world.close()
    return folder


@pytest.fixture
def loaded(synced: Path, tmp_path: Path, old_model: Path, new_model: Path) -> Iterator[World]:
    copy = tmp_path / "world"
    shutil.copytree(synced, copy, ignore=shutil.ignore_patterns("*-shm"))
    world = World(copy, (old_model, new_model))
    yield world
    world.close()


@pytest.fixture
def switched(loaded) -> World:
    loaded.steps("validate", "cutover")
    return loaded
