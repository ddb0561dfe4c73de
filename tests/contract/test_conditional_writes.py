"""Writes at the store's present time, where a row is still as it was seen."""

from __future__ import annotations

import pyarrow as pa
import pytest

from embedshift.stores.cql_types import arrow_type, vector_type
from embedshift.stores.model import remaining_ttl
from tests.world import now_us

SECOND_US = 1_000_000


@pytest.fixture
def filled(shelf):
    at = now_us() - SECOND_US
    titles = (("a", "bread"), ("b", "stone"), ("c", "river"))
    assert shelf.write(*({"id": id_, "title": (title, at)} for id_, title in titles)) == []
    return shelf


def changes(*ids, vector=None, views=None, **more):
    columns = {
        "id": pa.array(ids, pa.string()),
        "embedding": pa.array([vector] * len(ids), arrow_type(vector_type(4))),
        "views": pa.array([views] * len(ids), pa.int32()),
    }
    return pa.RecordBatch.from_pydict({**columns, **more})


def seen(**titles):
    columns = {"id": pa.array(list(titles), pa.string()), "title": pa.array(list(titles.values()), pa.string())}
    return pa.RecordBatch.from_pydict(columns)


def test_only_rows_that_are_as_they_were_seen_are_written(filled):
    before = now_us()
    rows = changes("a", "b", "c", vector=[1, 0, 0, 0], views=7)
    done = filled.store.write_if(filled.table, rows, seen(a="bread", b="not this", c="river"))
    assert (done.applied.tolist(), done.rejected) == ([True, False, True], [])
    a, b = filled.row(id="a"), filled.row(id="b")
    assert (a["embedding"], a["views"], b["embedding"], b["views"]) == ([1, 0, 0, 0], 7, None, None)
    # At the present time, both cells alike; the others are as they were.
    assert before - SECOND_US < a["writetime(embedding)"] == a["writetime(views)"] < now_us() + SECOND_US
    assert a["writetime(title)"] < before


def test_no_row_is_made(filled):
    done = filled.store.write_if(filled.table, changes("nobody", views=1), seen(nobody="bread"))
    assert done.applied.tolist() == [False]
    assert {row["id"] for row in filled.scan()} == {"a", "b", "c"}


def test_a_row_of_which_only_such_cells_are_left_goes_with_them(filled):
    filled.store.write_if(filled.table, changes("a", views=1), seen(a="bread"))
    filled.delete(now_us() - SECOND_US // 2, {"id": "a"})
    assert filled.row(id="a")["views"] == 1
    filled.store.write_if(filled.table, changes("a"), pa.RecordBatch.from_pydict({"id": pa.array(["a"])}))
    assert filled.row(id="a") is None


def test_what_was_seen_as_absent_must_be_absent(filled):
    was = seen(a="bread", b="stone").append_column("views", pa.array([None, None], pa.int32()))
    assert filled.store.write_if(filled.table, changes("a", "b", views=1), was).applied.tolist() == [True, True]
    assert filled.store.write_if(filled.table, changes("a", "b", views=2), was).applied.tolist() == [False, False]
    assert filled.row(id="a")["views"] == 1


def test_a_null_deletes_the_cell(filled):
    filled.store.write_if(filled.table, changes("a", views=1), seen(a="bread"))
    assert filled.store.write_if(filled.table, changes("a"), seen(a="bread")).applied.tolist() == [True]
    row = filled.row(id="a")
    assert (row["views"], row["writetime(views)"], row["title"]) == (None, None, "bread")


def test_cells_may_expire(filled):
    ttl = {remaining_ttl(name): pa.array([3600], pa.int32()) for name in ("embedding", "views")}
    filled.store.write_if(filled.table, changes("a", views=1, vector=[1, 0, 0, 0], **ttl), seen(a="bread"))
    row = filled.row(id="a")
    assert row["ttl(title)"] is None
    assert 3500 < row["ttl(views)"] <= 3600
    assert 3500 < row["ttl(embedding)"] <= 3600


def test_of_no_rows_nothing_is_written(filled):
    done = filled.store.write_if(filled.table, changes(), seen())
    assert (done.applied.tolist(), done.rejected) == ([], [])


def test_a_table_whose_index_sees_every_write_has_no_floor(store, filled):
    if "ScyllaDB" in store.label:
        pytest.skip("there the index follows a log")
    assert store.write_floor(filled.table.name) is None
