"""Deactivating and restoring: what is inactive is in no search, and missing is active."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from embedshift.articles.delete import add_soft_delete
from embedshift.errors import NotFoundError, SchemaError
from embedshift.stores.model import Column
from tests.articles.conftest import RIVER, SALT, STONE, table, times
from tests.small_models import articles as corpus


@pytest.fixture
def articles(soft_world, opened):
    return opened(soft_world)


def test_an_inactive_article_is_in_no_search_and_can_be_read(soft_world, articles):
    articles.add_many([SALT, RIVER, STONE])
    before = times(soft_world, "salt")
    articles.deactivate("salt")
    assert {each.id for each in articles.search("salt keeps bread", 10)} == {"river", "stone"}
    assert {each.id for each in articles.search_like("river", 10)} == {"stone"}
    moment = datetime.fromisoformat(articles.get("salt")["deactivated_at"])
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert {name: times(soft_world, "salt")[name] for name in before} == before


def test_a_restored_article_is_found_again(articles):
    articles.add_many([SALT, RIVER])
    articles.deactivate("salt")
    articles.restore("salt")
    assert articles.get("salt")["deactivated_at"] is None
    assert articles.search("salt keeps bread", 1)[0].id == "salt"
    articles.restore("salt")
    assert articles.search("salt keeps bread", 1)[0].id == "salt"


def test_an_update_does_not_restore(articles):
    articles.add(SALT)
    articles.deactivate("salt")
    articles.update("salt", title="Sea salt")
    articles.add({**SALT, "title": "Rock salt"})
    assert articles.search("salt", 5) == []


def test_what_does_not_exist_is_neither_deactivated_nor_made(soft_world, articles):
    for call in (articles.deactivate, articles.restore):
        with pytest.raises(NotFoundError):
            call("nobody")
    assert soft_world.read("articles") == {}


def test_search_asks_for_more_until_enough_are_active(soft_world, opened_on, monkeypatch):
    """Of the nearest forty, all but three are inactive."""
    articles, store = opened_on(soft_world)
    nearest = [{"id": f"near{n}", "title": "Salt", "content": "keeps bread"} for n in range(40)]
    far = [{"id": each["id"], "title": each["title"], "content": each["content"]} for each in corpus()[:20]]
    articles.add_many([*nearest, *far])
    for n in range(37):
        articles.deactivate(f"near{n}")
    asked = []
    search = store.search

    def counted(table_, index, query, k, **more):
        asked.append(k)
        return search(table_, index, query, k, **more)

    monkeypatch.setattr(store, "search", counted)
    found = articles.search("salt keeps bread", 5)
    assert len(found) == 5
    assert {each.id for each in found} >= {"near37", "near38", "near39"}
    assert all(each.values["deactivated_at"] is None for each in found)
    assert asked[0] == 5
    assert all(later == earlier * 2 for earlier, later in itertools.pairwise(asked))
    asked.clear()
    assert len(articles.search("salt", 1000)) == 23
    assert asked == [1000]


def test_a_table_without_the_column_says_which_command_helps(world, opened):
    articles = opened(world)
    articles.add(SALT)
    for call in (articles.deactivate, articles.restore):
        with pytest.raises(SchemaError, match="embedshift schema add-soft-delete"):
            call("salt")
    with pytest.raises(SchemaError, match="embedshift schema add-soft-delete"):
        articles.purge(timedelta(days=1))


def test_adding_the_column_makes_no_article_inactive_and_may_be_repeated(world, opened):
    articles = opened(world)
    articles.add(SALT)
    assert add_soft_delete(world.settings, world.store) == ["articles"]
    assert add_soft_delete(world.settings, world.store) == []
    fresh = opened(world)
    assert fresh.search("salt", 1)[0].id == "salt"
    fresh.deactivate("salt")
    assert fresh.search("salt", 1) == []


def test_adding_the_column_adds_it_to_the_other_table_of_a_migration(world):
    world.step("prepare")
    assert add_soft_delete(world.settings, world.store) == ["articles_v2", "articles"]
    assert table(world, "articles_v2").column("deactivated_at").type == "timestamp"


def test_a_column_of_that_name_and_another_type_is_refused(new_world):
    from tests.articles.conftest import COLUMNS

    world = new_world(columns=(*COLUMNS, Column("deactivated_at", "text")))
    with pytest.raises(SchemaError, match="is a text, not a timestamp"):
        add_soft_delete(world.settings, world.store)


def test_the_search_of_the_command_line_leaves_out_what_is_inactive(soft_world, articles):
    from embedshift.articles.search import search

    articles.add_many([SALT, RIVER])
    assert next(each.title for each in search(soft_world.store, soft_world.alias, "salt keeps bread", 2)) == "Salt"
    articles.deactivate("salt")
    assert [(each.id, each.title) for each in search(soft_world.store, soft_world.alias, "salt", 2)] == [
        ("river", "A river")
    ]
