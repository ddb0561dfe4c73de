"""The totals over the ranges of a step, so that a few figures are kept instead of a hundred thousand rows."""

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

#: How many of the slowest ranges are kept.
SLOWEST = 5


class Second(NamedTuple):
    """What ended in one second: rows, ranges, and when the first of these began, in seconds since the epoch."""

    rows: int
    ranges: int
    began_s: float

    def __add__(self, other: Second) -> Second:  # type: ignore[override]
        return Second(self.rows + other.rows, self.ranges + other.ranges, min(self.began_s, other.began_s))


@dataclass(frozen=True, slots=True)
class RangeTotal:
    """Everything that can be added up over the ranges of a step, or over a part of them.

    ``counts`` and ``done_width`` (tokens) are of the ranges that are done. ``retries`` are attempts beyond the first,
    ``splits`` the cuts made in ranges that failed. ``ended`` is by second since the epoch; ``slowest`` has the slowest
    ranges, slowest first.
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
        """The number of ranges, as they are cut now."""
        return self.planned + self.done + self.failed

    @property
    def settled(self) -> bool:
        """Whether every range is done."""
        return self.ranges > 0 and self.done == self.ranges

    @property
    def untouched(self) -> bool:
        """Whether no range has been tried yet."""
        return self.planned == self.ranges

    @property
    def rows_left(self) -> float | None:
        """Rows in the ranges that are not done, estimated by the share of the ring that is done; None if none is done.

        Tokens are hashes, so that equal parts of the ring have about the same number of rows.
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
    """How often a range was halved to become this one. Halves count half, so that their sum is the number of cuts."""
    return record.attempts if record.state == "planned" else max(0, record.attempts - 1)


def _slowest(records: Iterable[RangeRecord]) -> list[RangeRecord]:
    return heapq.nlargest(SLOWEST, records, key=lambda record: record.seconds)


#: With fewer ranges than this, all are read on every poll.
FEW = 2_000
#: How many polls until all buckets are read again: halves of a failed range may be in a bucket that was done.
_WHOLE_EVERY = 30
#: Spark works through the buckets in order: after this many untouched ones there is nothing new.
_UNTOUCHED = 2


class RangeTotals:
    """The ranges of one step of a migration."""

    def __init__(self, store: Store, migration: str, step: str) -> None:
        self._store = store
        self.key = (migration, step)
        self._buckets: list[RangeTotal] = []
        self._looks = 0
        #: How many ranges the last poll has read.
        self.read = 0

    def look(self) -> RangeTotal:
        """The totals as they are now. Finished and untouched buckets are read only on every thirtieth poll."""
        # Even if all seem done, a part of a range may have been written to a bucket that was done.
        few = sum(each.ranges for each in self._buckets) <= FEW
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
