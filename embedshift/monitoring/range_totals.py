"""The ranges of a step added up, so that a watcher keeps a few figures of a hundred thousand rows."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import NamedTuple

from embedshift.catalog.ranges import Counts, RangeRecord, read_bucket
from embedshift.catalog.tables import BUCKETS
from embedshift.stores.contract import Store

#: So many of the slowest ranges are kept.
SLOWEST = 5


class Second(NamedTuple):
    """What ended in one second: rows, ranges, and when the earliest of these had begun, in seconds of the epoch."""

    rows: int
    ranges: int
    began_s: float

    def __add__(self, other: Second) -> Second:  # type: ignore[override]
        return Second(self.rows + other.rows, self.ranges + other.ranges, min(self.began_s, other.began_s))


@dataclass(frozen=True, slots=True)
class RangeTotal:
    """What can be added over the ranges of a step, or over any part of them.

    ``counts`` and ``done_width`` (tokens) are of the ranges done. ``retries`` are tries beyond the first, ``splits``
    the cuts that they began with. ``ended`` is by second of the epoch; ``slowest`` holds the slowest ones, first.
    """

    planned: int = 0
    done: int = 0
    failed: int = 0
    counts: Counts = field(default_factory=Counts)
    done_width: int = 0
    left_width: int = 0
    retries: int = 0
    splits: float = 0.0
    ended: dict[int, Second] = field(default_factory=dict)
    slowest: tuple[RangeRecord, ...] = ()

    @property
    def ranges(self) -> int:
        """All of them, as they are cut now."""
        return self.planned + self.done + self.failed

    @property
    def settled(self) -> bool:
        """Whether every range is done."""
        return self.ranges > 0 and self.done == self.ranges

    @property
    def untouched(self) -> bool:
        """Whether no range has an outcome."""
        return self.planned == self.ranges

    @property
    def rows_left(self) -> float | None:
        """Rows of the ranges that are not done, by the share of the ring that is; None where none is.

        Tokens are hashes: equal widths of the ring hold about as many rows.
        """
        return self.counts.read * self.left_width / self.done_width if self.done_width else None

    def __add__(self, other: RangeTotal) -> RangeTotal:
        ended = dict(self.ended)
        for second, what in other.ended.items():
            ended[second] = ended[second] + what if second in ended else what
        return RangeTotal(
            self.planned + other.planned,
            self.done + other.done,
            self.failed + other.failed,
            self.counts + other.counts,
            self.done_width + other.done_width,
            self.left_width + other.left_width,
            self.retries + other.retries,
            self.splits + other.splits,
            ended,
            tuple(_slowest((*self.slowest, *other.slowest))),
        )


def total_of(records: Iterable[RangeRecord]) -> RangeTotal:
    """Add up range records."""
    states = {"planned": 0, "done": 0, "failed": 0}
    counts, widths, retries, splits = Counts(), {True: 0, False: 0}, 0, 0.0
    ended: dict[int, Second] = {}
    slowest: list[RangeRecord] = []
    for record in records:
        done = record.state == "done"
        states[record.state] += 1
        widths[done] += record.range.width
        retries += max(0, record.attempts - 1)
        splits += 1 - 0.5 ** _halvings(record)
        if done:
            counts = counts + record.counts
            second, took = record.ended_us // 1_000_000, record.seconds
            what = Second(record.counts.read, 1, record.ended_us / 1e6 - took)
            ended[second] = ended[second] + what if second in ended else what
        if record.state != "planned":
            slowest.append(record)
            if len(slowest) > 100 * SLOWEST:
                slowest = _slowest(slowest)
    return RangeTotal(
        **states,
        counts=counts,
        done_width=widths[True],
        left_width=widths[False],
        retries=retries,
        splits=splits,
        ended=ended,
        slowest=tuple(_slowest(slowest)),
    )


def _halvings(record: RangeRecord) -> int:
    """How often a range was halved to become this one. Halves weigh half: their sum is the number of cuts."""
    return record.attempts if record.state == "planned" else max(0, record.attempts - 1)


def _slowest(records: Iterable[RangeRecord]) -> list[RangeRecord]:
    return heapq.nlargest(SLOWEST, records, key=lambda record: record.seconds)


#: So few ranges are all read at every look.
_FEW = 2_000
#: Every so many looks all buckets are read: halves of a failed range may have gone into one that was done.
_WHOLE_EVERY = 30
#: Spark takes the buckets one after another: behind so many untouched ones there is nothing new.
_UNTOUCHED = 2


class RangeTotals:
    """The ranges of one step of a migration."""

    def __init__(self, store: Store, migration: str, step: str) -> None:
        self._store = store
        self.key = (migration, step)
        self._buckets: list[RangeTotal] = []
        self._looks = 0
        #: How many ranges the last look has read.
        self.read = 0

    def look(self) -> RangeTotal:
        """The sum as it is now: settled buckets, and those that are not begun, are read only every thirty looks."""
        # Where all seem done, a part of a range may yet have gone into a bucket that was.
        few = sum(each.ranges for each in self._buckets) <= _FEW
        whole = few or self._looks % _WHOLE_EVERY == 0 or all(each.settled for each in self._buckets)
        self._looks, self.read = self._looks + 1, 0
        if whole:
            self._buckets = [self._bucket(number) for number in range(BUCKETS)]
        else:
            self._look_at_some()
        return reduce(add, self._buckets)

    def _look_at_some(self) -> None:
        untouched = 0
        for number, known in enumerate(self._buckets):
            if known.settled:
                continue
            self._buckets[number] = self._bucket(number)
            untouched += self._buckets[number].untouched
            if untouched >= _UNTOUCHED:
                return

    def _bucket(self, number: int) -> RangeTotal:
        found = total_of(read_bucket(self._store, *self.key, number))
        self.read += found.ranges
        return found
