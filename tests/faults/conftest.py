"""Worlds to migrate in: each in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.world import World


@pytest.fixture
def new_world(tmp_path: Path, old_model: Path, new_model: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds, by default with the two small models; they are closed after the test."""
    made: list[World] = []

    def make(models: Any = None, **options: Any) -> World:
        folder = tmp_path / f"world-{len(made)}"
        folder.mkdir()
        made.append(World(folder, models or (old_model, new_model), **options))
        return made[-1]

    yield make
    for world in made:
        world.close()
