"""How much of a range a task reads: whole partitions, no more than enough, and the rest is left as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from embedshift.spark.ranges import cut_rest, task_bounds
from embedshift.spark.scan_limit import ScanLimit
from embedshift.stores.model import TOKEN, Estimate
from embedshift.tokens import TokenRange, unite

RANGE = TokenRange(0, 100)
scans = st.lists(st.integers(1, 100), max_size=40).map(sorted)
sizes = st.lists(st.integers(1, 7), min_size=40, max_size=40)


def batches(tokens: list[int], lengths: list[int]) -> Iterator[pa.RecordBatch]:
    at = 0
    for length in lengths:
        if part := tokens[at : at + length]:
            yield pa.RecordBatch.from_pydict({TOKEN: pa.array(part, pa.int64())})
        at += length


def tokens_of(found: Iterator[pa.RecordBatch]) -> list[int]:
    return [token for batch in found for token in batch.column(TOKEN).to_pylist()]


@given(scans, sizes, st.integers(1, 50))
def test_a_scan_limit_ends_with_the_partition_in_which_it_is_enough(tokens, lengths, most):
    scan_limit = ScanLimit(RANGE, most)
    read = tokens_of(scan_limit.lead(batches(tokens, lengths)))
    assert read == [token for token in tokens if token in scan_limit.read]
    if scan_limit.rest is None:
        assert read == tokens
    else:
        assert unite([scan_limit.read, scan_limit.rest]) == [RANGE]
        # Enough, and not more than the partition under way: without it, it was not enough.
        assert len(read) - Counter(read)[read[-1]] < most <= len(read)


@given(scans, scans, sizes, sizes, st.integers(1, 50))
def test_the_target_is_read_no_further_than_the_source(source, target, lengths, others, most):
    scan_limit = ScanLimit(RANGE, most)
    tokens_of(scan_limit.lead(batches(source, lengths)))
    assert tokens_of(scan_limit.follow(batches(target, others))) == [
        token for token in target if token in scan_limit.read
    ]


@given(scans, sizes)
def test_a_scan_limit_without_bounds_is_the_whole_range(tokens, lengths):
    scan_limit = ScanLimit(RANGE)
    assert tokens_of(scan_limit.lead(batches(tokens, lengths))) == tokens
    assert scan_limit.rest is None


def test_long_texts_are_enough_before_many_rows_are():
    columns = {TOKEN: pa.array([1, 2], pa.int64()), "content": pa.array(["x" * 100] * 2)}
    scanned = [pa.RecordBatch.from_pydict(columns)]
    scanned.append(scanned[0].set_column(0, TOKEN, pa.array([2, 3], pa.int64())))
    scan_limit = ScanLimit(RANGE, 1000, 150)
    assert tokens_of(scan_limit.lead(iter(scanned))) == [1, 2, 2]
    assert scan_limit.rest == TokenRange(2, 100)


@given(st.integers(1, 99))
def test_a_rest_is_cut_into_parts_that_have_room(reached):
    read, rest = TokenRange(0, reached), TokenRange(reached, 100)
    parts = cut_rest(read, rest)
    assert unite(parts) == [rest]
    assert len(parts) <= 64
    assert len(parts) == 64 or max(part.width for part in parts) <= max(1, read.width)


def test_a_task_reads_half_as_much_again_as_ranges_hold():
    table = Estimate(1_000_000, 10**10)
    assert task_bounds(table, 100, "auto") == Estimate(15_000, 150_000_000)
    assert task_bounds(table, "auto", "auto") == Estimate(7_500, 75_000_000)
    assert task_bounds(table, 100, 20).rows == 20
    # A small table, or one of which the store knows nothing, is not cut to pieces.
    assert task_bounds(Estimate(0, 0), "auto", "auto") == Estimate(1_000, 16 * 1024 * 1024)
