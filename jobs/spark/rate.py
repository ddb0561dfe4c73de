"""Rates of one task: a bucket that lets rows pass at a rate, and a governor that finds the rate by latency.

Both are told the time, in monotonic seconds, and wait for nothing themselves.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

#: Seconds of the rate that a bucket saves up: what small delays cost is made good, and no burst is longer.
_SAVED_S = 0.25
#: Seconds between two decisions of a governor, how far back it looks, and of how many writes it wants to know.
_ROUND_S, _LOOK_BACK_S, _WRITES_LEAST = 1.0, 5.0, 20
#: A governor halves the rate, and adds this share of full speed each round. It never goes below one row a second.
_CUT, _STEP, _RATE_LEAST = 0.5, 0.02, 1.0


class Bucket:
    """Rows at a rate: rows go at once, and are paid for by waiting before the next ones."""

    def __init__(self) -> None:
        self._owed = 0.0
        self._at: float | None = None

    def owe(self, rows: int) -> None:
        """So many rows have gone."""
        self._owed += rows

    def forgive(self, rows: int) -> None:
        """So many of the rows that have gone are paid for elsewhere."""
        self._owed = max(0.0, self._owed - rows)

    def wait_s(self, now: float, rate: float | None) -> float:
        """Seconds until all is paid for, at a rate of rows a second; the time since the last call counts at it too."""
        passed, self._at = now - (now if self._at is None else self._at), now
        if rate is None:
            self._owed = 0.0
            return 0.0
        self._owed = max(-_SAVED_S * rate, self._owed - passed * rate)
        return max(0.0, self._owed / rate)


class Governor:
    """The rate of one writer under a limit of latency: additive increase, multiplicative decrease.

    ``stores.cql.flight`` bounds in the same way how many requests are under way. This bounds the rows a second, and so
    goes on where one request at a time is still too much.
    """

    def __init__(self) -> None:
        #: Rows a second; None: as fast as it goes.
        self.rate: float | None = None
        #: The 99th percentile for which it last slowed down, in seconds.
        self.slow_s = 0.0
        self._took: deque[tuple[float, float]] = deque()
        self._speed = 0.0
        self._decided: float | None = None

    @property
    def speed(self) -> float:
        """Rows a second of the writing itself, as it lately went; 0: not known yet."""
        return self._speed

    def learn(self, now: float, took: Iterable[float], rows: int, seconds: float, limit_s: float | None) -> None:
        """Learn from a piece of writing.

        Args:
            now: when it ended.
            took: seconds that each write of it took.
            rows: rows of it.
            seconds: how long it took as a whole.
            limit_s: the limit of the 99th percentile; None: there is none.
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
            # What was measured at the old rate says nothing of the new one.
            self._took.clear()
        elif self.rate is not None:
            self.rate += max(_STEP * self._speed, _STEP * _RATE_LEAST)
            if self.rate >= self._speed:
                self.rate = None


def percentile_99(values: list[float]) -> float:
    """The 99th percentile by nearest rank: of fewer than a hundred values the greatest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def slower(one: float | None, other: float | None) -> float | None:
    """The lower of two rates; None is no rate."""
    return min((each for each in (one, other) if each is not None), default=None)
