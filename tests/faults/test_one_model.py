"""One model: every worker proves that it loaded the recorded one before it writes a vector. Invariant 10."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.migration import find_migration
from embedshift.catalog.vector_table import proven_model, record_of
from embedshift.cli.app import main
from embedshift.embedding import load_model
from embedshift.errors import ModelUnavailable
from embedshift.stores.model import Column, Table
from tests.model_kinds import Kinds
from tests.small_models import save_model
from tests.world import ARTICLE, World, some_articles


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


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_model_that_cannot_embed_ends_prepare_before_anything_is_made(
    new_world, model_kinds: Kinds, old_model, new_model, capsys, side: str
):
    models = {"source": old_model, "target": new_model, side: model_kinds("no padding")}
    world = new_world((models["source"], models["target"]))
    world.create_source(some_articles(3), 24)
    assert main(["prepare", "--config", str(world.config)]) == 3
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("embedshift: ")]
    assert "cannot embed with the model" in line
    assert not world.store.exists("articles_v2")
    assert find_migration(world.store, world.settings) is None


def test_a_table_of_an_earlier_version_is_served_if_its_vectors_were_the_same(new_world, model_kinds: Kinds):
    """Models with truncation or routes have another fingerprint now; nobody must embed their tables again."""
    world = new_world((model_kinds("table truncated"), model_kinds("chat template")))
    alike, otherwise = (load_model(each) for each in (world.settings.source.model, world.settings.target_model))
    table = live_vector_table(
        world.settings, world.store, Table("articles", (*ARTICLE, Column("embedding", "vector<float, 8>")))
    )
    served = replace(table, model=replace(record_of(alike), fingerprint=alike.former_fingerprint))
    assert proven_model(world.store, served) is alike
    former = replace(table, model=replace(record_of(otherwise), fingerprint=otherwise.former_fingerprint))
    with pytest.raises(ModelUnavailable, match="an earlier version of embedshift made the vectors"):
        proven_model(world.store, former)


def test_a_search_with_another_model_than_the_recorded_one_is_refused(world, tmp_path):
    vector_table = world.migration.target
    load_model.cache_clear()
    save_model(tmp_path / "model", 40, seed=8)
    with pytest.raises(ModelUnavailable, match="the catalog says"):
        proven_model(world.store, vector_table)
    load_model.cache_clear()
