"""Getting and deleting articles."""

from __future__ import annotations

import pytest

from embedshift.errors import InputError
from tests.articles.conftest import RIVER, SALT
from tests.world import now_us


def test_what_is_not_there_is_none(articles):
    assert articles.get("nobody") is None


def test_a_deleted_article_is_gone_from_table_and_search(world, articles):
    articles.add_many([SALT, RIVER])
    assert articles.delete("salt") is True
    assert articles.get("salt") is None
    assert [each.id for each in articles.search("bread", 10)] == ["river"]
    assert articles.delete("salt") is False


def test_a_deletion_reaches_cells_that_a_clock_ahead_has_written(world, articles):
    ahead = now_us() + 3_600_000_000
    world.write("articles", {"id": "ahead", "title": ("Early", ahead), "content": ("bird", ahead)})
    assert articles.delete("ahead")
    assert world.read("articles") == {}


def test_an_article_may_come_again_after_its_deletion(world, articles):
    articles.add(SALT)
    articles.delete("salt")
    articles.add({**SALT, "title": "Back"})
    assert articles.get("salt")["title"] == "Back"
    world.assert_embedded("articles", world.old_model())


@pytest.mark.parametrize("wrong", [5, None, "", b"x", 1.5, ["salt"], {"id": 5}, {"other": "salt"}, "\ud800"])
def test_a_wrong_id_is_refused_by_every_verb(world, articles, wrong):
    articles.add(SALT)
    for call in (articles.get, articles.delete, articles.update, articles.search_like, articles.erase):
        with pytest.raises(InputError):
            call(wrong)
    assert world.read("articles").keys() == {("salt",)}
