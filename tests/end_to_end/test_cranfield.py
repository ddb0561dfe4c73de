"""Real text and real questions: the figures of the whole pipeline are those computed apart from it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedshift.articles.search import search
from embedshift.operations.import_file import import_articles
from tests.measures import REFERENCE, ids_of, ndcg, share_found
from tests.world import World


def test_cranfield_migrates_and_answers_as_well_as_the_references(cranfield, new_world, spark):
    world = new_world(
        ("package:wordllama-l2-256", "package:all-MiniLM-L6-v2"),
        validation={"questions": str(cranfield / "queries.jsonl")},
        load={"ranges": "auto"},
    )
    imported = import_articles(world.settings, world.store, cranfield / "articles.jsonl")
    assert imported.faults == []
    result = world.step("migrate")
    report = result["steps"]["validate"]
    assert report["passed"]
    assert report["relevance"]["questions"] == 225
    for side, figures in REFERENCE.items():
        for name, value in figures.items():
            assert report["relevance"][side][name] == pytest.approx(value, abs=0.005), (side, name)
    assert report["recall@10"] > 0.98
    assert report["counts"]["source_rows"] == report["counts"]["target_rows"] == imported.rows
    # One article of the collection has no text at all, and is kept without a vector.
    assert report["counts"]["with_text"] == imported.rows - imported.without_text
    assert json.loads((world.folder / "validation.json").read_text())["content"] == report["content"]
    assert_figures(world, report, cranfield)
    assert world.alias.target.model.dimension == 384
    hits = search(world.store, world.alias, "heat transfer at the nose of a blunt body", 5)
    assert len(hits) == 5


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
