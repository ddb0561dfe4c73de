"""Real text and real questions: the figures of the whole pipeline are those computed apart from it."""

from __future__ import annotations

import json

import pytest

from jobs.articles.importing import import_articles
from jobs.articles.searching import search

#: Exact search over float32 vectors, computed apart from this project (FACTS.md).
REFERENCE = {
    "old": {"ndcg@10": 0.2850, "recall@10": 0.3284},
    "new": {"ndcg@10": 0.3565, "recall@10": 0.4160},
}


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
    assert world.alias.target.model.dimension == 384
    hits = search(world.store, world.alias, "heat transfer at the nose of a blunt body", 5)
    assert len(hits) == 5
