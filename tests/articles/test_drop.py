"""Dropping an alias with everything that belongs to it."""

from __future__ import annotations

import pytest

from embedshift.articles.drop import drop
from embedshift.catalog.alias import create_alias
from embedshift.catalog.tables import ALL, TABLE_USE
from embedshift.errors import RefusedError, StateError, UsageError
from tests.articles.conftest import SALT


def left(world):
    """The rows of the catalog, without the names of tables, which outlive them so that none is given again."""
    return {table.name: len(list(world.store.records.select(table, {}))) for table in ALL if table is not TABLE_USE}


def test_table_and_catalog_rows_go(world, articles):
    articles.add(SALT)
    dropped = articles.drop()
    assert dropped.tables == ("articles",)
    assert not world.store.exists("articles")
    assert set(left(world).values()) == {0}
    with pytest.raises(UsageError, match="closed"):
        articles.add(SALT)
    with pytest.raises(StateError, match="there is no alias"):
        drop(world.settings, world.store, None)


def test_the_name_must_be_typed(world, articles):
    asked = []
    with pytest.raises(RefusedError, match="its name was not typed"):
        articles.drop(lambda name: asked.append(name) or "article")
    assert asked == ["articles"]
    assert world.store.exists("articles")
    assert articles.drop(lambda name: name).tables == ("articles",)


def test_it_is_refused_while_a_migration_runs(world, articles):
    world.step("prepare")
    with pytest.raises(RefusedError, match="is prepared"):
        articles.drop()
    assert world.store.exists("articles")


def test_after_a_rollback_the_target_goes_too(world, articles):
    from embedshift.catalog.lease import owned

    world.step("prepare")
    with owned(world.store, world.migration, "prepare", world.settings.cutover.lease) as lease:
        lease.change(state="rolled_back")
    assert set(articles.drop().tables) == {"articles", "articles_v2"}
    assert not world.store.exists("articles_v2")
    assert set(left(world).values()) == {0}


def test_a_table_that_another_alias_names_stays(world, articles):
    create_alias(world.store, "second", world.alias.target)
    with pytest.raises(RefusedError, match="the alias second names it too"):
        articles.drop()
    assert world.store.exists("articles")


def test_what_is_left_after_a_table_was_dropped_by_hand_goes(world, articles):
    world.store.drop("articles")
    assert drop(world.settings, world.store, None).tables == ()
    assert set(left(world).values()) == {0}
