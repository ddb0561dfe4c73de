"""Many requests under way at once: as many as the server answers quickly, never more than the settings allow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cassandra import CoordinationFailure

from jobs.errors import StoreUnavailable
from jobs.stores.cql import faults
from jobs.stores.cql.session import Link

#: An answer slower than this is a sign of a queue at the server, not of the way there.
SLOW_S = 0.25
#: How often a replica may fail at one statement before the statement is blamed.
FAILURES = 4


class Window:
    """How many requests may be under way: one more for each round of quick answers, a third fewer after slow ones.

    Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681).

    Args:
        most: upper bound.
        size: how many to begin with.
        slow_s: seconds from which on an answer counts as slow.
    """

    def __init__(self, most: int, size: float, slow_s: float = SLOW_S) -> None:
        self.most = most
        self.size = max(1.0, min(float(most), size))
        self._slow_s = slow_s
        self._in_flight = 0
        self._quiet_until = 0.0
        self._changed = threading.Condition()

    def enter(self) -> None:
        """Wait for a place."""
        with self._changed:
            while self._in_flight >= int(self.size):
                self._changed.wait()
            self._in_flight += 1

    def leave(self, now: float, took_s: float, *, failed: bool = False) -> None:
        """Give a place back, and learn from how the request went.

        Args:
            now: monotonic seconds.
            took_s: how long it took.
            failed: whether the server was too slow or too busy to answer at all.
        """
        with self._changed:
            self._in_flight -= 1
            if failed or took_s > self._slow_s:
                # Once a round is enough: the others under way felt the same queue.
                if now >= self._quiet_until:
                    self.size = max(1.0, self.size * (0.5 if failed else 0.7))
                    self._quiet_until = now + took_s
            elif self.size < self.most:
                self.size = min(float(self.most), self.size + 1 / self.size)
            self._changed.notify()

    def drained(self) -> None:
        """Wait until nothing is under way."""
        with self._changed:
            while self._in_flight:
                self._changed.wait()


class _Round:
    """One pass over the requests that are still to be answered."""

    def __init__(self, link: Link, window: Window, profile: Any, answered: Callable[[int, Any], None] | None) -> None:
        self._link, self._window, self._profile, self._answered = link, window, profile, answered
        self.again: list[tuple[int, BaseException]] = []
        self.refused: list[tuple[int, BaseException]] = []
        self.fatal: BaseException | None = None
        self.acknowledged = 0

    def run(self, requests: Sequence[Any], places: Sequence[int]) -> None:
        session, window, clock = self._link.session, self._window, time.monotonic
        for place in places:
            window.enter()
            if self.fatal is not None:
                window.leave(clock(), 0.0)
                break
            try:
                future = session.execute_async(requests[place], execution_profile=self._profile)
            except faults.RAISED as error:
                self._failed(error, place, clock())
                continue
            future.add_callbacks(
                self._done, self._failed, callback_args=(place, clock()), errback_args=(place, clock())
            )
        window.drained()

    def _done(self, rows: Any, place: int, sent: float) -> None:
        try:
            if self._answered is not None:
                self._answered(place, rows)
            self.acknowledged += 1
        finally:
            now = time.monotonic()
            self._window.leave(now, now - sent)

    def _failed(self, error: BaseException, place: int, sent: float) -> None:
        passing = faults.is_transient(error)
        if passing:
            self.again.append((place, error))
        elif isinstance(error, faults.REFUSED):
            self.refused.append((place, error))
        else:
            self.fatal = error
        now = time.monotonic()
        self._window.leave(now, now - sent, failed=passing)


def send(
    link: Link,
    requests: Sequence[Any],
    profile: Any,
    *,
    doing: str,
    answered: Callable[[int, Any], None] | None = None,
    refused: Callable[[int, str], None] | None = None,
) -> None:
    """Send idempotent requests, all of them, and return once each is answered.

    Args:
        requests: bound statements.
        profile: the execution profile.
        doing: what is done, for people.
        answered: is given each request's place and rows, on the driver's thread.
        refused: is given the place of each request that the server will never take, and why; without it such a
            request is an error.

    Raises:
        StoreUnavailable: some were not answered, after retries.
    """
    window = Window(link.settings.concurrency, link.window)
    deadline = time.monotonic() + link.patience.total_seconds()
    places: Sequence[int] = range(len(requests))
    failures: dict[int, int] = {}
    acknowledged = 0
    attempt = 0
    while places:
        turn = _Round(link, window, profile, answered)
        turn.run(requests, places)
        acknowledged += turn.acknowledged
        link.window = window.size
        if turn.fatal is not None:
            raise link.failed(turn.fatal, doing) from turn.fatal
        for place, error in turn.refused:
            if refused is None or faults.is_absent(error):
                raise link.failed(error, doing) from error
            refused(place, faults.server_words(error))
        again = []
        for place, error in turn.again:
            if isinstance(error, CoordinationFailure):
                failures[place] = failures.get(place, 0) + 1
            if refused is not None and acknowledged and failures.get(place, 0) >= FAILURES:
                refused(place, f"the replicas fail at it, and at no other row ({faults.server_words(error)})")
            else:
                again.append(place)
        places = again
        if places:
            last = turn.again[-1][1]
            pause = random.uniform(0, min(5.0, 0.1 * 2**attempt))
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(
                    f"{doing}: {len(places)} of {len(requests)} requests unanswered ({faults.server_words(last)})",
                    hint="run again; what was done already is not done twice",
                ) from last
            time.sleep(pause)
            attempt += 1
