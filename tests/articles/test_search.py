"""Searching: by a question, by a vector, like an article."""

from __future__ import annotations

import numpy as np
import pytest

from embedshift.errors import InputError, NotFoundError, SchemaError, StateError
from embedshift.stores.cql.store import CqlStore
from tests.articles.conftest import RIVER, SALT, STONE


@pytest.fixture
def filled(world, articles):
    articles.add_many([{**SALT, "views": 1}, RIVER, STONE])
    return articles


def test_a_question_finds_the_nearest_article_with_score_and_values(world, filled):
    found = filled.search("salt keeps bread", 2)
    assert len(found) == 2
    assert found[0].id == "salt"
    assert found[0].values == {**SALT, "views": 1}
    assert found[0].score > found[1].score
    model = world.old_model().name
    question, text = world.encode(model, ["salt keeps bread", f"{SALT['title']}. {SALT['content']}"])
    assert found[0].score == pytest.approx(float(question @ text), abs=1e-3)


def test_only_the_columns_that_are_asked_for_are_returned(filled):
    assert filled.search("salt", 1, ["title"])[0].values == {"title": "Salt"}
    assert filled.search("salt", 1, ["id", "views"])[0].values == {"id": "salt", "views": 1}
    assert filled.search("salt", 1, [])[0].values == {}
    for wrong in (["colour"], ["embedding"], "title"):
        with pytest.raises((SchemaError, InputError)):
            filled.search("salt", 1, wrong)


def test_more_results_than_articles_are_all_of_them(filled):
    assert {each.id for each in filled.search("anything", 1000)} == {"salt", "river", "stone"}


def test_a_vector_finds_its_own_article(world, filled):
    text = f"{RIVER['title']}. {RIVER['content']}"
    vector = world.encode(world.old_model().name, [text])[0]
    for form in (vector, vector.astype(np.float64), vector.tolist(), tuple(vector)):
        found = filled.search_vector(form, 1)
        assert (found[0].id, found[0].score) == ("river", pytest.approx(1, abs=1e-3))


def test_search_like_an_article_leaves_it_out(filled):
    found = filled.search_like("salt", 10)
    assert {each.id for each in found} == {"river", "stone"}
    assert len(filled.search_like("salt", 1)) == 1
    with pytest.raises(NotFoundError):
        filled.search_like("nobody")


def test_search_like_an_article_without_text_says_so(filled):
    filled.add({"id": "empty", "title": "", "content": ""})
    with pytest.raises(InputError, match="has no text"):
        filled.search_like("empty")


@pytest.mark.parametrize("k", [0, -1, 1001, 2.5, True, "3"])
def test_k_out_of_bounds_is_refused(filled, k):
    for call in (filled.search, filled.search_like):
        with pytest.raises(InputError, match="1 to 1000"):
            call("salt", k)
    with pytest.raises(InputError, match="1 to 1000"):
        filled.search_vector([1.0] * 24, k)


@pytest.mark.parametrize("question", ["", "   ", "\n", None, 5])
def test_an_empty_question_is_refused(filled, question):
    with pytest.raises(InputError, match="the question is empty"):
        filled.search(question)


@pytest.mark.parametrize(
    "vector",
    [
        [float("nan")] * 24,
        [float("inf")] + [0.0] * 23,
        [0.0] * 24,
        [1.0] * 40,
        [],
        "salt",
        [[1.0] * 24],
        [None] * 24,
        5,
    ],
)
def test_a_vector_that_cannot_be_searched_for_is_refused(filled, vector):
    with pytest.raises(InputError, match="vector"):
        filled.search_vector(vector)


def test_an_unknown_alias_is_named(world, opened):
    world.with_settings(alias="nowhere")
    with pytest.raises(StateError, match="there is no alias nowhere"):
        opened(world)


def test_hits_that_the_table_no_longer_has_are_left_out(world, filled, opened_on, monkeypatch):
    """On Cassandra a nearest-neighbour read asks one replica, which may not know of a deletion yet."""
    asking, store = opened_on(world)
    search, asked = store.search, []

    def late(*arguments, **options):
        """An answer from before the deletion."""
        found = search(*arguments, **options)
        if not asked:
            asked.append(len(found))
            filled.delete("salt")
        return found

    monkeypatch.setattr(store, "search", late)
    assert {each.id for each in asking.search("salt", 3)} == {"river", "stone"}
    assert asked == [3]


def test_only_articles_that_meet_a_condition_are_found(world, filled):
    if world.settings.store.kind == "cql":  # where a column needs an index of its own
        with pytest.raises(SchemaError, match="each column of the condition must be in an index"):
            filled.search("anything", 10, where={"views": 1})
        assert isinstance(world.store, CqlStore)
        keyspace = world.settings.store.keyspace
        statement = f"CREATE INDEX ON {keyspace}.articles (views) USING 'sai'"
        world.store.connection.define(statement, "creating an index")
        statement = f"CREATE INDEX ON {keyspace}.articles (title) USING 'sai'"
        world.store.connection.define(statement, "creating an index")
    filled.update("river", views=1)
    assert {each.id for each in filled.search("anything", 10, where={"views": 1})} == {"salt", "river"}
    assert [each.id for each in filled.search("anything", 10, where={"views": 1, "title": RIVER["title"]})] == ["river"]
    assert [each.id for each in filled.search_like("salt", 10, where={"views": 1})] == ["river"]
    assert filled.search("anything", 10, ["title"], {"views": 1})[0].values.keys() == {"title"}
    assert filled.search("anything", 10, where={"views": 2}) == []
    assert {each.id for each in filled.search("anything", 10, where={})} == {"salt", "river", "stone"}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"colour": "red"}, "no column colour to search by"),
        ({"embedding": [0.0]}, "no column embedding to search by"),
        ({"views": "many"}, "'many' is not a int"),
        ({"views": None}, "the condition on views has no value"),
    ],
)
def test_a_condition_that_cannot_be_is_refused(filled, where, words):
    with pytest.raises((InputError, SchemaError), match=words):
        filled.search("anything", 10, where=where)


def test_a_hit_that_no_longer_meets_the_condition_is_left_out(world, filled, opened_on, monkeypatch):
    """The index may still have what the row had."""
    asking, store = opened_on(world)
    search = store.search

    def of_before(*arguments, where, **options):
        return search(*arguments, **options)

    monkeypatch.setattr(store, "search", of_before)
    assert [each.id for each in asking.search("anything", 10, where={"views": 1})] == ["salt"]
