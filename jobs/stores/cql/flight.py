"""Many requests under way at once: as many as the server answers quickly, never more than the settings allow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cassandra import CoordinationFailure, OperationTimedOut

from jobs.errors import StoreUnavailable
from jobs.stores.cql import faults
from jobs.stores.cql.session import WRITE, Link
from jobs.stores.latencies import Latencies

#: An answer slower than this is a sign of a queue at the server, not of the way there.
SLOW_S = 0.25
#: Who waits for room is woken once this share of the window is free: a change of threads costs as much as a request.
ROOM = 0.25
#: How often the replicas may fail at one statement, while others pass, before the statement is blamed.
FAILURES = 4


class Window:
    """How many requests may be under way: one more for each round of quick answers, a third fewer after slow ones.

    Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681).

    Args:
        most: upper bound.
        size: how many to begin with.
        slow_s: seconds from which on an answer counts as slow.
        took: is given what every request took, where somebody wants to know.
    """

    def __init__(self, most: int, size: float, slow_s: float = SLOW_S, took: Latencies | None = None) -> None:
        self.most = most
        self.size = max(1.0, min(float(most), size))
        self._slow_s = slow_s
        self._quiet_until = 0.0
        self._took = took

    def learn(self, now: float, took_s: float, *, failed: bool = False) -> None:
        """Learn from how a request went.

        Args:
            now: monotonic seconds.
            took_s: how long it took.
            failed: whether the server was too slow or too busy to answer at all.
        """
        if self._took is not None:
            self._took.append(took_s)
        if not failed and took_s <= self._slow_s:
            self.size = min(float(self.most), self.size + 1 / self.size)
        elif now >= self._quiet_until:
            # Once a round is enough: the others under way felt the same queue.
            self.size = max(1.0, self.size * (0.5 if failed else 0.7))
            self._quiet_until = now + took_s


class _Round:
    """One pass over the requests that are still to be answered.

    The driver can time each request, but a timer each wakes its event loop each time, which costs as much as the rest
    of the request. Here one look at the oldest request under way does for all.
    """

    def __init__(self, link: Link, window: Window, profile: Any, answered: Callable[[int, Any], None] | None) -> None:
        self._session, self._profile, self._answered = link.session, profile, answered
        self._timeout_s = link.settings.request_timeout.total_seconds()
        self._window = window
        self._sent: dict[int, float] = {}  # in the order of sending
        self._changed = threading.Condition()
        self._awaited: Callable[[], bool] = _never
        self.again: dict[int, BaseException] = {}
        self.refused: dict[int, BaseException] = {}
        self.fatal: BaseException | None = None
        self.acknowledged = 0

    def run(self, requests: Sequence[Any], places: Sequence[int]) -> None:
        """Send the requests at ``places``; returns once each is answered or overdue."""
        for place in places:
            if not self._admitted(place):
                break
            try:
                future = self._session.execute_async(requests[place], execution_profile=self._profile, timeout=None)
            except faults.RAISED as error:
                self._failed(error, place)
                continue
            future.add_callbacks(self._done, self._failed, callback_args=(place,), errback_args=(place,))
        with self._changed:
            self._wait(lambda: not self._sent)

    def _admitted(self, place: int) -> bool:
        """Wait for room in the window; False where the pass is to end."""
        with self._changed:
            if len(self._sent) >= int(self._window.size):
                self._wait(self._has_room)
            self._sent[place] = time.monotonic()
            if self.fatal is not None:
                del self._sent[place]
        return self.fatal is None

    def _has_room(self) -> bool:
        return self.fatal is not None or len(self._sent) <= (1 - ROOM) * int(self._window.size)

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._awaited = ready
        while not ready():
            oldest = next(iter(self._sent))
            left = self._sent[oldest] + self._timeout_s - time.monotonic()
            if left <= 0:
                # Its answer may come yet, and will find that nobody waits for it.
                del self._sent[oldest]
                self._window.learn(time.monotonic(), self._timeout_s, failed=True)
                self.again[oldest] = OperationTimedOut(f"no answer within {self._timeout_s:g} s")
            else:
                self._changed.wait(left)
        self._awaited = _never

    def _wake(self) -> None:
        if self._awaited():
            self._changed.notify()

    def _done(self, rows: Any, place: int) -> None:
        with self._changed:
            sent = self._sent.pop(place, None)
            if sent is None:
                return
            if self._answered is not None:
                self._answered(place, rows)
            self.acknowledged += 1
            now = time.monotonic()
            self._window.learn(now, now - sent)
            self._wake()

    def _failed(self, error: BaseException, place: int) -> None:
        with self._changed:
            sent = self._sent.pop(place, None)
            if sent is None:
                return
            passing = faults.is_transient(error)
            if passing:
                self.again[place] = error
            elif isinstance(error, faults.REFUSED):
                self.refused[place] = error
            else:
                self.fatal = error
            now = time.monotonic()
            self._window.learn(now, now - sent, failed=passing)
            self._wake()


def _never() -> bool:
    return False


def send(
    link: Link,
    requests: Sequence[Any],
    profile: Any,
    *,
    doing: str,
    answered: Callable[[int, Any], None] | None = None,
    refused: Callable[[int, str], None] | None = None,
    suspect: Callable[[int], str] = lambda place: "",
) -> None:
    """Send idempotent requests, all of them, and return once each is answered.

    Args:
        requests: bound statements.
        profile: the execution profile.
        doing: what is done, for people.
        answered: is given each request's place and rows, on the driver's thread.
        refused: is given the place of each request that the server will never take, and why; without it such a
            request is an error.
        suspect: says of a place why replicas might fail at it whatever their health; empty where nothing is known.

    Raises:
        StoreUnavailable: some were not answered, after retries.
        SchemaError: the server refused one, and ``refused`` is None; or the table is gone.
    """
    window = Window(link.settings.concurrency, link.window, took=link.took if profile == WRITE else None)
    deadline = time.monotonic() + link.patience.total_seconds()
    places: Sequence[int] = range(len(requests))
    failures: dict[int, int] = {}
    acknowledged = attempt = 0
    while places:
        turn = _Round(link, window, profile, answered)
        turn.run(requests, places)
        acknowledged += turn.acknowledged
        link.window = window.size
        if turn.fatal is not None:
            raise link.failed(turn.fatal, doing) from turn.fatal
        for place, error in turn.refused.items():
            if refused is None or faults.is_absent(error):
                raise link.failed(error, doing) from error
            refused(place, faults.server_words(error))
        places = []
        for place, error in turn.again.items():
            failed = isinstance(error, CoordinationFailure)
            failures[place] = failures.get(place, 0) + failed
            if refused is not None and failed and suspect(place):
                refused(place, suspect(place))
            elif refused is not None and acknowledged and failures[place] >= FAILURES:
                refused(place, f"the replicas fail at it, and at no other row ({faults.server_words(error)})")
            else:
                places.append(place)
        if places:
            last = turn.again[places[-1]]
            pause = random.uniform(0, min(5.0, 0.1 * 2**attempt))
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(
                    f"{doing}: {len(places)} of {len(requests)} requests unanswered ({faults.server_words(last)})",
                    hint="run again; what was done already is not done twice",
                ) from last
            time.sleep(pause)
            attempt += 1
