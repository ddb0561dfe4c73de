"""The product's own store on the server: it connects, writes, reads, indexes, searches, and keeps its catalog."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores.cql.store import CqlStore
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Index, Table, write_time
from embedshift.stores.records import declared
from embedshift.tokens import WHOLE_RING
from tests.scylla.shelves import new_name

pytestmark = pytest.mark.long


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[CqlStore]:
    with closing(CqlStore.open(settings)) as opened:
        opened.create_keyspaces()
        yield opened


@pytest.fixture
def table(store: CqlStore) -> Iterator[Table]:
    name = new_name()
    columns = (Column("id", "text", "partition"), Column("title", "text"), Column("v", vector_type(3)))
    store.create(Table(name, columns))
    yield store.describe(name)
    store.drop(name)


def rows(names: list[str], vectors: list[list[float]]) -> pa.RecordBatch:
    at = pa.array([time.time_ns() // 1000] * len(names), pa.int64())
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(names),
            "title": pa.array(names),
            write_time("title"): at,
            "v": pa.array(vectors, pa.list_(pa.float32(), 3)),
            write_time("v"): at,
        }
    )


def test_the_store_opens(store: CqlStore):
    assert store.label.startswith("ScyllaDB 20")


def test_rows_are_written_and_scanned(store: CqlStore, table: Table):
    written = rows(["a", "b"], [[1, 0, 0], [0, 1, 0]])
    assert store.write(table, written) == []
    found = [row for batch in store.scan(table, WHOLE_RING, values=["v"], times=["v"]) for row in batch.to_pylist()]
    assert sorted((row["id"], row["v"]) for row in found) == [("a", [1, 0, 0]), ("b", [0, 1, 0])]
    assert {row[write_time("v")] for row in found} == set(written[write_time("v")].to_pylist())
    assert sum(piece.range.end - piece.range.start for piece in store.ring(table.name)) == 2**64 - 1
    assert store.estimate(table.name).rows == 2


def test_an_index_is_built_searched_and_dropped(store: CqlStore, table: Table, eventually: Callable[..., Any]):
    store.write(table, rows(["a", "b"], [[1, 0, 0], [0, 1, 0]]))
    index = Index(f"{table.name}_idx", table.name, "v", 3, IndexSettings())
    store.check_index(index)
    store.create_index(index)
    store.create_index(index)
    eventually(lambda: store.index_state(index).status == "serving")
    assert store.index_state(index).rows == 2
    found = store.index_on(table.name, "v")
    assert found is not None
    assert found.name == index.name
    query = np.array([0.9, 0.1, 0], np.float32)
    hits = eventually(lambda: store.search(table, index, query, 2, values=["title"]))
    assert [hit.values["id"] for hit in hits] == ["a", "b"]
    store.write(table, rows(["c"], [[0, 0, 1]]))
    near = np.array([0, 0, 1], np.float32)
    eventually(lambda: [hit.values["id"] for hit in store.search(table, index, near, 1)] == ["c"])
    assert store.keeps_changes(table)
    now = time.time_ns() // 1000
    changes = [key for batch in store.changes(table, WHOLE_RING, 0, now) for key in batch.to_pylist()]
    assert changes == [{"id": "c"}]
    store.drop_index(index)
    assert store.index_state(index).status == "absent"


def test_the_catalog_s_records(store: CqlStore):
    kind = declared(new_name(), "alias text, version bigint", partition="alias")
    store.records.ensure([kind])
    assert store.records.insert(kind, {"alias": "a", "version": 1})
    assert not store.records.insert(kind, {"alias": "a", "version": 2})
    assert store.records.update_if(kind, {"alias": "a"}, {"version": 3}, {"version": 1})
    assert not store.records.update_if(kind, {"alias": "a"}, {"version": 4}, {"version": 1})
    assert store.records.get(kind, {"alias": "a"}) == {"alias": "a", "version": 3}
    assert store.records.delete_if(kind, {"alias": "a"}, {"version": 3})
