"""Scans: every live row of a range exactly once, in token order, in bounded batches."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedshift.stores.model import TOKEN, Column
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, WHOLE_RING, TokenRange, murmur3

IDS = [f"article-{at}" for at in range(60)]
TOKENS = {id_: int(token) for id_, token in zip(IDS, murmur3([id_.encode() for id_ in IDS]), strict=True)}
cuts = st.lists(
    st.one_of(st.integers(MIN_TOKEN + 1, MAX_TOKEN - 1), st.sampled_from(sorted(TOKENS.values()))),
    max_size=6,
    unique=True,
)


@pytest.fixture
def filled(shelf):
    shelf.write(*({"id": id_, "title": (f"title of {id_}", 10)} for id_ in IDS))
    return shelf


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=cuts, batch_rows=st.integers(1, 70))
def test_every_row_is_seen_exactly_once_however_the_ring_is_cut(filled, cuts, batch_rows):
    edges = [MIN_TOKEN, *sorted(cuts), MAX_TOKEN]
    seen = []
    for start, end in itertools.pairwise(edges):
        within = TokenRange(start, end)
        rows = filled.scan(within, values=["title"], batch_rows=batch_rows)
        assert all(row[TOKEN] in within for row in rows)
        seen += rows
    assert sorted(row["id"] for row in seen) == sorted(IDS)
    assert all(row["title"] == f"title of {row['id']}" for row in seen)


def test_rows_come_in_token_order_with_their_tokens(filled):
    rows = filled.scan(batch_rows=7)
    assert [row["id"] for row in rows] == sorted(IDS, key=TOKENS.__getitem__)
    assert [row[TOKEN] for row in rows] == sorted(TOKENS.values())


def test_a_batch_is_never_greater_than_asked_for(store, filled):
    batches = list(store.scan(filled.table, WHOLE_RING, batch_rows=7))
    assert all(0 < batch.num_rows <= 7 for batch in batches)
    assert sum(batch.num_rows for batch in batches) == len(IDS)


def test_the_end_of_a_range_belongs_to_it_and_its_start_does_not(filled):
    first, second = sorted(TOKENS, key=TOKENS.__getitem__)[:2]
    within = TokenRange(TOKENS[first], TOKENS[second])
    assert [row["id"] for row in filled.scan(within)] == [second]


def test_a_range_without_rows_yields_no_batch(store, filled):
    least = min(TOKENS.values())
    assert list(store.scan(filled.table, TokenRange(MIN_TOKEN, least - 1))) == []


def test_an_empty_table_yields_no_batch(store, shelf):
    assert list(store.scan(shelf.table, WHOLE_RING)) == []


def test_a_partition_that_is_wider_than_a_batch_is_seen_whole(new_shelf):
    shelf = new_shelf(Column("a", "text", "partition"), Column("b", "int", "clustering"), Column("title", "text"))
    shelf.write(*({"a": a, "b": b, "title": ("x", 10)} for a in "pq" for b in range(25)))
    rows = shelf.scan(batch_rows=4)
    assert sorted((row["a"], row["b"]) for row in rows) == [(a, b) for a in "pq" for b in range(25)]


def test_a_scan_holds_what_was_asked_for_and_no_more(store, filled):
    (batch,) = store.scan(filled.table, WHOLE_RING, values=["title"], times=["views", "title"])
    assert batch.schema.names[:2] == [TOKEN, "id"]
    types = dict(zip(batch.schema.names, batch.schema.types, strict=True))
    assert types == {
        TOKEN: pa.int64(),
        "id": pa.string(),
        "title": pa.string(),
        "writetime(views)": pa.int64(),
        "ttl(views)": pa.int32(),
        "writetime(title)": pa.int64(),
        "ttl(title)": pa.int32(),
    }


def test_every_batch_of_a_scan_has_one_schema(store, new_shelf):
    shelf = new_shelf(Column("id", "text", "partition"), Column("a", "text"), Column("v", "vector<float, 2>"))
    shelf.write({"id": "1", "a": ("x", 1)}, {"id": "2", "v": ([1.0, 2.0], 1)}, {"id": "3", "a": ("y", 1)})
    batches = list(store.scan(shelf.table, WHOLE_RING, values=["a", "v"], times=["a", "v"], batch_rows=1))
    assert len(batches) == 3
    assert {str(batch.schema) for batch in batches} == {str(batches[0].schema)}


def test_keys_alone_can_be_scanned(filled):
    assert {tuple(row) for row in filled.scan()} == {(TOKEN, "id")}


def test_a_row_that_was_deleted_is_not_seen(filled):
    filled.delete(20, {"id": IDS[3]})
    assert {row["id"] for row in filled.scan()} == {*IDS} - {IDS[3]}


def test_a_scan_can_be_left_before_its_end(store, filled):
    batches = store.scan(filled.table, WHOLE_RING, batch_rows=5)
    assert next(batches).num_rows == 5
    batches.close()
    filled.write({"id": "later", "title": ("x", 10)})
    assert len(filled.scan()) == len(IDS) + 1


def test_rows_written_during_a_scan_do_not_disturb_it(store, filled):
    seen = []
    for batch in store.scan(filled.table, WHOLE_RING, values=["title"], batch_rows=10):
        filled.write(*({"id": id_, "title": ("new", 20)} for id_ in batch.column("id").to_pylist()))
        seen += batch.column("id").to_pylist()
    assert sorted(seen) == sorted(IDS)


def test_a_batch_of_large_rows_is_bounded_by_bytes(store, new_shelf):
    shelf = new_shelf(Column("id", "text", "partition"), Column("title", "text"))
    texts = [chr(97 + at % 26) * 400_000 for at in range(60)]
    for at, text in enumerate(texts):
        shelf.write({"id": f"{at}", "title": (text, 10)})
    for at in range(400):
        shelf.write({"id": f"small{at}", "title": ("x", 10)})
    sizes = [batch.nbytes for batch in store.scan(shelf.table, WHOLE_RING, values=["title"], batch_rows=10_000)]
    # The first batch is asked for before anything is known of the rows.
    assert max(sizes[2:]) < 24_000_000
