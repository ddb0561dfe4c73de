"""Records: the catalog's small rows, and compare-and-set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from embedshift.stores.records import RecordTable


@pytest.fixture
def alias(store, new_name: Callable[[], str]) -> RecordTable:
    """A table of one row a name."""
    table = RecordTable(
        new_name(),
        partition=("name",),
        columns={"name": "text", "target": "text", "version": "bigint", "share": "double", "open": "boolean"},
    )
    store.records.ensure([table])
    return table


@pytest.fixture
def ranges(store, new_name: Callable[[], str]) -> RecordTable:
    """A table of many rows a partition."""
    table = RecordTable(
        new_name(),
        partition=("migration", "bucket"),
        clustering=("start",),
        columns={"migration": "text", "bucket": "bigint", "start": "bigint", "state": "text"},
    )
    store.records.ensure([table])
    return table


def test_a_table_is_there_once_it_was_made(store, alias, new_name):
    assert store.records.has(alias)
    assert not store.records.has(RecordTable(new_name(), partition=("name",), columns={"name": "text"}))


def row(**values: object) -> dict[str, object]:
    return {"name": "news", "target": "v1", "version": 1, "share": 0.5, "open": True, **values}


def test_a_row_comes_back_with_its_types(store, alias):
    store.records.put(alias, [row()])
    found = store.records.get(alias, {"name": "news"})
    assert found == row()
    assert {name: type(value) for name, value in found.items()} == {
        "name": str,
        "target": str,
        "version": int,
        "share": float,
        "open": bool,
    }


def test_columns_that_were_not_written_are_null(store, alias):
    store.records.put(alias, [{"name": "news", "version": 3}])
    found = store.records.get(alias, {"name": "news"})
    assert found == {"name": "news", "target": None, "version": 3, "share": None, "open": None}


def test_a_row_that_is_not_there_is_none(store, alias):
    assert store.records.get(alias, {"name": "absent"}) is None


def test_ensuring_twice_keeps_the_rows(store, alias):
    store.records.put(alias, [row()])
    store.records.ensure([alias])
    assert store.records.get(alias, {"name": "news"}) == row()


def test_putting_writes_over_what_was_there(store, alias):
    store.records.put(alias, [row(), row(name="other")])
    store.records.put(alias, [{"name": "news", "target": "v2"}])
    assert store.records.get(alias, {"name": "news"}) == row(target="v2")
    assert store.records.get(alias, {"name": "other"}) == row(name="other")


def test_rows_of_a_partition_come_in_clustering_order(store, ranges):
    starts = [5, -3, 2**62, 0, -(2**62)]
    store.records.put(ranges, [{"migration": "m", "bucket": 1, "start": s, "state": f"{s}"} for s in starts])
    store.records.put(ranges, [{"migration": "m", "bucket": 2, "start": 0, "state": "other"}])
    found = list(store.records.select(ranges, {"migration": "m", "bucket": 1}))
    assert [each["start"] for each in found] == sorted(starts)
    assert all(each["state"] == f"{each['start']}" for each in found)


def test_a_partition_of_many_rows_is_selected_whole(store, ranges):
    store.records.put(ranges, [{"migration": "m", "bucket": 1, "start": at} for at in range(2500)])
    found = [each["start"] for each in store.records.select(ranges, {"migration": "m", "bucket": 1})]
    assert found == list(range(2500))


def test_the_whole_table_is_selected_without_a_partition(store, ranges):
    keys = [(m, b, s) for m in "xy" for b in range(2) for s in range(3)]
    store.records.put(ranges, [{"migration": m, "bucket": b, "start": s} for m, b, s in keys])
    found = [(each["migration"], each["bucket"], each["start"]) for each in store.records.select(ranges, {})]
    assert sorted(found) == keys


def test_an_empty_partition_yields_nothing(store, ranges):
    assert list(store.records.select(ranges, {"migration": "none", "bucket": 0})) == []


def test_an_insert_happens_once(store, alias):
    assert store.records.insert(alias, row())
    assert not store.records.insert(alias, row(target="v2"))
    assert store.records.get(alias, {"name": "news"}) == row()


def test_an_update_happens_where_all_that_is_expected_holds(store, alias):
    store.records.insert(alias, row())
    assert store.records.update_if(
        alias, {"name": "news"}, {"target": "v2", "version": 2}, {"version": 1, "open": True}
    )
    assert store.records.get(alias, {"name": "news"}) == row(target="v2", version=2)


@pytest.mark.parametrize("expected", [{"version": 2}, {"version": 1, "target": "v9"}, {"version": None}])
def test_an_update_does_not_happen_where_anything_differs(store, alias, expected):
    store.records.insert(alias, row())
    assert not store.records.update_if(alias, {"name": "news"}, {"target": "v2"}, expected)
    assert store.records.get(alias, {"name": "news"}) == row()


def test_an_update_can_expect_null(store, alias):
    store.records.put(alias, [{"name": "news", "version": 1}])
    assert store.records.update_if(alias, {"name": "news"}, {"target": "v1"}, {"target": None})
    assert not store.records.update_if(alias, {"name": "news"}, {"target": "v2"}, {"target": None})
    assert store.records.get(alias, {"name": "news"})["target"] == "v1"


def test_an_update_can_set_null(store, alias):
    store.records.insert(alias, row())
    assert store.records.update_if(alias, {"name": "news"}, {"target": None}, {"version": 1})
    assert store.records.get(alias, {"name": "news"}) == row(target=None)


def test_a_row_that_is_not_there_is_not_updated(store, alias):
    assert not store.records.update_if(alias, {"name": "absent"}, {"target": "v2"}, {"version": 1})
    assert not store.records.update_if(alias, {"name": "absent"}, {"target": "v2"}, {"target": None})
    assert store.records.get(alias, {"name": "absent"}) is None


def test_one_row_or_a_whole_partition_is_deleted(store, ranges):
    store.records.put(ranges, [{"migration": "m", "bucket": b, "start": s} for b in range(2) for s in range(3)])
    store.records.delete(ranges, {"migration": "m", "bucket": 0, "start": 1})
    assert [each["start"] for each in store.records.select(ranges, {"migration": "m", "bucket": 0})] == [0, 2]
    store.records.delete(ranges, {"migration": "m", "bucket": 0})
    assert list(store.records.select(ranges, {"migration": "m", "bucket": 0})) == []
    assert len(list(store.records.select(ranges, {"migration": "m", "bucket": 1}))) == 3


def test_many_rows_are_deleted_at_once_and_none_where_none_is_named(store, ranges):
    store.records.put(ranges, [{"migration": "m", "bucket": 3, "start": s} for s in range(300)])
    store.records.delete(ranges, *({"migration": "m", "bucket": 3, "start": s} for s in range(0, 300, 2)))
    store.records.delete(ranges)
    left = [each["start"] for each in store.records.select(ranges, {"migration": "m", "bucket": 3})]
    assert left == list(range(1, 300, 2))


def test_a_deleted_row_can_be_inserted_again(store, alias):
    store.records.insert(alias, row())
    store.records.delete(alias, {"name": "news"})
    assert store.records.get(alias, {"name": "news"}) is None
    assert store.records.insert(alias, row(version=7))
    assert store.records.get(alias, {"name": "news"}) == row(version=7)


def _race(contenders: int, attempt: Callable[[int], bool]) -> list[bool]:
    """Runs the attempts at once and returns what each came to."""
    start = threading.Barrier(contenders)
    outcomes = [False] * contenders

    def run(number: int) -> None:
        start.wait(30)
        outcomes[number] = attempt(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_of_many_that_move_one_alias_exactly_one_wins(store, alias):
    """Invariant 5: one switch."""
    store.records.insert(alias, row())
    for version in range(1, 6):

        def move(number: int, version: int = version) -> bool:
            changes = {"target": f"v{number}", "version": version + 1}
            return store.records.update_if(alias, {"name": "news"}, changes, {"version": version})

        outcomes = _race(4, move)
        assert outcomes.count(True) == 1
        assert store.records.get(alias, {"name": "news"})["target"] == f"v{outcomes.index(True)}"


def test_of_many_that_insert_one_row_exactly_one_wins(store, alias):
    outcomes = _race(4, lambda number: store.records.insert(alias, row(target=f"v{number}")))
    assert outcomes.count(True) == 1
    assert store.records.get(alias, {"name": "news"})["target"] == f"v{outcomes.index(True)}"


def test_a_row_is_deleted_only_if_it_is_as_expected(store, alias):
    store.records.insert(alias, row())
    assert store.records.delete_if(alias, {"name": "news"}, {"version": 2}) is False
    assert store.records.get(alias, {"name": "news"}) == row()
    assert store.records.delete_if(alias, {"name": "news"}, {"version": 1, "target": "v1"}) is True
    assert store.records.get(alias, {"name": "news"}) is None
    assert store.records.delete_if(alias, {"name": "news"}, {}) is False
    assert store.records.insert(alias, row()) is True


def test_a_clock_that_is_ahead_when_it_deletes_hides_nothing_that_comes_after_it(store, alias, monkeypatch):
    store.records.insert(alias, row())
    ahead = time.time() + 3600
    with monkeypatch.context() as skewed:
        skewed.setattr(time, "time", lambda: ahead)
        skewed.setattr(time, "time_ns", lambda: int(ahead * 1e9))
        assert store.records.delete_if(alias, {"name": "news"}, {}) is True
    assert store.records.insert(alias, row(version=7)) is True
    assert store.records.get(alias, {"name": "news"}) == row(version=7)
    assert store.records.update_if(alias, {"name": "news"}, {"version": 8}, {"version": 7}) is True
