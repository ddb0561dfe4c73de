"""Adding many articles: in batches, in order, each failure by its name."""

from __future__ import annotations

import pytest

from embedshift.errors import ModelUnavailable
from tests.articles.conftest import RIVER, SALT, STONE
from tests.small_models import articles as corpus


def test_many_articles_are_written_embedded_and_found(new_world, opened):
    world = new_world(articles={"batch": 50})
    articles = opened(world)
    many = [{"id": f"a{n}", "title": each["title"], "content": each["content"]} for n, each in enumerate(corpus())]
    taken = []

    def source():
        for article in many:
            taken.append(article)
            yield article

    added = articles.add_many(source())
    assert (added.written, added.failures) == (len(many), [])
    assert len(taken) == len(many)
    assert len(world.read("articles")) == len(many)
    world.assert_embedded("articles", world.old_model())
    found = articles.search(f"{many[7]['title']}. {many[7]['content']}", 1)[0]
    assert (found.id, found.score) == ("a7", pytest.approx(1, abs=1e-3))


def test_failures_are_named_one_by_one_and_affect_no_other(world, articles):
    many = [SALT, {"title": "no id"}, {**RIVER, "views": "x"}, None, {**STONE, "colour": 1}, RIVER]
    added = articles.add_many(many)
    assert added.written == 2
    assert [(each.position, each.id) for each in added.failures] == [(1, None), (2, "river"), (3, None), (4, "stone")]
    assert "has no id" in added.failures[0].reason
    assert "not a int" in added.failures[1].reason
    assert world.read("articles").keys() == {("salt",), ("river",)}


def test_of_two_of_one_id_the_later_one_wins(world, articles):
    added = articles.add_many([SALT, RIVER, {"id": "salt", "title": "Sugar"}, {"id": "salt", "content": "sweet"}])
    assert added.written == 4
    assert articles.get("salt") == {"id": "salt", "title": "Sugar", "content": "sweet", "views": None}
    world.assert_embedded("articles", world.old_model())


def test_nothing_to_add(articles):
    assert articles.add_many([]).written == 0


def test_a_model_that_is_another_one_now_stops_everything_before_it_writes(world, articles, monkeypatch):
    from embedshift import embedding as models

    class Other:
        fingerprint = "another"

    monkeypatch.setattr(models, "load_model", lambda *_: Other())
    with pytest.raises(ModelUnavailable, match="has fingerprint another"):
        articles.add_many([SALT])
    assert world.read("articles") == {}
