"""How tasks obey: they wait where the order says so, and keep to their share of the limits.

The reader pays for rows that it compares, the writer for rows that it writes, each at the task's share of the run's
rate. The writer alone would not do: of a pass that finds no difference nothing reaches it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa

from jobs.catalog.migration import peek_owner
from jobs.catalog.pace import Order, read_order, report_free, report_slowed
from jobs.catalog.tables import now_us
from jobs.errors import OwnedByAnother, StoreUnavailable
from jobs.spark.rate import Bucket, Governor, slower
from jobs.spark.transfer import Transfer
from jobs.stores.contract import Store

#: Seconds between two looks at the order, for all tasks of a process together.
_LOOK_S = 2.0
#: Longest sleep, so that another order is met soon.
_NAP_S = 0.5
#: How long a task waits on for a run whose lease has ended, or at a store that does not answer. Clocks differ.
_GRACE_S = 60.0
#: Seconds of writing that one part of a batch is meant for: without a limit, and within one.
_PART_S, _SLICE_S = 1.0, 0.1
#: Rows of a part before anything is known of the speed, and the fewest of one that no limit slows down.
_ROWS_FIRST, _ROWS_LEAST = 128, 16


def orders_of(store: Store, transfer: Transfer) -> Orders:
    """The orders that a transfer's tasks obey; of one run, the same for all tasks of a process."""
    orders = _orders(transfer.migration, transfer.run, os.getpid())
    orders.store = store
    return orders


class Orders:
    """The orders of one run, as the catalog has them, and what this process knows of its own writing."""

    def __init__(self, migration: str, run: str) -> None:
        self.store: Store | None = None
        self.governor = Governor()
        self._migration = migration
        self._run = run
        self._order = Order()
        self._looked = self._answered = float("-inf")
        self._reported = False

    def now(self) -> Order:
        """The order as it stood two seconds ago at most.

        Raises:
            OwnedByAnother: it holds the task up, and nobody owns the run any more that could let it go.
            StoreUnavailable: the catalog has not answered for a minute, though the order says to wait for it.
        """
        moment = time.monotonic()
        if self._run and moment - self._looked >= _LOOK_S:
            self._look(moment)
        return self._order

    def _look(self, moment: float) -> None:
        store = self.store
        assert store is not None
        self._looked = moment
        try:
            self._order = read_order(store, self._migration, self._run)
            if self._order.limits:
                self._check_owner(store)
            self._report(store)
        except StoreUnavailable:
            # It may be back at the next look; until then the last order stands.
            if self._order.limits and moment - self._answered > _GRACE_S:
                raise
            return
        self._answered = moment

    def _check_owner(self, store: Store) -> None:
        owner, lease_until_us = peek_owner(store, self._migration)
        if owner != self._run or lease_until_us < now_us() - _GRACE_S * 1e6:
            raise OwnedByAnother(f"the run of this task has ended: {self._run} no longer owns {self._migration}")

    def _report(self, store: Store) -> None:
        limit_ms, slowed = self._order.max_latency_ms, self.governor.rate is not None
        if slowed and limit_ms is not None:
            report_slowed(store, self._migration, self.governor.slow_s * 1000, limit_ms)
        elif self._reported:
            report_free(store, self._migration)
        self._reported = slowed and limit_ms is not None

    def wait(self, bucket: Bucket, governor: Governor | None = None, *, ending: bool = False) -> Order:
        """Wait until the order lets rows pass and those that have gone are paid for. Returns the order.

        Args:
            ending: no further rows are to pass, so that a pause is nothing to wait for.
        """
        while True:
            order = self.now()
            rate = slower(order.rows_per_second, governor.rate if governor else None)
            owed_s = bucket.wait_s(time.monotonic(), rate)
            held = bool(order.wait) and not ending
            if not held and owed_s <= 0:
                return order
            time.sleep(_NAP_S if held else min(_NAP_S, owed_s))


@lru_cache(maxsize=4)
def _orders(migration: str, run: str, process: int) -> Orders:
    del process  # part of the key alone: what a forked worker knows is not its parent's
    return Orders(migration, run)


class ReadingPace:
    """The pace of the reader of one range, window by window."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._bucket = Bucket()
        self._passed = 0

    def turn(self, rows: int) -> None:
        """Before a window of so many rows is compared: wait for the order, and until the windows before are paid."""
        self._orders.wait(self._bucket)
        self._bucket.owe(rows)
        self._passed = 0

    def pass_on(self, rows: int) -> None:
        """So many rows of the window go to the writer."""
        self._passed += rows

    def end(self) -> None:
        """After the last window: wait for what the writer will not pay for. Its rows must not be held up here."""
        self._bucket.forgive(self._passed)
        self._orders.wait(self._bucket, ending=True)


class WritingPace:
    """The pace of the writer of one range: what it is to write comes in parts that keep to the rate."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._bucket = Bucket()

    def parts(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Cut a batch, and wait before each part; what is done with a part is taken for its writing."""
        governor, start = self._orders.governor, 0
        while start < rows.num_rows:
            order = self._orders.wait(self._bucket, governor)
            part = rows.slice(start, self._size(order))
            began = time.monotonic()
            yield part
            now, store = time.monotonic(), self._orders.store
            limit_s = None if order.max_latency_ms is None else order.max_latency_ms / 1000
            governor.learn(now, store.latencies() if store else (), part.num_rows, now - began, limit_s)
            self._bucket.owe(part.num_rows)
            start += part.num_rows

    def end(self) -> None:
        """After the last batch: wait until all that was written is paid for, as the next range begins anew."""
        self._orders.wait(self._bucket, self._orders.governor, ending=True)

    def _size(self, order: Order) -> int:
        governor = self._orders.governor
        rate = slower(order.rows_per_second, governor.rate)
        if rate is not None:
            return max(1, int(rate * _SLICE_S))
        # Where latency is watched, parts are small too: each tells what writes take.
        seconds = _PART_S if order.max_latency_ms is None else _SLICE_S
        return max(_ROWS_LEAST, int(governor.speed * seconds)) if governor.speed else _ROWS_FIRST
