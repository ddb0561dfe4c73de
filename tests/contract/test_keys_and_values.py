"""Every type of key and of value arrives as it was sent."""

from __future__ import annotations

import math
import struct
import uuid

import numpy as np
import pyarrow as pa
import pytest

from embedshift.stores.cql_types import key_bytes, partition_key
from embedshift.stores.model import Column
from embedshift.tokens import WHOLE_RING, murmur3

KEYS = {
    "text": ["a", "Ω", "x" * 40, "with 'quotes' and \"more\"", "\x00"],
    "ascii": ["a", "b"],
    "int": [0, 1, -1, 2**31 - 1, -(2**31)],
    "bigint": [0, 1, -1, 2**63 - 1, -(2**63)],
    "smallint": [0, -1, 2**15 - 1],
    "tinyint": [0, -1, 127],
    "boolean": [True, False],
    "timestamp": [0, -1, 1_700_000_000_123],
    "uuid": [uuid.uuid4().bytes for _ in range(3)],
    "timeuuid": [uuid.uuid1().bytes for _ in range(3)],
    "blob": [b"\x00", b"\xff\x80", b"b" * 100],
}
VALUES = {
    **KEYS,
    "text": [*KEYS["text"], "", "a\nb", "🜁"],
    "varchar": ["v"],
    "blob": [*KEYS["blob"], b""],
    "float": [0.0, -0.0, 1.5, math.inf, -math.inf, struct.unpack("f", struct.pack("f", 0.1))[0]],
    "double": [0.0, -0.0, 0.1, 1e300, math.inf, -math.inf],
    "vector<float, 3>": [[1.0, 2.0, 3.0], [-0.0, 2.0**100, -1.5]],
    "decimal": [b"\x00\x00\x00\x02\x01\x00"],
    "set<text>": [b"\x00\x00\x00\x01\x00\x00\x00\x01a"],
}


@pytest.mark.parametrize("type_", list(KEYS))
def test_a_partition_key_of_any_type_is_found_by_its_token(new_shelf, type_):
    shelf = new_shelf(Column("id", type_, "partition"), Column("title", "text"))
    keys = KEYS[type_]
    shelf.write(*({"id": key, "title": (f"of {at}", 10)} for at, key in enumerate(keys)))
    rows = shelf.scan(values=["title"])
    assert sorted(row["title"] for row in rows) == sorted(f"of {at}" for at in range(len(keys)))
    assert {row["id"] for row in rows} == set(keys)
    assert [row["token()"] for row in rows] == murmur3([key_bytes(type_, row["id"]) for row in rows]).tolist()


def test_a_composite_partition_key_has_one_token_for_all_its_rows(new_shelf):
    shelf = new_shelf(
        Column("section", "text", "partition"),
        Column("year", "int", "partition"),
        Column("day", "int", "clustering"),
        Column("title", "text"),
    )
    keys = [(s, y, d) for s in ("news", "") for y in (2024, -1) for d in (3, 1, 2)]
    shelf.write(*({"section": s, "year": y, "day": d, "title": (f"{s}{y}{d}", 10)} for s, y, d in keys))
    rows = shelf.scan(values=["title"], batch_rows=5)
    assert sorted((row["section"], row["year"], row["day"]) for row in rows) == sorted(keys)
    for row in rows:
        parts = [key_bytes("text", row["section"]), key_bytes("int", row["year"])]
        assert row["token()"] == murmur3([partition_key(parts)])[0]
        assert row["title"] == f"{row['section']}{row['year']}{row['day']}"


def test_one_key_of_a_partition_is_fetched_deleted_and_written_alone(new_shelf):
    shelf = new_shelf(Column("a", "text", "partition"), Column("b", "bigint", "clustering"), Column("title", "text"))
    shelf.write(*({"a": "p", "b": b, "title": (f"{b}", 10)} for b in range(3)))
    shelf.delete(20, {"a": "p", "b": 1})
    shelf.write({"a": "p", "b": 2, "title": ("new", 30)})
    assert shelf.row(a="p", b=1) is None
    assert [shelf.title(a="p", b=b) for b in (0, 2)] == ["0", "new"]


@pytest.mark.parametrize("type_", list(VALUES))
def test_a_value_of_any_type_comes_back_bit_for_bit(new_shelf, type_):
    shelf = new_shelf(Column("id", "int", "partition"), Column("value", type_))
    values = VALUES[type_]
    shelf.write(*({"id": at, "value": (value, 10)} for at, value in enumerate(values)))
    found = {row["id"]: row["value"] for row in shelf.scan(values=["value"])}
    assert repr([found[at] for at in range(len(values))]) == repr(values)


def test_not_a_number_survives(new_shelf):
    shelf = new_shelf(Column("id", "int", "partition"), Column("a", "double"), Column("b", "float"))
    shelf.write({"id": 1, "a": (math.nan, 10), "b": (math.nan, 10)})
    row = shelf.row(id=1)
    assert math.isnan(row["a"])
    assert math.isnan(row["b"])


def test_vectors_travel_as_fixed_size_lists_of_float32(store, shelf):
    vectors = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    shelf.write(*({"id": f"{at:02}", "embedding": (row.tolist(), 10)} for at, row in enumerate(vectors)))
    shelf.write({"id": "none", "title": ("without", 10)})
    (batch,) = store.scan(shelf.table, WHOLE_RING, values=["embedding"])
    array = batch.column("embedding")
    assert array.type == pa.list_(pa.float32(), 4)
    found = dict(zip(batch.column("id").to_pylist(), array.to_pylist(), strict=True))
    assert found.pop("none") is None
    assert np.array_equal(np.array([found[key] for key in sorted(found)], np.float32), vectors)


def test_names_that_are_words_of_a_query_language_are_names(new_shelf):
    shelf = new_shelf(
        Column("token", "text", "partition"), Column("select", "text", "clustering"), Column("where", "text")
    )
    shelf.write({"token": "a", "select": "b", "where": ("c", 10)})
    assert shelf.row(token="a", select="b")["where"] == "c"


@pytest.mark.parametrize("type_", ["text", "blob"])
def test_an_empty_partition_key_is_refused_for_its_row_alone(new_shelf, type_):
    shelf = new_shelf(Column("id", type_, "partition"), Column("title", "text"))
    good, empty = ("a", "") if type_ == "text" else (b"a", b"")
    (rejection,) = shelf.write({"id": empty, "title": ("bad", 10)}, {"id": good, "title": ("good", 10)})
    assert rejection.row == 0
    assert [row["title"] for row in shelf.scan(values=["title"])] == ["good"]


def test_a_null_in_the_key_is_refused_for_its_row_alone(shelf):
    (rejection,) = shelf.write({"id": "a", "title": ("good", 10)}, {"id": None, "title": ("bad", 10)})
    assert rejection.row == 1
    assert "id" in rejection.reason
    assert shelf.title(id="a") == "good"


def test_a_vector_of_another_length_is_refused_for_its_row_alone(store, shelf):
    batch = pa.RecordBatch.from_pydict(
        {
            "id": ["a", "b"],
            "embedding": pa.array([[1.0, 2.0], [1.0, 2.0, 3.0, 4.0]], pa.list_(pa.float32())),
            "writetime(embedding)": pa.array([10, 10], pa.int64()),
        }
    )
    (rejection,) = store.write(shelf.table, batch)
    assert rejection.row == 0
    assert shelf.row(id="a") is None
    assert shelf.row(id="b")["embedding"] == [1.0, 2.0, 3.0, 4.0]
