"""Rows that are not spread evenly: what one task would do alone is done by many."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from embedshift.spark.scan_limit import ScanLimit
from embedshift.spark.stores import Stores
from embedshift.spark.task import comparison_of
from embedshift.spark.transfer import transfer_of
from embedshift.tokens import WHOLE_RING, murmur3, unite
from tests.world import now_us, some_articles

EIGHTHS = WHOLE_RING.split(8)
MEGABYTE = 1_000_000


def ids_by_eighth(hot: int, others: int) -> list[str]:
    """A number of ids in the first eighth of the ring, and another number in each other eighth."""
    wanted = [hot, *[others] * 7]
    ids = [f"b{number}" for number in range(16 * hot)]
    chosen = []
    for id_, token in zip(ids, murmur3([id_.encode() for id_ in ids]).tolist(), strict=True):
        at = next(place for place, each in enumerate(EIGHTHS) if token in each)
        if wanted[at]:
            wanted[at] -= 1
            chosen.append(id_)
    assert not any(wanted)
    return chosen


def test_a_range_of_a_hundred_times_the_rows_is_shared_among_tasks(new_world, spark):
    ids = ids_by_eighth(300, 3)
    world = new_world(load={"ranges": 8, "task_rows": 30})
    world.create_source([row | {"id": id_} for id_, row in zip(ids, some_articles(len(ids)), strict=True)])
    world.steps("prepare", "load")
    found = world.ranges()
    rows = [each.counts.read for each in found if each.counts.read]
    assert sum(rows) == sum(each.counts.written for each in found) == len(ids)
    assert max(rows) <= 30
    assert max(rows) <= 2 * median(rows)
    assert unite(each.range for each in found) == [WHOLE_RING]
    # Neighbours meet: no token was the work of two ranges.
    assert sum(each.range.width for each in found) == WHOLE_RING.width
    assert {each.state for each in found} == {"done"}
    # The tasks that left something have not failed: one attempt each, whichever round it was.
    assert {each.attempts for each in found} == {1}
    world.assert_migrated()


def test_a_task_that_fails_leaves_nothing_behind_that_counts_as_done(new_world, spark):
    """A text that cannot be embedded goes to the dead letters; its range is split like any other."""
    world = new_world(load={"ranges": 2, "task_rows": 10, "tolerate_dead": 1})
    rows = some_articles(60)
    rows[5]["content"] = ("poison", now_us())
    world.create_source(rows)
    world.step("prepare")
    result = world.step("load")
    assert (result["rows"], result["written"], result["dead"]) == (60, 59, 1)
    assert max(each.counts.read for each in world.ranges()) <= 10


def test_long_texts_among_short_ones_are_shared_too(new_world):
    rows = some_articles(100)
    for row in rows[::4]:
        row["content"] = ("word " * (MEGABYTE // 5), now_us())
    world = new_world()
    world.create_source(rows)
    world.step("prepare")
    transfer = replace(transfer_of(world.settings, world.store, world.migration, "load"), bytes_most=5 * MEGABYTE)
    # By default a task reads no more than what its neighbours read on average, and half as much again.
    assert transfer_of(world.settings, world.store, world.migration, "load").bytes_most >= 16 * MEGABYTE
    within, sizes, read = WHOLE_RING, [], 0
    while True:
        limit = ScanLimit(within, transfer.rows_most, transfer.bytes_most)
        windows = list(comparison_of(Stores.one(world.store), transfer).windows(within, limit))
        sizes.append(sum(window.rows.nbytes for window in windows))
        read += sum(window.counts.read for window in windows)
        if limit.rest is None:
            break
        within = limit.rest
    assert read == 100
    assert len(sizes) >= 4
    # A share of a batch is taken as if its rows were of one length.
    assert max(sizes) < 3 * 5 * MEGABYTE
