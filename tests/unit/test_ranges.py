"""Ranges of a step: what is done stays done, whatever else was planned, failed or cut before. Defends invariant 4."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedshift.catalog.ranges import (
    Counts,
    RangeRecord,
    bucket_of,
    forget_step,
    open_ranges,
    progress,
    read_ranges,
    split_failed,
    write_ranges,
)
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.tables import BUCKETS
from embedshift.settings import StoreSettings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, WHOLE_RING, TokenRange, from_ring, subtract, unite

STEP = "load"
_names = (f"migration-{number}" for number in itertools.count())

edges = st.one_of(st.integers(MIN_TOKEN, MAX_TOKEN), st.integers(-6, 6), st.sampled_from([MIN_TOKEN, MAX_TOKEN]))
ranges = st.tuples(edges, edges).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: TokenRange(*sorted(pair)))
plans = st.lists(edges, max_size=8).map(from_ring)
counts = st.builds(Counts, read=st.integers(0, 9), written=st.integers(0, 9), dead=st.sampled_from([0, 0, 0, 2]))
records = st.lists(
    st.builds(
        RangeRecord,
        ranges,
        st.sampled_from(["planned", "done", "done", "failed"]),
        counts,
        st.integers(0, 3),
        st.just("me"),
        st.sampled_from(["", "it timed out"]),
    ),
    max_size=8,
    unique_by=lambda record: record.range.start,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("ranges") / "catalog.sqlite"
    with closing(open_store(StoreSettings(path=path))) as opened:
        ensure_catalog(opened)
        yield opened


def in_order(store: Store, migration: str) -> list[RangeRecord]:
    return sorted(read_ranges(store, migration, STEP), key=lambda each: each.range)


@settings(max_examples=150)
@given(records, plans)
@example([RangeRecord(WHOLE_RING, "done", Counts(3, 1, 0, 2))], [WHOLE_RING])
def test_a_plan_covers_the_ring_exactly_beside_what_is_done(store, before, plan):
    migration = next(_names)
    write_ranges(store, migration, STEP, before)
    planned = open_ranges(store, migration, STEP, plan)
    done = [each for each in before if each.state == "done" and not each.counts.dead]
    found = in_order(store, migration)
    assert found == sorted([*done, *planned], key=lambda each: each.range)
    assert unite(each.range for each in found) == [WHOLE_RING]
    # Each token of what is planned once, and none of what is done.
    assert sum(each.range.width for each in planned) == sum(
        part.width for part in subtract([WHOLE_RING], [each.range for each in done])
    )
    assert {each.state for each in planned} <= {"planned"}


@settings(max_examples=60)
@given(records, plans, plans, st.randoms(use_true_random=False))
def test_runs_that_end_anywhere_cover_the_ring_in_the_end(store, before, first, second, chance):
    """A run that was killed after some ranges, resumed under another plan, and so on until all is done."""
    migration = next(_names)
    write_ranges(store, migration, STEP, before)
    for plan in (first, second):
        for each in open_ranges(store, migration, STEP, plan):
            state = chance.choice(["done", "failed", "planned"])
            write_ranges(store, migration, STEP, [replace(each, state=state, attempts=each.attempts + 1)])
        split_failed(store, migration, STEP, [each for each in in_order(store, migration) if each.state == "failed"])
        assert unite(each.range for each in read_ranges(store, migration, STEP)) == [WHOLE_RING]
    for each in open_ranges(store, migration, STEP, first):
        write_ranges(store, migration, STEP, [replace(each, state="done")])
    assert progress(store, migration, STEP).complete
    assert open_ranges(store, migration, STEP, second) == []


@given(ranges, st.integers(0, 5))
def test_a_failed_range_is_halved_and_keeps_its_attempts(store, within, attempts):
    migration = next(_names)
    failed = RangeRecord(within, "failed", Counts(), attempts, "me", "it timed out")
    write_ranges(store, migration, STEP, [failed])
    split_failed(store, migration, STEP, [failed])
    halves = in_order(store, migration)
    assert len(halves) == min(2, within.width)
    assert unite(each.range for each in halves) == [within]
    assert {(each.state, each.attempts) for each in halves} == {("planned", attempts)}
    widths = [each.range.width for each in halves]
    assert max(widths) - min(widths) <= 1


def test_a_range_done_with_dead_letters_is_planned_again(store):
    migration = next(_names)
    left, right = WHOLE_RING.split(2)
    write_ranges(store, migration, STEP, [RangeRecord(left, "done", Counts(3, 2, 0, 1))])
    write_ranges(store, migration, STEP, [RangeRecord(right, "done", Counts(3, 3))])
    assert [each.range for each in open_ranges(store, migration, STEP, [WHOLE_RING])] == [left]


def test_progress_counts_the_rows_of_done_ranges_alone(store):
    migration = next(_names)
    one, two, three = WHOLE_RING.split(3)
    write_ranges(
        store,
        migration,
        STEP,
        [
            RangeRecord(one, "done", Counts(10, 7, 2, 1, 4, 3)),
            RangeRecord(two, "failed", Counts(99, 50)),
            RangeRecord(three, "planned"),
        ],
    )
    found = progress(store, migration, STEP)
    assert (found.ranges, found.done, found.failed) == (3, 1, 1)
    assert found.counts == Counts(10, 7, 2, 1, 4, 3)
    assert not found.complete


def test_a_step_without_ranges_is_not_complete(store):
    assert not progress(store, next(_names), STEP).complete


def test_a_step_that_is_history_is_forgotten_alone(store):
    migration = next(_names)
    write_ranges(store, migration, "sync/1", [RangeRecord(each) for each in WHOLE_RING.split(50)])
    write_ranges(store, migration, "load", [RangeRecord(WHOLE_RING)])
    forget_step(store, migration, "sync/1")
    assert list(read_ranges(store, migration, "sync/1")) == []
    assert [each.range for each in read_ranges(store, migration, "load")] == [WHOLE_RING]


def test_many_ranges_are_spread_over_the_buckets_and_not_in_ring_order(store):
    """cassandra-data-migrator #352: neighbours one after another load one replica after another."""
    migration = next(_names)
    write_ranges(store, migration, STEP, [RangeRecord(each) for each in WHOLE_RING.split(2000)])
    found = [each.range for each in read_ranges(store, migration, STEP)]
    assert len(found) == 2000
    assert sum(one.end == two.start for one, two in itertools.pairwise(found)) < 100


