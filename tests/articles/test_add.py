"""Adding articles, one by one."""

from __future__ import annotations

import uuid

import pytest

from embedshift.errors import InputError
from embedshift.stores.model import Column
from tests.articles.conftest import SALT, times, value
from tests.world import now_us


def test_an_added_article_has_the_vector_and_digest_of_its_text_at_one_write_time(world, articles):
    before = now_us()
    articles.add({**SALT, "views": 3})
    assert articles.get("salt") == {**SALT, "views": 3}
    world.assert_embedded("articles", world.old_model())
    found = set(times(world, "salt").values())
    assert len(found) == 1
    assert before <= found.pop() <= now_us() + 1000


def test_adding_again_replaces_the_given_columns_and_keeps_the_others(world, articles):
    articles.add({**SALT, "views": 3})
    articles.add({"id": "salt", "title": "Sea salt", "content": None})
    assert articles.get("salt") == {"id": "salt", "title": "Sea salt", "content": None, "views": 3}
    world.assert_embedded("articles", world.old_model())


def test_adding_one_part_of_the_text_embeds_the_whole(world, articles):
    articles.add(SALT)
    articles.add({"id": "salt", "title": "Water"})
    assert articles.get("salt")["content"] == SALT["content"]
    world.assert_embedded("articles", world.old_model())


def test_an_article_without_text_has_no_vector(world, articles):
    articles.add({"id": "empty", "title": None, "content": "  "})
    articles.add(SALT)
    articles.add({"id": "salt", "title": None, "content": None})
    world.assert_embedded("articles", world.old_model())
    assert value(world, "salt", "embedding") is None


def test_a_null_title_counts_as_an_empty_one(world, articles):
    articles.add({**SALT, "title": None})
    world.assert_embedded("articles", world.old_model())


def test_write_times_grow_within_a_client_however_fast_it_is(world, articles):
    for number in range(5):
        articles.add({**SALT, "views": number})
    assert value(world, "salt", "views") == 4


@pytest.mark.parametrize(
    ("article", "reason"),
    [
        ({"title": "no id"}, "has no id"),
        ({**SALT, "id": ""}, "has no id"),
        ({**SALT, "id": 5}, "5 is not a text"),
        ({**SALT, "views": "many"}, "views: 'many' is not a int"),
        ({**SALT, "views": 2**40}, "views"),
        ({**SALT, "colour": "white"}, "has no column colour"),
        ({**SALT, "embedding": [1.0] * 24}, "embedding is made by embedshift"),
        ({**SALT, "content": "x" * 10_000_000}, "has 10,000,006 bytes, more than 1,000,000"),
        (["salt"], "an article is a mapping"),
    ],
)
def test_a_faulty_article_is_refused_and_nothing_is_written(world, articles, article, reason):
    with pytest.raises(InputError) as caught:
        articles.add(article)
    assert reason in str(caught.value)
    assert world.read("articles") == {}


def test_a_text_that_the_model_cannot_embed_is_refused(new_world, opened, new_model):
    world = new_world(models=(new_model, None))
    with pytest.raises(InputError, match="cannot be embedded"):
        opened(world).add({**SALT, "title": "poison"})
    assert world.read("articles") == {}


def test_a_key_of_several_columns_and_of_other_types(new_world, opened):
    columns = (
        Column("shelf", "uuid", "partition"),
        Column("place", "int", "clustering"),
        Column("title", "text"),
        Column("content", "text"),
        Column("seen", "timestamp"),
    )
    articles = opened(new_world(columns=columns, source={"id": "shelf"}))
    key = {"shelf": uuid.uuid4(), "place": 7}
    articles.add({**key, "title": "Salt", "content": "bread", "seen": "2026-01-02T03:04:05Z"})
    found = articles.get(key)
    assert found["shelf"] == str(key["shelf"])
    assert found["seen"] == "2026-01-02T03:04:05Z"
    assert articles.search("bread", 1)[0].id == {"shelf": str(key["shelf"]), "place": 7}
    articles.add(found)
    assert articles.get(key) == found
    articles.update(key, title="Sugar")
    assert articles.get(key)["title"] == "Sugar"
    for wrong in ("salt", {"shelf": key["shelf"]}, {**key, "place": "seven"}, {**key, "row": 1}):
        with pytest.raises(InputError):
            articles.get(wrong)
    assert articles.delete(key)
    assert articles.get(key) is None


def test_a_table_without_digests(new_world, opened):
    world = new_world(digests=False)
    articles = opened(world)
    articles.add(SALT)
    world.assert_embedded("articles", world.old_model())
    before = times(world, "salt")
    articles.update("salt", title="Salt")
    assert times(world, "salt")["embedding"] == before["embedding"]
    articles.update("salt", title="Water")
    world.assert_embedded("articles", world.old_model())
    assert times(world, "salt")["embedding"] > before["embedding"]
