"""The sum over a step's ranges, kept up to date by reading only those that can have changed."""

from __future__ import annotations

from functools import reduce
from operator import add

from jobs.catalog.ranges import read_bucket
from jobs.catalog.tables import BUCKETS
from jobs.stores.contract import Store
from jobs.watching.sums import RangeSum, sum_ranges

#: So few ranges are all read at every look.
_FEW = 2_000
#: Every so many looks all buckets are read: halves of a failed range may have gone into one that was done.
_WHOLE_EVERY = 30
#: Spark takes the buckets one after another: behind so many untouched ones there is nothing new.
_UNTOUCHED = 2


class Ledger:
    """The ranges of one step of a migration."""

    def __init__(self, store: Store, migration: str, step: str) -> None:
        self._store = store
        self.key = (migration, step)
        self._buckets: list[RangeSum] = []
        self._looks = 0
        #: How many ranges the last look has read.
        self.read = 0

    def look(self) -> RangeSum:
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

    def _bucket(self, number: int) -> RangeSum:
        found = sum_ranges(read_bucket(self._store, *self.key, number))
        self.read += found.ranges
        return found
