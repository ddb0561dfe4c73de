"""Updating articles: embedded again only where the text changes."""

from __future__ import annotations

import threading

import pytest

from embedshift.errors import InputError, NotFoundError
from tests.articles.conftest import SALT, times, value


def test_an_update_of_another_column_leaves_vector_and_text_as_they_are(world, articles):
    articles.add(SALT)
    before = times(world, "salt")
    articles.update("salt", views=9)
    after = times(world, "salt")
    assert value(world, "salt", "views") == 9
    assert {name: after[name] for name in before} == before


def test_an_update_of_the_text_embeds_it_and_writes_nothing_else(world, articles):
    articles.add({**SALT, "views": 1})
    before = times(world, "salt")
    articles.update("salt", title="Water")
    after = times(world, "salt")
    world.assert_embedded("articles", world.old_model())
    assert {name for name in after if after[name] != before[name]} == {"title", "embedding", "embedding_digest"}


def test_an_update_to_the_same_text_does_not_embed_again(world, articles):
    articles.add(SALT)
    before = times(world, "salt")
    articles.update("salt", title=SALT["title"])
    after = times(world, "salt")
    assert after["embedding"] == before["embedding"]
    assert after["title"] > before["title"]


def test_an_article_that_does_not_exist_is_not_made(world, articles):
    with pytest.raises(NotFoundError, match="there is no article"):
        articles.update("nobody", title="Ghost")
    assert world.read("articles") == {}


def test_a_key_cannot_be_changed(world, articles):
    articles.add(SALT)
    with pytest.raises(InputError, match="key never changes"):
        articles.update({"id": "salt"}, **{"id": "sugar"})


def test_two_clients_that_change_two_parts_of_one_text_leave_the_vector_of_the_whole(
    world, articles, opened_on, monkeypatch
):
    """Each embeds before it knows of the other's write; whoever writes last sees both, and embeds both."""
    articles.add(SALT)
    both = threading.Barrier(2, timeout=60)
    errors = []

    def change(columns, client, store):
        write, met = store.write, []

        def together(*arguments):
            if not met:
                met.append(both.wait())
            return write(*arguments)

        monkeypatch.setattr(store, "write", together)
        try:
            client.update("salt", **columns)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    threads = [
        threading.Thread(target=change, args=({"title": "new river"}, *opened_on(world))),
        threading.Thread(target=change, args=({"content": "changed stone"}, *opened_on(world))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert (value(world, "salt", "title"), value(world, "salt", "content")) == ("new river", "changed stone")
    world.assert_embedded("articles", world.old_model())
