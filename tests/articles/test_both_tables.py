"""Writing while a migration runs: both tables, the same write times; the live one never suffers for the other."""

from __future__ import annotations

import json
import logging
import time

import pytest

from embedshift.articles.routing import AliasCache
from embedshift.errors import SchemaError
from embedshift.settings import load_settings
from embedshift.spark.dead_letters import settle_dead_letters
from embedshift.spark.transfer import transfer_of
from tests.articles.conftest import RIVER, SALT, STONE, letters, table, times, value


@pytest.fixture
def moving(soft_world):
    """A world with a prepared migration."""
    soft_world.step("prepare")
    return soft_world


@pytest.fixture
def articles(moving, opened):
    return opened(moving)


def same_times(world, id_):
    ours, theirs = times(world, id_), times(world, id_, "articles_v2")
    return ours == theirs


def move(world, there):
    return world.move(there, reason="cutover")


def test_every_verb_writes_both_tables_at_one_time_each_with_its_own_model(moving, articles):
    for article in (SALT, RIVER, STONE):
        articles.add(article)
    assert all(same_times(moving, id_) for id_ in ("salt", "river", "stone"))
    articles.update("salt", title="Sea salt")
    articles.update("river", views=4)
    articles.deactivate("river")
    articles.delete("stone")
    assert same_times(moving, "salt")
    assert same_times(moving, "river")
    assert moving.read_one("articles_v2", "stone") is None
    moving.assert_same()
    moving.assert_embedded("articles", moving.old_model())
    moving.assert_embedded("articles_v2", moving.migration.target.model)
    articles.restore("river")
    assert value(moving, "river", "deactivated_at", "articles_v2") is None
    assert letters(moving) == []


def test_many_articles_are_written_to_both(moving, articles):
    added = articles.add_many([SALT, RIVER, STONE])
    assert (added.written, added.failures) == (3, [])
    moving.assert_migrated()


def test_what_the_client_wrote_needs_no_repair_after_the_load(new_world, opened):
    world = new_world()
    early = opened(world)
    for article in (SALT, RIVER):
        early.add(article)
    world.step("prepare")
    articles = opened(world)
    articles.update("salt", title="changed")
    articles.add(STONE)
    counts = world.carry("sync/1")
    assert counts.read == 3
    world.assert_migrated()
    again = world.carry("sync/2", read_back=True)
    assert again.difference == 0


def test_a_text_that_only_the_new_model_refuses_is_a_dead_letter_and_the_call_succeeds(moving, articles, caplog):
    articles.add(SALT)
    with caplog.at_level(logging.WARNING, "embedshift"):
        articles.update("salt", title="poison")
    assert articles.get("salt")["title"] == "poison"
    moving.assert_embedded("articles", moving.old_model())
    assert value(moving, "salt", "title", "articles_v2") == "Salt"
    (letter,) = letters(moving)
    assert (json.loads(letter.id), letter.of_client, letter.of_way_back) == ({"id": "salt"}, True, False)
    assert not letter.deletes
    assert letter.at_us == times(moving, "salt")["title"]
    assert "not finite" in letter.reason
    assert "poison" not in caplog.text
    assert "sync will repair them" in caplog.text
    articles.update("salt", title="Sugar")
    assert moving.carry("sync/2", read_back=True).difference == 0
    assert (
        settle_dead_letters(moving.store, transfer_of(moving.settings, moving.store, moving.migration, "sync/1")) == []
    )
    assert letters(moving) == []


def test_the_other_table_lacks_a_column_and_sync_repairs_it_and_settles_the_letter(new_world, opened):
    world = new_world()
    world.step("prepare")
    opened(world).add(SALT)
    # The other table refuses this very write: its column is of another name.
    world.store.drop("articles_v2")
    world.store.create(_without_views(world))
    opened(world).update("salt", views=3)
    assert value(world, "salt", "views") == 3
    (letter,) = letters(world)
    assert "has no column views" in letter.reason


def _without_views(world):
    from embedshift.stores.cql_types import vector_type
    from embedshift.stores.model import Table

    columns = [c for c in table(world).columns if c.name != "views"]
    dimension = world.migration.target.model.dimension
    changed = [c if c.name != "embedding" else type(c)(c.name, vector_type(dimension)) for c in columns]
    return Table("articles_v2", tuple(changed))


def test_if_the_other_table_is_gone_no_call_fails(moving, articles):
    articles.add(SALT)
    moving.store.drop("articles_v2")
    articles.add(RIVER)
    articles.update("salt", title="Sugar")
    articles.delete("river")
    assert articles.get("salt")["title"] == "Sugar"
    assert articles.search("bread", 1)[0].id == "salt"


def test_a_client_follows_the_switch_and_keeps_the_old_table_for_the_way_back(moving, articles):
    articles.add(SALT)
    moving.store.create_index(moving.migration.target.index)
    move(moving, moving.migration.target)
    articles.update("salt", title="After the switch")
    articles.add(RIVER)
    articles.delete("salt")
    articles.add(STONE)
    assert same_times(moving, "river")
    assert moving.read("articles").keys() == moving.read("articles_v2").keys() == {("river",), ("stone",)}
    moving.assert_embedded("articles", moving.old_model())
    moving.assert_embedded("articles_v2", moving.migration.target.model)
    assert articles.search("water to the sea", 1)[0].id == "river"


