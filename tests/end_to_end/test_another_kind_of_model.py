"""From a model that names its prompts to one with a route for questions, cut to fewer dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedshift import Articles
from embedshift.cli.app import main
from embedshift.steps.upgrade import upgrade
from tests.model_kinds import Kinds
from tests.world import World, some_articles

QUESTIONS = ("Why does bread rise?", "What moves the sea?", "How old is the Moon?")
DIMENSIONS = 16


@pytest.fixture
def world(new_world, model_kinds: Kinds) -> World:
    models = model_kinds("prompts"), model_kinds("routes at the start")
    world = new_world(models, target={"model": {"truncate_dim": DIMENSIONS}})
    world.create_source(world.embedded(world.old_model(), *some_articles(60)))
    return world


def nearest(world: World, network: SentenceTransformer, question: str, dimensions: int | None) -> list[float]:
    """The scores of the three nearest articles, by the library's own vectors."""
    options = {"normalize_embeddings": True, "truncate_dim": dimensions, "show_progress_bar": False}
    texts = {key: world.text(key, cells) for key, cells in world.read("articles").items()}
    documents = network.encode_document(list(texts.values()), **options)
    scores = documents @ network.encode_query([question], **options)[0]
    return [float(score) for score in np.sort(scores)[::-1][:3]]


def scores(found) -> list[float]:
    return [each.score for each in found]


def test_an_upgrade_from_prompts_to_routes_and_fewer_dimensions(world: World, spark, capsys):
    old, new = (SentenceTransformer(world.tree[side]["model"]["name"], device="cpu") for side in ("source", "target"))
    assert main(["upgrade", "--config", str(world.config)]) == 0
    said = capsys.readouterr().out
    assert 'document prompt "an article: ", question prompt "find the article: "' in said
    assert f"{DIMENSIONS} dimensions" in said
    assert "embedded by its library" in said
    assert "of the first 60 texts have more than 96 tokens and are cut" in said

    model = world.migration.target.model
    assert (model.dimension, model.truncate_dim) == (DIMENSIONS, DIMENSIONS)
    assert world.migration.source.model.document_prompt == "an article: "
    assert world.alias.target.table == "articles_v2"
    world.assert_migrated()
    assert world.run(upgrade)["outcome"] == "already"

    with Articles(world.settings, world.store) as articles:
        for question in QUESTIONS:
            expected = nearest(world, new, question, DIMENSIONS)
            assert scores(articles.search(question, 3)) == pytest.approx(expected, abs=1e-3)

        world.step("rollback")
        for question in QUESTIONS:
            assert scores(articles.search(question, 3)) == pytest.approx(nearest(world, old, question, None), abs=1e-3)
