"""Real text and real questions: the figures of the whole pipeline are those computed apart from it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedshift.articles.search import search
from embedshift.catalog.alias import get_alias
from embedshift.embedding import load_model
from embedshift.operations.import_file import import_articles
from embedshift.operations.trial_sample import draw
from embedshift.stores.cql_types import matrix
from embedshift.validation.pool import judge_pool
from embedshift.validation.questions import read_questions
from embedshift.validation.relevance import resampled_means
from tests.measures import REFERENCE, ids_of, ndcg, share_found
from tests.world import World


def test_a_part_of_cranfield_migrates_and_its_figures_are_right(cranfield, new_world, spark, tmp_path):
    """The first articles, and the questions that they answer, so that it takes a quarter of the time."""
    lines = (cranfield / "articles.jsonl").read_text(encoding="utf-8").splitlines()[:350]
    there = {json.loads(line)["id"] for line in lines}
    questions = []
    for line in (cranfield / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        question["relevant"] = {id_: grade for id_, grade in question["relevant"].items() if id_ in there}
        if any(question["relevant"].values()):
            questions.append(json.dumps(question))
    (tmp_path / "articles.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "queries.jsonl").write_text("\n".join(questions), encoding="utf-8")
    world, report = migrated(new_world, tmp_path)
    assert_tried(world, tmp_path, report)


@pytest.mark.long
def test_cranfield_migrates_and_answers_as_well_as_the_references(cranfield, new_world, spark):
    world, report = migrated(new_world, cranfield)
    assert report["relevance"]["questions"] == 225
    for side, figures in REFERENCE.items():
        for name, value in figures.items():
            assert report["relevance"][side][name] == pytest.approx(value, abs=0.005), (side, name)
    assert_tried(world, cranfield, report)


def migrated(new_world: Callable[..., World], folder: Path) -> tuple[World, dict[str, Any]]:
    """A collection, migrated from the one model to the other; and the record of its validation, checked."""
    world = new_world(
        ("package:wordllama-l2-256", "package:all-MiniLM-L6-v2"),
        validation={"questions": str(folder / "queries.jsonl")},
        load={"ranges": "auto"},
    )
    imported = import_articles(world.settings, world.store, folder / "articles.jsonl")
    assert imported.faults == []
    report = world.step("migrate")["steps"]["validate"]
    assert report["passed"]
    assert report["recall@10"] > 0.98
    assert report["counts"]["source_rows"] == report["counts"]["target_rows"] == imported.rows
    # One article of the whole collection has no text at all, and is kept without a vector.
    assert report["counts"]["with_text"] == imported.rows - imported.without_text
    assert json.loads((world.folder / "validation.json").read_text())["content"] == report["content"]
    assert_figures(world, report, folder)
    assert world.alias.target.model.dimension == 384
    hits = search(world.store, world.alias, "heat transfer at the nose of a blunt body", 5)
    assert len(hits) == 5
    return world, report


def assert_tried(world: World, folder: Path, report: dict[str, Any]) -> None:
    """A trial of the old model against the new one: its figures are those of the migration, the old is worse."""
    named = {"models": ["package:wordllama-l2-256"], "questions": folder / "queries.jsonl", "seed": 1}
    tried = world.step("trial", output=world.folder / "trial.html", **named)
    (candidate,) = tried["candidates"]
    for found, side in ((tried["live"], "new"), (candidate, "old")):
        for name in ("ndcg@10", "recall@10", "mrr@10"):
            assert found[name] == pytest.approx(report["relevance"][side][name], abs=0.005)
    assert candidate["verdict"] == "worse"
    whole = candidate["differences"]["ndcg@10"]["mean"]
    # Some articles beside the labelled ones say the same.
    rest = (tried["rows"] - tried["sample"]["labelled"]) // 2
    sampled = world.step("trial", output=world.folder / "trial.html", **named, sample=rest)
    (candidate,) = sampled["candidates"]
    assert candidate["differences"]["ndcg@10"]["low"] < whole < candidate["differences"]["ndcg@10"]["high"]
    assert sampled["sample"]["weight"] > 1.5


@pytest.mark.long
def test_a_sample_of_five_hundred_has_its_interval_over_the_whole_figure(cranfield, new_world, spark):
    """In ninety-five of a hundred seeds at least, for each model and for the difference."""
    world = new_world(("package:wordllama-l2-256", "package:all-MiniLM-L6-v2"))
    import_articles(world.settings, world.store, cranfield / "articles.jsonl")
    world.steps("prepare", "load")
    live, table = get_alias(world.store, "articles").target, world.store.describe("articles")
    questions = read_questions(cranfield / "queries.jsonl")
    asked = {}
    for side in ("source", "target"):
        model = load_model(getattr(world.settings, side).model)
        asked[side] = np.array([model.embed_question(each.text) for each in questions])
    new = dict(zip(*vectors_of(world, "articles_v2"), strict=True))
    covered = dict.fromkeys(("old", "new", "difference"), 0)
    for seed in range(100):
        sample = draw(world.store, live, table, questions, 500, seed)
        judge = partial(judge_pool, sample.pool, questions=questions, metric="cosine")
        old_values = judge(vectors=matrix(sample.rows.column("embedding")), asked=asked["source"])["ndcg@10"]
        new_vectors = np.array([new[id_] for id_ in sample.pool.ids], np.float32)
        new_values = judge(vectors=new_vectors, asked=asked["target"])["ndcg@10"]
        truths = {"old": REFERENCE["old"]["ndcg@10"], "new": REFERENCE["new"]["ndcg@10"]}
        truths["difference"] = truths["new"] - truths["old"]
        sides = {"old": old_values, "new": new_values, "difference": new_values - old_values}
        for name, values in sides.items():
            means = resampled_means(values, np.random.default_rng(seed), 2000)
            low, high = np.quantile(means, [0.025, 0.975])
            covered[name] += low <= truths[name] <= high
    assert min(covered.values()) >= 95, covered


def assert_figures(world: World, report: dict[str, Any], folder: Path) -> None:
    """Every figure of relevance and recall is that of a plain computation over the vectors in the tables."""
    questions = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    gains = {}
    for side, table, model in (("old", "articles", "source"), ("new", "articles_v2", "target")):
        ids, vectors = vectors_of(world, table)
        name = getattr(world.settings, model).model.name
        asked = world.encode(name, [question["text"] for question in questions])
        order = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :10]
        ranked = [[ids[at] for at in row] for row in order]
        gains[side] = np.array([ndcg(q["relevant"], row) for q, row in zip(questions, ranked, strict=True)])
        found = [share_found(q["relevant"], row) for q, row in zip(questions, ranked, strict=True)]
        assert report["relevance"][side]["ndcg@10"] == pytest.approx(gains[side].mean(), abs=0.005)
        assert report["relevance"][side]["recall@10"] == pytest.approx(np.mean(found), abs=0.005)
    change = report["relevance"]["difference"]["ndcg@10"]
    plain = gains["new"] - gains["old"]
    assert change["low"] < plain.mean() < change["high"]
    error = plain.std(ddof=1) / np.sqrt(len(plain))
    assert change["high"] - change["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)
    # The last round's vectors are those of the target: its index against the same plain order, over the questions.
    index, table = world.migration.target.index, world.store.describe("articles_v2")
    shares = [
        len(set(ids_of(world.store.search(table, index, vector, 10))) & set(row)) / 10
        for vector, row in zip(asked, ranked, strict=True)
    ]
    assert report["recall@10"] == pytest.approx(np.mean(shares), abs=0.005)
    assert report["intervals"]["recall@10"]["low"] <= np.mean(shares) <= report["intervals"]["recall@10"]["high"]


def vectors_of(world: World, table: str) -> tuple[list[str], np.ndarray]:
    filled = {
        str(uuid.UUID(bytes=key[0])): cells["embedding"][0]
        for key, cells in world.read(table).items()
        if "embedding" in cells
    }
    return list(filled), np.array(list(filled.values()), np.float32)
