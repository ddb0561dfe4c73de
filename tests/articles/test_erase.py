"""Erasing: from every place, and proved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedshift.catalog.dead_letters import DeadLetter, write_dead_letters
from embedshift.catalog.ledger import Entry, enter
from embedshift.catalog.tables import LEDGER
from embedshift.catalog.validations import last_validation, write_validation
from embedshift.tokens import WHOLE_RING
from tests.articles.conftest import RIVER, SALT, letters

REPORT = {
    "passed": True,
    "checks": [],
    "examples": {"stale": [{"id": "salt"}, {"id": "river"}], "missing": []},
    "relevance": {"lost_most": [{"question": "q1", "text": "what keeps", "old": ["salt", "river"], "new": ["river"]}]},
    "content": "hash",
}


@pytest.fixture
def written(world, opened):
    """An article in both tables, with a dead letter and a report in the catalog and in a file."""
    opened(world).add_many([SALT, RIVER])
    world.step("prepare")
    world.carry("sync/1")
    migration = world.migration.id
    names = ['{"id": "salt"}', '{"id": "river"}']
    write_dead_letters(world.store, migration, [DeadLetter(name, WHOLE_RING, "client", "x", 1) for name in names])
    enter(world.store, migration, "articles_v2", [Entry(name, at) for name in names for at in (1, 7_200_000_000)])
    write_validation(world.store, migration, passed=True, content="hash", report=REPORT)
    Path(world.settings.validation.report).write_text(json.dumps(REPORT))
    return world


def test_an_erased_article_is_nowhere(written, opened):
    places = opened(written).erase("salt")
    found = {each.place: each.found for each in places}
    assert found == {
        "live table articles": 1,
        "table articles_v2": 1,
        "dead letters": 1,
        "ledger": 2,
        "validations in the catalog": 2,
        f"report {written.settings.validation.report}": 2,
    }
    assert all(str(each).endswith("nothing left") for each in places)
    for table in ("articles", "articles_v2"):
        assert written.read(table).keys() == {("river",)}
    assert [letter.id for letter in letters(written)] == ['{"id": "river"}']
    assert {row["id"] for row in written.store.records.select(LEDGER, {})} == {'{"id": "river"}'}
    report = Path(written.settings.validation.report).read_text()
    assert "salt" not in report
    assert json.loads(report)["relevance"]["lost_most"][0]["old"] == ["(erased)", "river"]
    proof = last_validation(written.store, written.migration.id)
    assert "salt" not in json.dumps(proof.report)
    assert (proof.passed, proof.content) == (True, "hash")


def test_a_load_that_comes_late_does_not_bring_it_back(written, opened):
    old = written.read("articles_v2")[("salt",)]
    opened(written).erase("salt")
    written.write("articles_v2", {"id": "salt", **{name: cell[:2] for name, cell in old.items()}})
    assert ("salt",) not in written.read("articles_v2")


def test_erasing_again_finds_nothing_and_is_no_error(written, opened):
    articles = opened(written)
    articles.erase("salt")
    assert all(each.found == 0 for each in articles.erase("salt"))
    assert all(each.found == 0 for each in articles.erase("nobody"))


def test_without_a_migration(world, articles):
    articles.add(SALT)
    places = articles.erase("salt")
    assert next((each.place, each.found) for each in places) == ("live table articles", 1)
    assert world.read("articles") == {}
