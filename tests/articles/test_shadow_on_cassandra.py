"""Shadow reading on a cluster: the client's and the command's figures meet in the report."""

from __future__ import annotations

import pytest

from embedshift import Articles
from embedshift.articles import shadow as shadowing
from embedshift.catalog.shadow import read_shadow
from embedshift.reporting.data import material
from tests.articles.conftest import figures
from tests.world import DEADLINE_S, eventually

pytestmark = pytest.mark.parametrize("new_world", ["cassandra"], indirect=True)


def test_both_ways_of_shadow_reading_add_up(migrating, tmp_path, monkeypatch):
    monkeypatch.setattr(shadowing, "END_S", DEADLINE_S)
    monkeypatch.setattr(shadowing, "WRITE_S", 0.01)
    with Articles.open(migrating.config, shadow=1) as articles:
        for question in ("what keeps bread", "where does water run"):
            assert len(articles.search(question)) == 3
        eventually(lambda: (read_shadow(migrating.store, migrating.migration.id) or {}).get("searches") == 2)
    assert figures(migrating)["overlap@10"]["mean"] == 1  # three articles, and both tables have all of them

    questions = tmp_path / "questions.txt"
    questions.write_text("what keeps bread\nwhat are walls made of\n")
    done = migrating.step("shadow", questions=questions, rate=20, minutes=0.005)
    assert done["failed"] == 0
    assert done["searches"] > 0
    shown = material(migrating.store, migrating.migration, {"passed": True})["shadow"]
    assert shown["searches"] == 2 + done["searches"]
    assert shown["latency"]["new"]["p50_ms"] > 0
