"""Writes with times of long ago, that arrive when the target takes none so old any more: they are carried all the same.

Each is a moment in which such a write was lost once, hidden for ever, or brought back what was deleted. The target's
index follows a change log (``tests/histories/log_fed.py``). Invariants 1, 2, 3, 4 and 13.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from embedshift.catalog.lease import held
from embedshift.catalog.raised_cells import any_raised
from embedshift.errors import StoreUnavailable
from embedshift.stores.model import Column
from tests.histories.log_fed import LogFedStore
from tests.small_models import POISON
from tests.world import ARTICLE, World, now_us, some_articles

MINUTE_US = 60_000_000


@pytest.fixture
def indexed(loaded: World) -> Iterator[World]:
    """The target has had its index for a moment, and takes no write from before that."""
    return with_log(loaded)


def with_log(world: World, *tables: str) -> World:
    world.store = LogFedStore(world.store, now_us)  # type: ignore[assignment]
    for vector_table in (world.migration.target, *(world.migration.source for _ in tables)):
        world.store.drop_index(vector_table.index)
        world.store.create_index(vector_table.index)
    return world


def ago(minutes: float) -> int:
    return now_us() - round(minutes * MINUTE_US)


def titled(world: World, title: str | None, minutes: float, *, table: str = "articles", ttl: int | None = None) -> None:
    at = ago(minutes)
    world.write(table, {"id": "a003", "title": (title, at) if ttl is None else (title, at, ttl)})


def title(world: World, table: str = "articles_v2", id_: str = "a003") -> Any:
    row = world.read_one(table, id_) or {}
    return row["title"][0] if "title" in row else None


def carried(world: World, number: int, **options: Any) -> None:
    """Two passes, of which the second finds nothing to do."""
    world.carry(f"sync/{number}0", read_back=True, **options)
    again = world.carry(f"sync/{number}1", read_back=True, **options)
    assert (again.written, again.deleted, again.shadowed) == (0, 0, 0)


def test_one_late_write_after_another(indexed: World) -> None:
    for number, (text, minutes) in enumerate([("bread", 30), ("river", 20), ("cloud", 15), ("stone", 10)], 1):
        titled(indexed, text, minutes)
        carried(indexed, number)
        assert title(indexed) == text


def test_a_late_write_that_is_older_than_one_before_changes_nothing(indexed: World) -> None:
    titled(indexed, "bread", 20)
    carried(indexed, 1)
    titled(indexed, "river", 25)
    carried(indexed, 2)
    assert title(indexed) == "bread"


def test_a_late_deletion_and_a_late_insertion_after_it(indexed: World) -> None:
    at = max(cell[1] for cell in indexed.read("articles")[("a003",)].values())
    indexed.delete("articles", {"id": "a003"}, at_us=at)
    carried(indexed, 1)
    assert indexed.read_one("articles_v2", "a003") is None
    titled(indexed, "river", 20)
    carried(indexed, 2)
    assert title(indexed) == "river"
    indexed.delete("articles", {"id": "a003"}, at_us=ago(18))
    carried(indexed, 3)
    assert indexed.read_one("articles_v2", "a003") is None
    titled(indexed, "cloud", 15)
    carried(indexed, 4)
    assert title(indexed) == "cloud"


def test_a_value_that_is_deleted_late_and_written_again_late(indexed: World) -> None:
    for number, (text, minutes) in enumerate([("bread", 30), (None, 25), ("river", 20), (None, 15), ("cloud", 10)], 1):
        titled(indexed, text, minutes)
        carried(indexed, number)
        assert title(indexed) == text


def test_the_same_value_without_the_end_that_it_had(indexed: World) -> None:
    titled(indexed, "bread", 30, ttl=4000)
    carried(indexed, 1)
    assert indexed.read("articles_v2")[("a003",)]["title"][2] is not None
    titled(indexed, "bread", 20)
    carried(indexed, 2)
    assert indexed.read("articles_v2")[("a003",)]["title"][2] is None


def test_a_row_of_its_key_alone(indexed: World) -> None:
    indexed.write("articles", {"id": "bare", "title": (None, ago(20)), "content": (None, ago(20))})
    assert ("bare",) in indexed.read("articles")
    carried(indexed, 1)
    assert ("bare",) in indexed.read("articles_v2")


def test_two_late_writes_of_one_time(indexed: World) -> None:
    """Every server keeps the greater value of the two, in whatever order they come."""
    at = ago(30)
    for number, text in enumerate(["bread", "river"], 1):
        indexed.write("articles", {"id": "a003", "title": (text, at)})
        carried(indexed, number)
        assert title(indexed) == text


def test_a_row_of_its_key_alone_below_a_deletion_is_counted_and_keeps_no_pass_busy(indexed: World) -> None:
    indexed.delete("articles", {"id": "a003"}, at_us=ago(20))
    carried(indexed, 1)
    indexed.write("articles", {"id": "a003", "title": (None, ago(10)), "content": (None, ago(10))})
    for step in ("sync/7", "sync/8"):
        counts = indexed.carry(step, read_back=True)
        assert (counts.shadowed, counts.difference) == (1, 0)


def test_a_task_that_is_killed_between_what_it_notes_and_what_it_writes(indexed: World) -> None:
    """Its note of a cell that is not there must not make the next late write look old."""
    titled(indexed, "bread", 30)
    carried(indexed, 1)
    write = indexed.store.write

    def killed(table: Any, rows: Any) -> Any:
        raise StoreUnavailable("killed")

    for place, action in ((1, "before"), (2, "after")):
        titled(indexed, f"river {action}", 25 - place)

        def struck(table: Any, rows: Any, action: str = action) -> Any:
            if action == "after":
                write(table, rows)
            return killed(table, rows)

        indexed.store.write = struck  # type: ignore[method-assign]
        with pytest.raises(AssertionError):
            indexed.carry(f"sync/{place}5", read_back=True)
        indexed.store.write = write  # type: ignore[method-assign]
        carried(indexed, 10 * place)
        assert title(indexed) == f"river {action}"
    titled(indexed, "cloud", 10)
    carried(indexed, 30)
    assert title(indexed) == "cloud"


def test_a_second_column_of_vectors(new_world: Callable[..., World], spark: object) -> None:
    world = new_world(columns=(*ARTICLE, Column("picture", "vector<float, 3>")))
    world.create_source(some_articles(5, ago(60)))
    world.steps("prepare", "load", "sync", "index", "sync")
    with_log(world)
    for number, (picture, minutes) in enumerate([([1.0, 0, 0], 30), ([0, 1.0, 0], 20), ([0, 0, 1.0], 10)], 1):
        world.write("articles", {"id": "a003", "picture": (picture, ago(minutes))})
        carried(world, number)
        assert world.read("articles_v2")[("a003",)]["picture"][0] == picture


# After the switch.


def floor_moves_up(world: World, table: str = "articles_v2") -> None:
    """The server has collected the older streams of the log."""
    world.store.raise_floor(table)  # type: ignore[attr-defined]


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_deleted_in_the_live_table_stays_deleted(switched: World, moved: bool) -> None:
    world = with_log(switched)
    world.delete("articles_v2", {"id": "a003"})
    world.write("articles_v2", {"id": "a004", "title": (None, now_us())})
    if moved:
        floor_moves_up(world)
    for step in ("sync/7", "sync/8"):
        world.carry(step, read_back=True)
        assert world.read_one("articles_v2", "a003") is None
        assert title(world, id_="a004") is None


@pytest.mark.parametrize("log", [False, True])
def test_a_row_of_its_key_alone_stays_in_the_live_table(switched: World, log: bool) -> None:
    world = with_log(switched) if log else switched
    world.write("articles_v2", {"id": "bare", "title": (None, now_us())})
    if log:
        floor_moves_up(world)
    for step in ("sync/7", "sync/8"):
        assert world.carry(step, read_back=True).difference == 0
        assert ("bare",) in world.read("articles_v2")


def test_a_row_of_its_key_alone_that_was_deleted_in_the_live_table_stays_deleted(loaded: World) -> None:
    loaded.write("articles", {"id": "bare", "title": (None, ago(20)), "content": (None, ago(20))})
    loaded.steps("sync", "validate", "cutover")
    world = with_log(loaded)
    assert ("bare",) in world.read("articles_v2")
    world.delete("articles_v2", {"id": "bare"})
    floor_moves_up(world)
    for step in ("sync/7", "sync/8"):
        assert world.carry(step, read_back=True).difference == 0
        assert ("bare",) not in world.read("articles_v2")


def test_a_row_that_could_not_be_embedded_before_the_switch_was_never_in_both_tables(loaded: World) -> None:
    loaded.with_settings(load={"tolerate_dead": 0.5})
    loaded.write("articles", {"id": "dead", "title": (POISON, ago(20)), "content": ("river", ago(20))})
    loaded.steps("sync", "validate", "cutover")
    world = with_log(loaded)
    floor_moves_up(world)
    assert world.carry("sync/7", read_back=True).dead == 1
    world.write("articles", {"id": "dead", "title": ("bread", ago(19))})
    assert world.carry("sync/8", read_back=True).written == 1
    row = world.read_one("articles_v2", "dead") or {}
    assert (row["title"][0], row["content"][0]) == ("bread", "river")


def test_the_way_back_leaves_a_newer_collection_of_a_straggler(new_world: Callable[..., World], spark: object) -> None:
    world = new_world(columns=(*ARTICLE, Column("tags", "set<text>")))
    world.create_source(world.embedded(world.old_model(), *some_articles(5, ago(60))))
    world.write("articles", {"id": "a003", "tags": (b"old", ago(30))})
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    world.write("articles", {"id": "a003", "tags": (b"new", now_us())})
    world.carry("back/1", backwards=True, read_back=True)
    assert world.read("articles")[("a003",)]["tags"][0] == b"new"


@pytest.mark.parametrize("log", [False, True])
def test_a_row_of_its_key_alone_of_a_straggler_keeps_no_rollback_busy(switched: World, log: bool) -> None:
    world = with_log(switched, "articles") if log else switched
    world.write("articles", {"id": "bare", "title": (None, now_us())})
    world.with_settings(sync={"clock_skew": "1ms"})
    time.sleep(0.05)  # so that it is older than the clocks' skew
    world.carry("back/1", backwards=True, read_back=True)
    assert world.carry("back/2", backwards=True, read_back=True).difference == 0


@pytest.mark.parametrize("log", [False, True])
def test_on_the_way_back_a_cell_of_a_straggler_keeps_no_other_of_its_deleted_row(switched: World, log: bool) -> None:
    world = with_log(switched, "articles") if log else switched
    world.delete("articles_v2", {"id": "a003"})
    world.write("articles", {"id": "a003", "content": ("of a straggler", now_us())})
    world.carry("back/1", backwards=True, read_back=True)
    assert world.carry("back/2", backwards=True, read_back=True).difference == 0
    row = world.read_one("articles", "a003") or {}
    assert "title" not in row
    assert row["content"][0] == "of a straggler"
    vector = world.embedded(world.old_model(), {"id": "a003", "content": ("of a straggler", 1)})[0]["embedding"]
    assert row["embedding"][0] == pytest.approx(vector[0])


def test_a_newer_cell_of_a_stranger_brings_no_old_ones_back(switched: World) -> None:
    world = with_log(switched)
    world.delete("articles_v2", {"id": "a003"})
    floor_moves_up(world)
    at = now_us()
    world.write("articles", {"id": "a003", "content": ("of a stranger", at)})
    world.carry("sync/7", read_back=True)
    row = world.read_one("articles_v2", "a003") or {}
    assert "title" not in row
    assert row["content"][0] == "of a stranger"


def test_a_value_that_the_way_back_has_carried_and_that_was_deleted_then_stays_deleted(switched: World) -> None:
    world = with_log(switched)
    titled(world, "river", 0, table="articles_v2")
    with held(world.store, world.migration, world.settings.cutover.lease) as lease:
        world.carry("back/1", backwards=True, read_back=True, owner=lease.owner, throttled=False)
        world.write("articles_v2", {"id": "a003", "title": (None, now_us())})
        floor_moves_up(world)
        world.carry("sync/7", read_back=True, owner=lease.owner, throttled=False)
    assert title(world) is None


def test_a_rollback_does_not_put_an_older_value_over_a_newer_one(loaded: World) -> None:
    """The old value is in the new table with a later time than its own; the newer one is in the old table alone."""
    world = with_log(loaded, "articles")
    world.store.raise_floor("articles", ago(90))  # type: ignore[attr-defined]
    titled(world, "bread", 30)
    carried(world, 1)
    assert any_raised(world.store, world.migration.id, "articles_v2")
    titled(world, "river", 20)
    with held(world.store, world.migration, world.settings.cutover.lease) as lease:
        lease.change(state="switched", switched_us=now_us())
    world.move(world.migration.target)
    world.carry("back/1", backwards=True, read_back=True)
    assert title(world, "articles") == "river"
    carried(world, 2)
    assert title(world) == "river"


def test_days_later_the_way_back_carries_what_was_written_since(switched: World) -> None:
    world = with_log(switched, "articles")
    titled(world, "river", 0, table="articles_v2")
    world.delete("articles_v2", {"id": "a004"})
    for table in ("articles", "articles_v2"):
        floor_moves_up(world, table)
    for step in ("back/1", "back/2"):
        world.carry(step, backwards=True, read_back=True)
        assert title(world, "articles") == "river"
        assert world.read_one("articles", "a004") is None
    titled(world, "cloud", 0, table="articles_v2")
    world.carry("back/3", backwards=True, read_back=True)
    assert title(world, "articles") == "cloud"
