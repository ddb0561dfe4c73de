"""Fetch: rows by their keys."""

from __future__ import annotations

import pytest

from embedshift.errors import SchemaError
from embedshift.stores.model import Column
from embedshift.tokens import WHOLE_RING


def test_the_rows_of_given_keys_are_fetched_and_absent_ones_left_out(store, shelf):
    shelf.write(*({"id": f"{at}", "title": (f"title {at}", at + 1)} for at in range(50)))
    keys = shelf.keys([{"id": id_} for id_ in ("3", "absent", "41")])
    rows = store.fetch(shelf.table, keys, values=["title"], times=["title"]).to_pylist()
    found = {row["id"]: (row["title"], row["writetime(title)"]) for row in rows}
    assert found == {"3": ("title 3", 4), "41": ("title 41", 42)}


def test_a_fetch_has_the_schema_of_a_scan(store, shelf):
    shelf.write({"id": "a", "title": ("t", 1)})
    asked = {"values": ["title", "embedding"], "times": ["title"]}
    (scanned,) = store.scan(shelf.table, WHOLE_RING, **asked)
    for ids in (["a"], ["absent"], []):
        fetched = store.fetch(shelf.table, shelf.keys([{"id": id_} for id_ in ids]), **asked)
        assert fetched.schema == scanned.schema
        assert fetched.num_rows == len(set(ids) & {"a"})


def test_every_key_of_a_batch_is_fetched(store, shelf):
    ids = [f"{at}" for at in range(1500)]
    shelf.write(*({"id": id_, "views": (int(id_), 1)} for id_ in ids))
    rows = store.fetch(shelf.table, shelf.keys([{"id": id_} for id_ in ids]), values=["views"])
    assert sorted(rows.column("views").to_pylist()) == list(range(1500))


def test_keys_of_many_columns_are_fetched(store, new_shelf):
    shelf = new_shelf(
        Column("a", "text", "partition"),
        Column("b", "uuid", "clustering"),
        Column("c", "timestamp", "clustering"),
        Column("title", "text"),
    )
    keys = [{"a": a, "b": bytes([b]) * 16, "c": c} for a in "xy" for b in range(2) for c in (-1, 5)]
    shelf.write(*({**key, "title": (repr(key), 1)} for key in keys))
    rows = store.fetch(shelf.table, shelf.keys(keys[1:4]), values=["title"]).to_pylist()
    assert sorted(row["title"] for row in rows) == sorted(repr(key) for key in keys[1:4])


def test_a_deleted_row_is_not_fetched(shelf):
    shelf.write({"id": "a", "title": ("t", 1)})
    shelf.delete(2, {"id": "a"})
    assert shelf.row(id="a") is None


def test_fetching_a_column_that_is_not_there_names_it(store, shelf):
    with pytest.raises(SchemaError, match="nonsense"):
        store.fetch(shelf.table, shelf.keys([{"id": "a"}]), values=["nonsense"])
