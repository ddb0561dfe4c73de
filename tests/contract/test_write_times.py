"""Which write wins: the rules of Cassandra, held by every store. Times are in microseconds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedshift.stores.model import Column


def test_a_cell_keeps_its_own_write_time(shelf):
    shelf.write({"id": "a", "title": ("t", 10), "views": (1, 20)})
    row = shelf.row(id="a")
    assert (row["writetime(title)"], row["writetime(views)"]) == (10, 20)
    assert (row["ttl(title)"], row["ttl(views)"]) == (None, None)


def test_the_later_write_of_a_cell_wins_in_whatever_order_they_arrive(shelf):
    """Invariant 3: the application wins."""
    shelf.write({"id": "a", "title": ("late", 20)}, {"id": "b", "title": ("early", 10)})
    shelf.write({"id": "a", "title": ("early", 10)}, {"id": "b", "title": ("late", 20)})
    assert [shelf.row(id=id_)["writetime(title)"] for id_ in "ab"] == [20, 20]
    assert [shelf.title(id=id_) for id_ in "ab"] == ["late", "late"]


def test_each_cell_of_a_row_is_decided_alone(shelf):
    shelf.write({"id": "a", "title": ("old", 10), "views": (1, 30)})
    shelf.write({"id": "a", "title": ("new", 20), "views": (2, 20)})
    row = shelf.row(id="a")
    assert (row["title"], row["views"]) == ("new", 1)


def test_a_column_that_is_not_written_stays_as_it_is(shelf):
    shelf.write({"id": "a", "title": ("kept", 10), "views": (1, 10)})
    shelf.write({"id": "a", "views": (2, 20)})
    assert shelf.title(id="a") == "kept"


def test_a_null_without_a_write_time_stays_unset(shelf):
    """Invariant 1: copying makes no tombstones."""
    shelf.write({"id": "a", "title": ("kept", 10)})
    shelf.write({"id": "a", "views": (2, 20)}, {"id": "b", "title": ("x", 20)})
    row = shelf.row(id="a")
    assert (row["title"], row["writetime(title)"]) == ("kept", 10)
    assert shelf.row(id="b")["writetime(views)"] is None


def test_writing_the_same_again_changes_nothing(shelf):
    """Invariant 4: whatever was killed can be done again."""
    row = {"id": "a", "title": ("t", 10), "embedding": ([1.0, 2.0, 3.0, 4.0], 12)}
    shelf.write(row)
    before = shelf.row(id="a")
    shelf.write(row)
    assert shelf.row(id="a") == before


def test_the_later_of_two_rows_in_one_batch_wins(shelf):
    shelf.write({"id": "a", "title": ("late", 20)}, {"id": "a", "title": ("early", 10)})
    assert shelf.title(id="a") == "late"


def test_a_deleted_cell_is_null_without_a_write_time(shelf):
    shelf.write({"id": "a", "title": ("t", 10), "views": (1, 10)})
    shelf.write({"id": "a", "title": (None, 20)})
    row = shelf.row(id="a")
    assert (row["title"], row["writetime(title)"], row["views"]) == (None, None, 1)


def test_a_deleted_cell_hides_what_was_written_before(shelf):
    shelf.write({"id": "a", "title": (None, 20), "views": (1, 20)})
    shelf.write({"id": "a", "title": ("early", 15)})
    assert shelf.title(id="a") is None
    shelf.write({"id": "a", "title": ("late", 25)})
    assert shelf.title(id="a") == "late"


def test_an_early_deletion_of_a_cell_changes_nothing(shelf):
    shelf.write({"id": "a", "title": ("t", 20)})
    shelf.write({"id": "a", "title": (None, 10)})
    assert shelf.title(id="a") == "t"


@pytest.mark.parametrize("order", [0, 1])
def test_at_equal_times_the_deletion_of_a_cell_wins(shelf, order):
    writes = [{"id": "a", "title": ("t", 10), "views": (1, 10)}, {"id": "a", "title": (None, 10), "views": (1, 10)}]
    shelf.write(writes[order])
    shelf.write(writes[1 - order])
    assert shelf.title(id="a") is None


TIES = {
    "text": ("abc", "abd"),
    "text longer": ("ab", "abc"),
    "text beyond ASCII": ("z", "ä"),
    "int": (1, 2),
    "int below zero": (5, -5),
    "ints below zero": (-5, -4),
    "bigint": (2**40, -(2**40)),
    "boolean": (False, True),
    "double": (1.0, 2.0),
    "double below zero": (1.0, -1.0),
    "doubles below zero": (-1.0, -2.0),
    "blob": (b"\x7f", b"\x80"),
    "vector<float, 2>": ([1.0, 2.0], [2.0, 1.0]),
    "vector<float, 2> below zero": ([1.0, 2.0], [-1.0, 2.0]),
}


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("case", list(TIES))
def test_at_equal_times_the_value_of_greater_bytes_wins(new_shelf, case, order):
    type_ = case.split(" b", maxsplit=1)[0].removesuffix(" longer").removesuffix("s")
    shelf = new_shelf(Column("id", "text", "partition"), Column("value", type_))
    pair = TIES[case]
    for value in (pair[order], pair[1 - order]):
        shelf.write({"id": "a", "value": (value, 10)})
    assert shelf.row(id="a")["value"] == pair[1]


def test_a_row_without_cells_is_a_row(shelf):
    shelf.write({"id": "a"})
    row = shelf.row(id="a")
    assert row is not None
    assert row["title"] is None


def test_a_deleted_row_is_gone_and_hides_what_was_written_before(shelf):
    """Invariant 2: nothing resurrected."""
    shelf.write({"id": "a", "title": ("t", 10)})
    shelf.delete(20, {"id": "a"})
    assert shelf.row(id="a") is None
    shelf.write({"id": "a", "title": ("early", 15), "views": (1, 5)})
    assert shelf.row(id="a") is None
    assert shelf.scan() == []


def test_a_deletion_that_arrives_before_the_row_hides_it(shelf):
    shelf.delete(20, {"id": "a"})
    shelf.write({"id": "a", "title": ("early", 15)})
    assert shelf.row(id="a") is None


def test_at_equal_times_the_deletion_of_a_row_wins(shelf):
    """Invariant 2: a late task that writes a row again after the orphan test deleted it changes nothing."""
    shelf.write({"id": "a", "title": ("t", 10)}, {"id": "b", "title": ("t", 10)})
    shelf.delete(10, {"id": "a"})
    shelf.write({"id": "a", "title": ("t", 10)})
    assert shelf.row(id="a") is None
    assert shelf.title(id="b") == "t"


def test_a_row_inserted_after_its_deletion_wins(shelf):
    shelf.write({"id": "a", "title": ("old", 10), "views": (1, 10)})
    shelf.delete(20, {"id": "a"})
    shelf.write({"id": "a", "title": ("new", 30)})
    row = shelf.row(id="a")
    assert (row["title"], row["views"]) == ("new", None)


def test_deleting_a_row_leaves_newer_cells(shelf):
    shelf.write({"id": "a", "title": ("old", 10), "views": (1, 30)})
    shelf.delete(20, {"id": "a"})
    row = shelf.row(id="a")
    assert (row["title"], row["views"]) == (None, 1)


def test_an_earlier_deletion_of_a_row_changes_nothing_after_a_later_one(shelf):
    shelf.delete(30, {"id": "a"})
    shelf.delete(20, {"id": "a"})
    shelf.write({"id": "a", "title": ("between", 25)})
    assert shelf.row(id="a") is None


def test_each_row_is_deleted_at_its_own_time(store, shelf):
    shelf.write(*({"id": id_, "title": ("t", 10)} for id_ in "abc"))
    keys = shelf.keys([{"id": "a"}, {"id": "b"}, {"id": "never"}])
    store.delete(shelf.table, keys, np.array([9, 10, 10], np.int64))
    assert sorted(row["id"] for row in shelf.scan()) == ["a", "c"]


def test_deleting_nothing_is_no_error(store, shelf):
    store.delete(shelf.table, shelf.keys([]), np.array([], np.int64))


def test_writing_nothing_is_no_error(shelf):
    assert shelf.write() == []


operations = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(["x", "y", "z", None]), st.integers(1, 4)),
    st.tuples(st.just("delete"), st.none(), st.integers(1, 4)),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(operations, min_size=1, max_size=5), data=st.data())
def test_any_order_of_the_same_writes_ends_in_the_same_row(shelf, history, data):
    """Nothing but what was written when decides, so retries and races cannot."""
    shuffled = data.draw(st.permutations(history))
    number = next(_numbers)
    for name, writes in (("one", history), ("other", shuffled)):
        for kind, value, time in writes:
            if kind == "delete":
                shelf.delete(time, {"id": f"{name}{number}"})
            else:
                shelf.write({"id": f"{name}{number}", "title": (value, time), "views": (7, time)})
    one, other = shelf.row(id=f"one{number}"), shelf.row(id=f"other{number}")
    assert {**(one or {}), "id": None} == {**(other or {}), "id": None}
    deleted = max((time for kind, _, time in history if kind == "delete"), default=0)
    written = [
        (time, value is None, value or "") for kind, value, time in history if kind == "write" and time > deleted
    ]
    expected = max(written)[2] or None if written else None
    assert (one is None) == (not written)
    assert one is None or one["title"] == expected


_numbers = itertools.count()
