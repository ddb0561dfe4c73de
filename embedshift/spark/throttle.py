"""How tasks keep to the throttle: they wait if the throttle state says so, and keep to their share of the limits."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache

import pyarrow as pa

from embedshift.catalog.migration import peek_owner
from embedshift.catalog.throttle import ThrottleState, read_published, report_free, report_slowed
from embedshift.errors import OwnedByAnother, StoreUnavailable
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store
from embedshift.times import now_us

#: Seconds of the rate that a token bucket can save up: it makes up for small delays, and bounds any burst.
_SAVED_S = 0.25
#: Seconds between two decisions of a limiter, how far back it looks, and how many writes it needs to decide.
_ROUND_S, _LOOK_BACK_S, _WRITES_LEAST = 1.0, 5.0, 20
#: A limiter halves the rate, and adds this share of full speed each round. It never goes below one row per second.
_CUT, _STEP, _RATE_LEAST = 0.5, 0.02, 1.0


class TokenBucket:
    """Rows at a rate: rows go at once, and are paid for by a wait before the next ones."""

    def __init__(self) -> None:
        self._owed = 0.0
        self._at: float | None = None

    def owe(self, rows: int) -> None:
        """Count rows that have gone."""
        self._owed += rows

    def wait_s(self, now: float, rate: float | None) -> float:
        """Seconds until all rows are paid for at a rate in rows per second, including the time since the last call."""
        passed, self._at = now - (now if self._at is None else self._at), now
        if rate is None:
            self._owed = 0.0
            return 0.0
        self._owed = max(-_SAVED_S * rate, self._owed - passed * rate)
        return max(0.0, self._owed / rate)


class LatencyLimiter:
    """The rate of one writer under a limit of latency: additive increase, multiplicative decrease.

    ``stores.cql.inflight`` limits in the same way how many requests are in flight. This limits the rows per second, so
    it also works if one request at a time is still too much.
    """

    def __init__(self) -> None:
        #: Rows per second; None: no limit.
        self.rate: float | None = None
        #: The 99th percentile for which it last slowed down, in seconds.
        self.slow_s = 0.0
        self._took: deque[tuple[float, float]] = deque()
        self._speed = 0.0
        self._decided: float | None = None

    @property
    def speed(self) -> float:
        """Rows per second of the writing itself, as measured recently; 0: not known yet."""
        return self._speed

    def learn(self, now: float, took: Iterable[float], rows: int, seconds: float, limit_s: float | None) -> None:
        """Learn from a part that was written.

        Args:
            now: when it ended.
            took: the seconds that each of its writes took.
            rows: the number of its rows.
            seconds: how long it took as a whole.
            limit_s: the limit of the 99th percentile; None: no limit.
        """
        if self.rate is None and rows:
            speed = rows / max(seconds, 1e-6)
            self._speed = speed if not self._speed else 0.7 * self._speed + 0.3 * speed
        if limit_s is None:
            self.rate = None
            self._took.clear()
            return
        self._took.extend((now, each) for each in took)
        while self._took and self._took[0][0] < now - _LOOK_BACK_S:
            self._took.popleft()
        self._decided = now if self._decided is None else self._decided
        waited = now - self._decided
        if waited >= _ROUND_S and (len(self._took) >= _WRITES_LEAST or (self._took and waited >= _LOOK_BACK_S)):
            self._decided = now
            self._decide(percentile_99([each for _, each in self._took]), limit_s)

    def _decide(self, slow_s: float, limit_s: float) -> None:
        if slow_s > limit_s:
            self.slow_s = slow_s
            self.rate = max(_RATE_LEAST, _CUT * (self._speed if self.rate is None else self.rate))
            # What was measured at the old rate says nothing about the new one.
            self._took.clear()
        elif self.rate is not None:
            self.rate += max(_STEP * self._speed, _STEP * _RATE_LEAST)
            if self.rate >= self._speed:
                self.rate = None


def percentile_99(values: list[float]) -> float:
    """The 99th percentile by nearest rank: with fewer than a hundred values, the greatest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def slower(one: float | None, other: float | None) -> float | None:
    """The lower of two rates; None means no limit."""
    return min((each for each in (one, other) if each is not None), default=None)


#: Seconds between two reads of the throttle state, for all tasks of a process together.
LOOK_S = 2.0
#: The longest sleep, so that a new state is noticed soon.
_NAP_S = 0.5
#: How long a task waits after its run's lease has ended, or if the store does not answer. Clocks differ.
_GRACE_S = 60.0
#: How many seconds of writing one part of a batch is meant for: without a limit, and with one.
_PART_S, _SLICE_S = 1.0, 0.1
#: Rows of a part before the speed is known, and the minimum rows of a part if no limit applies.
_ROWS_FIRST, _ROWS_LEAST = 128, 16


def throttle_reader(catalog: Store, transfer: Transfer) -> ThrottleReader:
    """The throttle of a transfer's tasks, one for each run and process."""
    throttle = _reader_of(transfer.migration, transfer.run, os.getpid())
    throttle.catalog = catalog
    return throttle


