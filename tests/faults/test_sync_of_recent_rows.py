"""``sync --since``: rows written since a time, found by their write times where there is no change log."""

from __future__ import annotations

import pytest

from embedshift.errors import UsageError
from tests.world import now_us


def test_only_rows_written_since_are_compared_and_deletions_wait_for_a_whole_pass(loaded):
    loaded.write("articles", {"id": "new", "title": ("new", now_us()), "content": ("today", now_us())})
    loaded.write("articles", {"id": "a003", "title": ("changed", now_us())})
    loaded.delete("articles", {"id": "a005"})
    assert loaded.step("sync", dry_run=True, since="1m") == {"dry_run": True, "read": 2, "written": 2, "deleted": 0}

    result = loaded.step("sync", since="1m")
    assert [each["compared"] for each in result["passes"]] == ["written since", "written since"]
    assert [each["written"] for each in result["passes"]] == [2, 0]
    assert result["next"] == "embedshift sync, which compares every row"
    assert ("new",) in loaded.read("articles_v2")
    assert ("a005",) in loaded.read("articles_v2")

    result = loaded.step("sync")
    assert [(each["compared"], each["written"], each["deleted"]) for each in result["passes"]] == [
        ("all", 0, 1),
        ("all", 0, 0),
    ]
    loaded.assert_migrated()


def test_it_proves_nothing_and_so_the_state_stays(new_world, spark):
    from tests.world import some_articles

    world = new_world()
    world.create_source(some_articles(10))
    world.steps("prepare", "load", "sync", "index")
    world.step("sync", since="2020-01-01")
    assert world.migration.state == "indexed"
    with pytest.raises(UsageError, match="'soon' is not a time"):
        world.step("sync", since="soon")
