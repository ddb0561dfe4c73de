"""Aborting a migration: its target is dropped, the live table and its application are not affected."""

from __future__ import annotations

import pytest

from embedshift.catalog.dead_letters import DeadLetter, read_dead_letters, write_dead_letters
from embedshift.catalog.ranges import read_ranges
from embedshift.errors import RefusedError, StateError
from embedshift.tokens import WHOLE_RING
from tests.articles.conftest import RIVER, SALT
from tests.world import World


@pytest.fixture
def begun(new_world) -> World:
    world = new_world(cutover={"client_cache": "10ms"})
    world.step("prepare")
    write_dead_letters(world.store, world.migration.id, [DeadLetter('{"id": "x"}', WHOLE_RING, "load", "why", 1)])
    return world


def test_the_target_goes_and_another_try_may_follow(begun, opened):
    articles = opened(begun)
    articles.add(SALT)
    assert begun.read_one("articles_v2", "salt") is not None
    first = begun.migration
    assert begun.step("abort")["state"] == "aborted"
    assert not begun.store.exists("articles_v2")
    assert list(read_ranges(begun.store, first.id, "load")) == []
    assert list(read_dead_letters(begun.store, first.id)) == []
    # The application goes on, now with one table.
    articles.add(RIVER)
    assert {match.id for match in articles.search("water", 5)} == {"salt", "river"}
    assert begun.step("abort")["state"] == "aborted"

    begun.step("prepare")
    assert begun.migration.id == f"{first.id}_2"
    # Whatever is late and still has the former name finds no table, and never the wrong one.
    assert begun.migration.target.table == "articles_v2_2"
    assert not begun.store.exists("articles_v2")
    assert begun.migration.state == "prepared"


def test_settings_that_have_changed_are_no_hindrance(begun):
    begun.with_settings(target={"index": {"connections": 8}})
    with pytest.raises(RefusedError, match="prepared under other settings"):
        begun.step("prepare")
    begun.step("abort")
    begun.step("prepare")
    assert begun.migration.target.index_options.connections == 8


def test_a_target_that_is_live_stays(begun):
    begun.move(begun.migration.target, reason="cutover")
    with pytest.raises(RefusedError, match="articles_v2 is live"):
        begun.step("abort")
    assert begun.store.exists("articles_v2")


def test_it_asks_and_a_dry_run_does_nothing(begun):
    asked = []
    with pytest.raises(RefusedError, match="its name was not typed"):
        begun.step("abort", confirm=lambda table: asked.append(table) or "articles")
    assert asked == ["articles_v2"]
    assert begun.step("abort", dry_run=True)["dry_run"]
    assert (begun.store.exists("articles_v2"), begun.migration.state) == (True, "prepared")


def test_killed_in_the_middle_it_goes_on(begun, monkeypatch):
    kept = begun.store.drop

    def killed(table: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(begun.store, "drop", killed)
    with pytest.raises(KeyboardInterrupt):
        begun.step("abort")
    monkeypatch.setattr(begun.store, "drop", kept)
    assert begun.migration.state == "aborting"
    with pytest.raises(StateError, match="run embedshift abort"):
        begun.step("load")
    assert begun.step("abort")["state"] == "aborted"


def test_without_a_migration_there_is_nothing_to_abort(new_world):
    with pytest.raises(StateError, match="there is no migration into articles_v2"):
        new_world().step("abort")
