"""Versions of an alias's table: how they are counted, which migration a file speaks of, and which old ones go."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from embedshift.catalog.alias import create_alias, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.migration import check_settings, read_migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.versions import as_prepared, between, is_served_by, next_table, open_migration, settings_now
from embedshift.errors import UsageError
from embedshift.settings import ModelSettings, Settings, StoreSettings, parse_settings
from embedshift.steps.context import StepContext
from embedshift.steps.retire import retire_old
from embedshift.stores import open_store
from embedshift.telemetry.console import Console
from tests.recorded import make_table, record, vector_table


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store(StoreSettings(path=tmp_path / "articles.sqlite"))
    ensure_catalog(opened)
    yield opened
    opened.close()


def settings(**changes: Any) -> Settings:
    tree = {
        "alias": "articles",
        "store": {"path": "unused"},
        "source": {"table": "articles", "model": {"name": "a"}},
        "target": {"table": "articles_v2", "model": {"name": "b"}},
        "retire": {"after": 0, "watch": 0, "keep": 1},
    }
    return parse_settings({**tree, **changes})


def chain(store: Any, models: str, **more: Any) -> list[Settings]:
    """Upgrades from model to model, each one switched; the settings of each."""
    made = [settings(**more)]
    make_table(store, "articles")
    create_alias(store, "articles", vector_table("articles", models[0]))
    for number, (old, new) in enumerate(pairwise(models), 2):
        live = vector_table("articles" if number == 2 else f"articles_v{number - 1}", old)
        made.append(between(made[0], live, f"articles_v{number}", ModelSettings(name=new)))
        make_table(store, f"articles_v{number}")
        record(store, made[-1], "switched", upgrade=True)
        create_alias(store, "articles", live)
        claim = claim_alias(store, "articles", "")
        move_alias(store, None, claim, vector_table(f"articles_v{number}", new), migration="", reason="cutover")
    return made[1:]


# Counting.


@pytest.mark.parametrize(
    ("live", "following"),
    [("articles", "articles_v2"), ("articles_v2", "articles_v3"), ("articles_v9", "articles_v10"), ("a_vx", "a_vx_v2")],
)
def test_the_next_version_counts_up_from_the_live_table(store, live, following):
    assert next_table(store, "articles", live) == following


def test_a_name_that_is_used_is_passed_over(store):
    make_table(store, "articles_v2")
    record(store, settings(target={"table": "articles_v3"}), "loaded")
    assert next_table(store, "articles", "articles") == "articles_v4"


def test_a_name_longer_than_a_table_may_have_is_refused(store):
    with pytest.raises(UsageError, match="48 letters"):
        next_table(store, "articles", "a" * 46)


# Which migration is meant.


def test_a_file_that_does_not_change_finds_the_newest_upgrade(store):
    file = settings()
    assert settings_now(file, store) == file
    first, second = chain(store, "abc")
    now = settings_now(file, store)
    assert (now.source.table, now.source.model.name) == ("articles_v2", "b")
    assert (now.target.table, now.target_model.name) == ("articles_v3", "c")
    for each in (first, second):
        migration = read_migration(store, f"{each.source.table}-to-{each.target.table}")
        check_settings(migration, as_prepared(settings(load={"precision": "float32"}), migration))


def test_a_migration_prepared_by_hand_is_the_files_own_again(store):
    chain(store, "ab")
    by_hand = settings(source={"table": "articles_v2", "model": {"name": "b"}}, target={"table": "by_hand"})
    record(store, by_hand, "prepared")
    assert settings_now(by_hand, store) == by_hand
    open_one = open_migration(store, "articles")
    assert open_one is not None
    assert open_one.target.table == "by_hand"


def test_after_an_abort_the_upgrade_before_it_is_meant(store):
    chain(store, "ab")
    given_up = between(settings(), vector_table("articles_v2", "b"), "articles_v3", ModelSettings(name="c"))
    record(store, given_up, "aborted", upgrade=True)
    assert settings_now(settings(), store).target.table == "articles_v2"
    assert open_migration(store, "articles") is None


def test_the_same_model_with_another_prompt_is_another_one(store):
    live = vector_table("articles", "a")
    assert is_served_by(store, live, ModelSettings(name="a", device="cpu"))
    assert not is_served_by(store, live, ModelSettings(name="a", query_prompt="query: "))
    assert not is_served_by(store, live, ModelSettings(name="a", revision="main"))


# Keeping some.


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (None, ["articles", "articles_v2", "articles_v3", "articles_v4"]),
        (2, ["articles_v2", "articles_v3", "articles_v4"]),
        (1, ["articles_v3", "articles_v4"]),
        (0, ["articles_v4"]),
    ],
)
def test_the_newest_old_tables_are_kept_and_the_live_one_always(store, tmp_path, spark, keep, left):
    file = settings(retire={"after": 0, "watch": 0, "keep": keep}, store={"path": str(tmp_path / "articles.sqlite")})
    chain(store, "abcd")
    names = ["articles", "articles_v2", "articles_v3", "articles_v4"]

    gone = retire_old(StepContext("upgrade", file, store, Console(quiet=True)))
    assert [name for name in names if store.exists(name)] == left
    assert gone == [name for name in names if name not in left]
    assert retire_old(StepContext("upgrade", file, store, Console(quiet=True))) == []


def test_nothing_is_retired_within_its_grace_time_or_while_an_alias_names_it(store):
    chain(store, "abc")
    assert (
        retire_old(
            StepContext("upgrade", settings(retire={"after": "1h", "watch": 0, "keep": 0}), store, Console(quiet=True))
        )
        == []
    )
    create_alias(store, "of_others", vector_table("articles", "a"))
    assert (
        retire_old(
            StepContext("upgrade", settings(retire={"after": 0, "watch": 0, "keep": 0}), store, Console(quiet=True))
        )
        == []
    )
    assert store.exists("articles")
