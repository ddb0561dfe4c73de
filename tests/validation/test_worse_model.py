"""The demonstration backwards: real articles, real questions, and a model that answers worse."""

from __future__ import annotations

import json
from pathlib import Path

from embedshift.validation.questions import read_questions
from tests.small_models import ARTICLES
from tests.validation.defects import WORSE_MODEL
from tests.validation.migrated import failed, migrate, validated, world_in
from tests.world import HOUR_US, now_us


def test_a_worse_model_is_refused(tmp_path: Path) -> None:
    at_us = now_us() - HOUR_US
    lines = (json.loads(line) for line in ARTICLES.read_text(encoding="utf-8").splitlines())
    rows = [{"id": a["id"], "title": (a["title"], at_us), "content": (a["content"], at_us)} for a in lines]
    models = ("package:all-MiniLM-L6-v2", "package:wordllama-l2-256")
    with world_in(tmp_path, models) as world:
        migrate(world, rows)

        report = validated(world, read_questions(ARTICLES.with_name("questions.jsonl")))

    assert failed(report) == WORSE_MODEL.checks
    change = report["relevance"]["difference"]["ndcg@10"]
    assert change["high"] < -0.1, "not by chance"
    each = report["relevance"]["per_question"]
    assert (
        len(each["ids"])
        == len(each["texts"])
        == len(each["old"])
        == len(each["new"])
        == change["losses"] + change["wins"] + change["ties"]
    )