def test_after_the_switch_a_failure_in_the_old_table_is_a_letter_of_the_way_back(moving, opened):
    move(moving, moving.migration.target)
    moving.store.drop("articles")
    moving.store.create(_renamed(moving))
    opened(moving).add({**SALT, "views": 2})
    assert value(moving, "salt", "views", "articles_v2") == 2
    (letter,) = letters(moving)
    assert letter.of_way_back


def _renamed(world):
    from embedshift.stores.cql_types import vector_type
    from embedshift.stores.model import Table

    columns = [c for c in table(world, "articles_v2").columns if c.name != "views"]
    dimension = world.migration.source.model.dimension
    changed = [c if c.name != "embedding" else type(c)(c.name, vector_type(dimension)) for c in columns]
    return Table("articles", tuple(changed))


def test_no_call_fails_in_a_client_whose_routing_is_older_than_the_cutover_and_the_retire(soft_world, opened):
    """The routing is kept for a minute; the old table is dropped within it."""
    world = soft_world
    world.with_settings(cutover={"client_cache": "60s"})
    stale = {}
    for verb in ("add", "update", "get", "delete", "search", "deactivate", "many", "like"):
        stale[verb] = opened(world)
    stale["add"].add(SALT)
    stale["add"].add(RIVER)
    world.step("prepare")
    world.carry("sync/1")
    world.store.create_index(world.migration.target.index)
    move(world, world.migration.target)
    world.store.drop("articles")
    stale["add"].add(STONE)
    stale["update"].update("salt", title="Sugar")
    assert stale["get"].get("salt")["title"] == "Sugar"
    assert stale["search"].search("water", 3)
    assert stale["like"].search_like("salt", 1)
    stale["deactivate"].deactivate("salt")
    assert stale["delete"].delete("river")
    assert stale["many"].add_many([RIVER]).failures == []
    assert world.read("articles_v2").keys() == {("salt",), ("river",), ("stone",)}
    world.assert_embedded("articles_v2", world.migration.target.model)


def test_a_write_that_outlasts_its_routing_is_repeated_where_the_alias_then_points(soft_world, opened_on, monkeypatch):
    """The routing expires while the write is running, and the alias moves meanwhile: nothing is lost."""
    world = soft_world
    articles, store = opened_on(world)
    write, moved = store.write, []

    def slow(where, rows):
        result = write(where, rows)
        if not moved:
            moved.append(where.name)
            world.step("prepare")
            world.store.create_index(world.migration.target.index)
            move(world, world.migration.target)
            time.sleep(world.settings.articles_cache.total_seconds())
        return result

    monkeypatch.setattr(store, "write", slow)
    articles.add(SALT)
    assert moved == ["articles"]
    assert value(world, "salt", "title", "articles_v2") == "Salt"
    world.assert_embedded("articles_v2", world.migration.target.model)
    assert same_times(world, "salt")


def test_a_routing_does_not_reach_a_table_that_was_created_anew_under_its_name(moving):
    cache = AliasCache(moving.store, moving.settings)
    before = cache.refresh()
    described = moving.store.describe("articles_v2")
    moving.store.drop("articles_v2")
    moving.store.create(described)
    after = cache.refresh()
    assert not before.same(after)
    assert not before.reaches(after)
    assert after.reaches(cache.refresh())


def test_the_model_of_a_question_is_that_of_the_alias_row(moving, articles):
    articles.add_many([SALT, RIVER, STONE])
    before = articles.search("water to the sea", 1)[0]
    moving.store.create_index(moving.migration.target.index)
    move(moving, moving.migration.target)
    time.sleep(moving.settings.articles_cache.total_seconds())  # as a cutover does: clients may keep the alias so long
    after = articles.search("water to the sea", 1)[0]
    new = moving.migration.target.model
    question = moving.encode(new.name, ["water to the sea"])[0]
    text = moving.encode(new.name, ["A river. Water runs to the sea."])[0]
    assert before.id == after.id == "river"
    assert after.score == pytest.approx(float(question @ text), abs=1e-3)
    assert before.score != pytest.approx(after.score, abs=1e-3)


def test_an_alias_that_points_to_a_dropped_table_is_named(world_of_nothing, opened):
    world, articles = world_of_nothing
    for call in (
        lambda: articles.add(SALT),
        lambda: articles.update("salt", title="x"),
        lambda: articles.get("salt"),
        lambda: articles.delete("salt"),
        lambda: articles.search("bread"),
        lambda: articles.add_many([SALT]),
        lambda: opened(world),
    ):
        with pytest.raises(SchemaError, match="the alias articles points to articles, which does not exist"):
            call()


@pytest.fixture
def world_of_nothing(world, opened):
    articles = opened(world)
    articles.add(SALT)
    world.store.drop("articles")
    return world, articles


def test_the_cache_is_never_longer_than_a_cutover_waits(world):
    from embedshift.errors import SettingsError

    assert world.settings.articles_cache.total_seconds() == 0.01
    with pytest.raises(SettingsError, match=r"articles\.cache is longer than cutover\.client_cache"):
        load_settings(world.config, ["articles.cache=6s"])
