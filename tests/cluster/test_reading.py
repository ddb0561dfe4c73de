"""Every row is read exactly once, however the ring is cut and the pages fall."""

from __future__ import annotations

import uuid
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from embedshift.stores.model import TOKEN, Column, Table, write_time
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, WHOLE_RING, TokenRange, murmur3, subtract

ROWS = 10_000


@pytest.fixture(scope="module")
def keys() -> list[bytes]:
    rng = np.random.default_rng(7)
    return [uuid.UUID(bytes=rng.bytes(16), version=4).bytes for _ in range(ROWS)]


@pytest.fixture(scope="module")
def table(store, keys) -> Table:
    name = f"t{uuid.uuid4().hex[:16]}"
    store.create(Table(name, (Column("id", "uuid", "partition"), Column("n", "int"))))
    described = store.describe(name)
    rows = {"id": pa.array(keys), "n": pa.array(np.arange(ROWS), pa.int32())}
    rows[write_time("n")] = pa.array(np.full(ROWS, 10), pa.int64())
    assert store.write(described, pa.RecordBatch.from_pydict(rows)) == []
    return described


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edges=st.sets(st.integers(MIN_TOKEN + 1, MAX_TOKEN - 1), max_size=60),
    on_keys=st.sets(st.integers(0, ROWS - 1), max_size=20),
    batch_rows=st.integers(1, 2000),
)
def test_every_row_is_read_exactly_once_whatever_the_ranges(store, table, keys, edges, on_keys, batch_rows):
    tokens = murmur3(keys)
    cuts = sorted({MIN_TOKEN, MAX_TOKEN, *edges, *tokens[list(on_keys)].tolist()})
    seen: list[bytes] = []
    # Small batches make many pages: few ranges, then.
    ranges = [TokenRange(start, end) for start, end in pairwise(cuts)]
    for each in ranges:
        last = each.start
        for batch in store.scan(table, each, batch_rows=max(batch_rows, 50)):
            assert 0 < batch.num_rows <= max(batch_rows, 50)
            here = batch.column(TOKEN).to_numpy()
            assert last <= here[0]
            assert (np.diff(here) >= 0).all()
            assert all(int(token) in each for token in (here[0], here[-1]))
            last = int(here[-1])
            seen += batch.column("id").to_pylist()
    assert len(seen) == ROWS
    assert set(seen) == set(keys)


def test_the_tokens_of_a_scan_are_those_of_the_keys(store, table):
    for batch in store.scan(table, WHOLE_RING):
        assert batch.column(TOKEN).to_pylist() == murmur3(batch.column("id").to_pylist()).tolist()


def test_the_ring_names_hosts_for_every_piece(store, table, cassandra):
    pieces = store.ring(table.name)
    assert len(pieces) == 17  # sixteen vnodes, one of them cut at the ring's edge
    assert subtract([WHOLE_RING], [piece.range for piece in pieces]) == []
    assert {piece.hosts for piece in pieces} == {tuple(cassandra.hosts)}


def test_a_fresh_table_is_estimated_by_looking_at_it(store, table):
    assert 0.8 * ROWS < store.estimate(table.name).rows < 1.2 * ROWS


@pytest.mark.parametrize("rows", [0, 1, 1400])
def test_a_small_table_is_estimated_well(store, new_name, keys, rows):
    table = Table(new_name(), (Column("id", "uuid", "partition"),))
    store.create(table)
    if rows:
        store.write(table, pa.RecordBatch.from_pydict({"id": pa.array(keys[:rows])}))
    assert 0.8 * rows <= store.estimate(table.name).rows <= 1.2 * rows
    store.drop(table.name)


def test_rows_of_wide_partitions_are_estimated_too(store, new_name):
    table = Table(new_name(), (Column("a", "int", "partition"), Column("b", "int", "clustering")))
    store.create(table)
    pairs = [(a, b) for a in range(20) for b in range(100)]
    columns = [pa.array(column, pa.int32()) for column in zip(*pairs, strict=True)]
    store.write(table, pa.RecordBatch.from_arrays(columns, names=["a", "b"]))
    assert 1000 < store.estimate(table.name).rows < 4000


def test_only_rows_that_are_there_are_fetched(store, table, keys):
    wanted = [*keys[:300], *(uuid.uuid4().bytes for _ in range(50))]
    found = store.fetch(table, pa.RecordBatch.from_pydict({"id": pa.array(wanted)}), values=["n"], times=["n"])
    assert set(found.column("id").to_pylist()) == set(keys[:300])
    assert sorted(found.column("n").to_pylist()) == list(range(300))
