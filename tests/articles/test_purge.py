"""Purging: what was deactivated long ago, and what a system outside no longer has."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from embedshift.articles.files import read_archive
from embedshift.errors import InputError, RefusedError, UsageError
from tests.articles.conftest import RIVER, SALT, STONE

LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def articles(soft_world, opened):
    articles = opened(soft_world)
    articles.add_many([{**SALT, "deactivated_at": LONG_AGO}, RIVER, STONE])
    articles.deactivate("river")
    return articles


def ids(folder, *lines):
    file = folder / "ids.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def test_only_what_was_deactivated_long_ago_is_deleted(soft_world, articles):
    purged = articles.purge(timedelta(days=30))
    assert (purged.rows, purged.chosen, purged.deleted, purged.archived) == (3, 1, 1, 0)
    assert soft_world.read("articles").keys() == {("river",), ("stone",)}
    assert articles.purge(timedelta(days=30)).deleted == 0
    assert articles.purge(timedelta(0)).deleted == 1
    assert articles.get("stone") is not None


def test_a_dry_run_says_what_would_be_deleted(soft_world, articles, tmp_path):
    purged = articles.purge(timedelta(days=30), tmp_path / "gone.jsonl", dry_run=True)
    assert (purged.chosen, purged.deleted) == (1, 0)
    assert len(soft_world.read("articles")) == 3
    assert list(tmp_path.glob("gone*")) == []


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_archive_holds_every_column_and_can_be_added_again(soft_world, articles, tmp_path, suffix):
    file = tmp_path / f"gone.{suffix}"
    before = articles.get("salt")
    purged = articles.purge(timedelta(days=30), file)
    assert (purged.deleted, purged.archived) == (1, 1)
    assert articles.get("salt") is None
    kept = list(read_archive(file))
    assert kept[0].keys() == {"id", "title", "content", "deactivated_at"}
    assert articles.add_many(kept).failures == []
    assert articles.get("salt") == before
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_an_archive_can_be_imported(soft_world, articles, tmp_path, suffix):
    from embedshift.operations.import_file import import_articles

    file = tmp_path / f"gone.{suffix}"
    before = articles.get("salt")
    articles.purge(timedelta(days=30), file)
    assert import_articles(soft_world.settings, soft_world.store, file).faults == []
    assert articles.get("salt") == before


def test_an_archive_overwrites_nothing_and_what_cannot_be_archived_is_not_deleted(soft_world, articles, tmp_path):
    file = tmp_path / "gone.jsonl"
    file.write_text("mine")
    for wrong in (file, tmp_path / "gone.csv", tmp_path / "nowhere" / "gone.jsonl"):
        with pytest.raises(InputError):
            articles.purge(timedelta(days=30), wrong)
    assert file.read_text() == "mine"
    assert len(soft_world.read("articles")) == 3
    articles.purge(timedelta(days=3000), tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_what_is_touched_between_judging_and_deleting_stays(soft_world, articles, opened_on, monkeypatch):
    purging, store = opened_on(soft_world)
    fetch, restored = store.fetch, []

    def late(*arguments, **options):
        if not restored:  # The first rows that are fetched by key are those that were judged.
            articles.restore("salt")
            restored.append("salt")
        return fetch(*arguments, **options)

    monkeypatch.setattr(store, "fetch", late)
    purged = purging.purge(timedelta(days=30))
    assert restored == ["salt"]
    assert (purged.chosen, purged.deleted) == (1, 0)
    assert articles.get("salt")["deactivated_at"] is None


def test_both_tables_of_a_migration_are_purged(soft_world, articles, opened):
    soft_world.step("prepare")
    soft_world.carry("sync/1")
    moving = opened(soft_world)
    assert moving.purge(timedelta(days=30)).deleted == 1
    assert soft_world.read("articles").keys() == soft_world.read("articles_v2").keys() == {("river",), ("stone",)}


@pytest.mark.parametrize("lines", [[{"id": "salt"}, {"id": "river", "more": 1}], ["salt", "river"]])
def test_what_a_system_outside_no_longer_has_is_deleted(soft_world, articles, tmp_path, lines):
    file = tmp_path / "ids.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    purged = articles.purge(not_in=file, max_share=0.5)
    assert (purged.rows, purged.chosen, purged.deleted) == (3, 1, 1)
    assert soft_world.read("articles").keys() == {("salt",), ("river",)}


def test_too_great_a_share_is_refused(soft_world, articles, tmp_path):
    file = ids(tmp_path, {"id": "salt"}, {"id": "river"})
    with pytest.raises(RefusedError, match="1 of 3 articles would be deleted, more than 10%"):
        articles.purge(not_in=file)
    with pytest.raises(RefusedError):
        articles.purge(not_in=file, dry_run=True)
    assert len(soft_world.read("articles")) == 3


def test_an_article_that_was_written_after_the_file_is_kept(soft_world, articles, tmp_path):
    import os

    file = ids(tmp_path, {"id": "salt"}, {"id": "river"}, {"id": "stone"})
    os.utime(file, (1_600_000_000, 1_600_000_000))
    articles.add({"id": "new", "title": "new", "content": ""})
    assert articles.purge(not_in=file, max_share=1).deleted == 0
    assert articles.get("new") is not None


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "contains no id"),
        (["\n"], "contains no id"),
        ([{"id": "salt"}, "{broken"], "line 2 is not JSON"),
        ([{"id": "salt"}, {"name": "river"}], "line 2: the article has no id"),
        ([{"id": "salt"}, {"id": 5}], "line 2: id: 5 is not a text"),
        ([{"id": "salt"}, [1]], "line 2"),
    ],
)
def test_a_faulty_file_of_ids_deletes_nothing(soft_world, articles, tmp_path, lines, reason):
    with pytest.raises(InputError) as caught:
        articles.purge(not_in=ids(tmp_path, *lines), max_share=1)
    assert reason in str(caught.value)
    assert len(soft_world.read("articles")) == 3


def test_a_file_that_cannot_be_read_and_wrong_arguments(articles, tmp_path):
    with pytest.raises(InputError, match="cannot read the ids"):
        articles.purge(not_in=tmp_path / "none.jsonl")
    file = ids(tmp_path, {"id": "salt"})
    for wrong in ({}, {"inactive_for": timedelta(1), "not_in": file}):
        with pytest.raises(UsageError, match="purge needs one rule"):
            articles.purge(**wrong)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="max_share"):
            articles.purge(not_in=file, max_share=share)
    with pytest.raises(InputError, match="inactive_for"):
        articles.purge(timedelta(days=-1))