class ThrottleReader:
    """The throttle state of one run, as the catalog has it, and what this process knows of its own writing."""

    def __init__(self, migration: str, run: str) -> None:
        self.catalog: Store | None = None
        self.limiter = LatencyLimiter()
        self._migration = migration
        self._run = run
        self._state = ThrottleState()
        self._looked = self._answered = float("-inf")
        self._reported = False

    def now(self) -> ThrottleState:
        """The throttle state, at most two seconds old.

        Raises:
            OwnedByAnother: the run is over, or nobody owns it any more who could let a task that waits continue.
            StoreUnavailable: the catalog has not answered for a minute, and the last state was to wait.
        """
        moment = time.monotonic()
        if self._run and moment - self._looked >= LOOK_S:
            self._look(moment)
        return self._state

    def _look(self, moment: float) -> None:
        store = self.catalog
        assert store is not None
        self._looked = moment
        try:
            published = read_published(store, self._migration, self._run)
            if published is None:
                # At the end of a run its limits are withdrawn: a task that is still there must not go at full speed.
                raise OwnedByAnother(f"the run of this task has ended: {self._run} gives no limits any more")
            self._state = published
            if self._state.limits:
                self._check_owner(store)
            self._report(store)
        except StoreUnavailable:
            # It may answer at the next read; until then the last state applies.
            if self._state.limits and moment - self._answered > _GRACE_S:
                raise
            return
        self._answered = moment

    def _check_owner(self, store: Store) -> None:
        owner, lease_until_us = peek_owner(store, self._migration)
        if owner != self._run or lease_until_us < now_us() - _GRACE_S * 1e6:
            raise OwnedByAnother(f"the run of this task has ended: {self._run} no longer owns {self._migration}")

    def _report(self, store: Store) -> None:
        limit_ms, slowed = self._state.max_latency_ms, self.limiter.rate is not None
        if slowed and limit_ms is not None:
            report_slowed(store, self._migration, self.limiter.slow_s * 1000, limit_ms)
        elif self._reported:
            report_free(store, self._migration)
        self._reported = slowed and limit_ms is not None

    def wait(
        self, bucket: TokenBucket, limiter: LatencyLimiter | None = None, *, ending: bool = False
    ) -> ThrottleState:
        """Wait until the state lets rows pass, and rows that have gone are paid for. Returns the state.

        Args:
            ending: no further rows will pass, so that a pause need not be waited for.
        """
        while True:
            state = self.now()
            rate = slower(state.rows_per_second, limiter.rate if limiter else None)
            owed_s = bucket.wait_s(time.monotonic(), rate)
            held = bool(state.wait) and not ending
            if not held and owed_s <= 0:
                return state
            time.sleep(_NAP_S if held else min(_NAP_S, owed_s))


@lru_cache(maxsize=4)
def _reader_of(migration: str, run: str, process: int) -> ThrottleReader:
    del process  # only part of the key: a forked worker does not share what its parent knows
    return ThrottleReader(migration, run)


class Throttle:
    """The throttle for one range: it cuts what is written into parts that keep to the rate.

    A task pays for every row that it has compared: for those that are written as they are written, for the others at
    once. ``hold`` may be called from other threads.
    """

    def __init__(self, throttle: ThrottleReader, target: Store) -> None:
        self._throttle, self._target = throttle, target
        self._bucket = TokenBucket()

    def hold(self) -> None:
        """Wait while the throttle state says so, whatever was paid."""
        self._throttle.wait(TokenBucket())

    def pass_by(self, rows: int) -> None:
        """Rows were compared that are not written."""
        if rows > 0:
            self._throttle.wait(self._bucket)
            self._bucket.owe(rows)

    def parts(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Cut a batch, and wait before each part; the time that the caller spends on a part counts as its writing."""
        limiter, start = self._throttle.limiter, 0
        while start < rows.num_rows:
            state = self._throttle.wait(self._bucket, limiter)
            part = rows.slice(start, self._size(state))
            began = time.monotonic()
            yield part
            now = time.monotonic()
            limit_s = None if state.max_latency_ms is None else state.max_latency_ms / 1000
            limiter.learn(now, self._target.latencies(), part.num_rows, now - began, limit_s)
            self._bucket.owe(part.num_rows)
            start += part.num_rows

    def end(self) -> None:
        """After the last window: wait until every row is paid for, because the next range starts at zero."""
        self._throttle.wait(self._bucket, self._throttle.limiter, ending=True)

    def _size(self, state: ThrottleState) -> int:
        limiter = self._throttle.limiter
        rate = slower(state.rows_per_second, limiter.rate)
        if rate is not None:
            return max(1, int(rate * _SLICE_S))
        # If latency is limited, parts are small too: each shows how long writes take.
        seconds = _PART_S if state.max_latency_ms is None else _SLICE_S
        return max(_ROWS_LEAST, int(limiter.speed * seconds)) if limiter.speed else _ROWS_FIRST