def test_a_hundred_thousand_ranges_fill_no_partition_more_than_others():
    rows = Counter(bucket_of(each.start) for each in WHOLE_RING.split(100_000))
    assert len(rows) == BUCKETS
    assert max(rows.values()) < 1.05 * 100_000 / BUCKETS


def test_thousands_of_ranges_done_here_and_there_are_resumed_under_another_plan(store):
    migration = next(_names)
    write_ranges(
        store, migration, STEP, [RangeRecord(each, "done", Counts(1, 1)) for each in WHOLE_RING.split(9_000)[::2]]
    )
    planned = open_ranges(store, migration, STEP, WHOLE_RING.split(7_000))
    assert unite(each.range for each in read_ranges(store, migration, STEP)) == [WHOLE_RING]
    assert all(one.range.end <= two.range.start for one, two in itertools.pairwise(planned))


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_counts_balance_when_every_row_is_accounted_for(read, written, unchanged, dead):
    assert Counts(read, written, unchanged, dead).balanced == (read == written + unchanged + dead)


@given(st.lists(st.builds(Counts, *[st.integers(0, 9)] * 6), max_size=5))
def test_the_sum_of_balanced_counts_is_balanced(parts):
    balanced = [replace(each, read=each.written + each.unchanged + each.dead) for each in parts]
    total = sum(balanced, Counts())
    assert total.balanced
    assert total.difference == sum(each.difference for each in balanced)
