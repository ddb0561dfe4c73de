"""One model: every worker proves that it loaded the recorded one before it writes a vector. Invariant 10."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from embedshift.catalog.vector_table import proven_model
from embedshift.embedding import load_model
from embedshift.errors import ModelUnavailable
from tests.small_models import save_model
from tests.world import World, some_articles


@pytest.fixture
def world(new_world, tmp_path: Path, old_model: Path) -> World:
    """A world whose new model lies in a folder of its own, which a test may change."""
    folder = save_model(tmp_path / "model", 40, seed=7)
    world = new_world((old_model, folder), load={"attempts": 1})
    world.create_source(some_articles(40))
    world.step("prepare")
    return world


def test_what_was_loaded_is_written_down_whole(world):
    model = world.migration.target.model
    loaded = load_model(world.settings.target_model)
    assert model.fingerprint == loaded.fingerprint
    assert (model.precision, model.dimension, model.normalize) == ("float32", 40, True)
    assert len(model.fingerprint) == 32


def test_a_model_that_changed_on_disk_writes_nothing(world, tmp_path, spark):
    """The same name and dimension, other weights: the fault that shows nowhere but in the relevance."""
    save_model(tmp_path / "model", 40, seed=8)
    done = world.command("load")
    assert done.returncode in (1, 3)
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("embedshift: ")]
    recorded = world.migration.target.model.fingerprint
    assert "has fingerprint" in line
    assert f"the catalog says {recorded}" in line
    assert "Traceback" not in done.stderr + done.stdout
    assert world.read("articles_v2") == {}
    assert world.migration.state == "prepared"
    # The old files back, and the run completes.
    save_model(tmp_path / "model", 40, seed=7)
    assert world.step("load")["written"] == 40
    world.assert_migrated()


def test_a_model_that_is_gone_writes_nothing(world, tmp_path, spark):
    shutil.rmtree(tmp_path / "model")
    done = world.command("load")
    assert done.returncode in (1, 3)
    assert "the model folder" in done.stderr
    assert "does not exist" in done.stderr
    assert world.read("articles_v2") == {}


def test_a_search_with_another_model_than_the_recorded_one_is_refused(world, tmp_path):
    vector_table = world.migration.target
    load_model.cache_clear()
    save_model(tmp_path / "model", 40, seed=8)
    with pytest.raises(ModelUnavailable, match="the catalog says"):
        proven_model(vector_table)
    load_model.cache_clear()
