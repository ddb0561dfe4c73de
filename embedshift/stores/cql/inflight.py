"""Many requests in flight at once: as many as the server answers quickly, never more than the settings allow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cassandra import CoordinationFailure, OperationTimedOut

from embedshift.errors import StoreUnavailable
from embedshift.stores.cql import driver_errors
from embedshift.stores.cql.session import WRITE, CqlConnection
from embedshift.stores.model import Latencies

#: An answer slower than this indicates a queue at the server, not the network.
SLOW_S = 0.25
#: The sender waits until this share of the window is free: a switch of threads costs as much as a request.
ROOM = 0.25
#: How often the replicas may fail at one statement, while others succeed, before that statement is refused.
FAILURES = 4


class Window:
    """How many requests may be in flight: one more for each round of quick answers, 30 % fewer after a slow one.

    Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681).

    Args:
        most: upper bound.
        size: how many at the start.
        slow_s: an answer that takes more seconds counts as slow.
        latencies: takes the seconds of every request, if given.
    """

    def __init__(self, most: int, size: float, slow_s: float = SLOW_S, latencies: Latencies | None = None) -> None:
        self.most = most
        self.size = max(1.0, min(float(most), size))
        self._slow_s = slow_s
        self._quiet_until = 0.0
        self._latencies = latencies

    def learn(self, now: float, took_s: float, *, failed: bool = False) -> None:
        """Adapt to the outcome of a request.

        Args:
            now: monotonic seconds.
            took_s: how long it took.
            failed: whether the server was too slow or too busy to answer at all.
        """
        if self._latencies is not None:
            self._latencies.append(took_s)
        if not failed and took_s <= self._slow_s:
            self.size = min(float(self.most), self.size + 1 / self.size)
        elif now >= self._quiet_until:
            # Once per round is enough: the other requests in flight were in the same queue.
            self.size = max(1.0, self.size * (0.5 if failed else 0.7))
            self._quiet_until = now + took_s


class _Round:
    """One pass over the requests that are not answered yet.

    The driver can time each request, but one timer per request wakes its event loop each time, which costs as much as
    the rest of the request. Here one check of the oldest request in flight is enough for all.
    """

    def __init__(
        self, connection: CqlConnection, window: Window, profile: Any, answered: Callable[[int, Any], None] | None
    ) -> None:
        self._session, self._profile, self._answered = connection.session, profile, answered
        self._timeout_s = connection.settings.request_timeout.total_seconds()
        self._window = window
        self._sent: dict[int, float] = {}  # in the order of sending
        self._changed = threading.Condition()
        self._awaited: Callable[[], bool] = _never
        self.again: dict[int, BaseException] = {}
        self.refused: dict[int, BaseException] = {}
        self.fatal: BaseException | None = None
        self.acknowledged = 0

    def run(self, requests: Sequence[Any], places: Sequence[int]) -> None:
        """Send the requests at ``places``; return once each is answered or overdue."""
        for place in places:
            if not self._admitted(place):
                break
            try:
                future = self._session.execute_async(requests[place], execution_profile=self._profile, timeout=None)
            except driver_errors.RAISED as error:
                self._failed(error, place)
                continue
            future.add_callbacks(self._done, self._failed, callback_args=(place,), errback_args=(place,))
        with self._changed:
            self._wait(lambda: not self._sent)

    def _admitted(self, place: int) -> bool:
        """Wait for room in the window; return False if the pass must end."""
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
                # Its answer may still arrive; it is then ignored.
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
            passing = driver_errors.is_transient(error)
            if passing:
                self.again[place] = error
            elif isinstance(error, driver_errors.REFUSED):
                self.refused[place] = error
            else:
                self.fatal = error
            now = time.monotonic()
            self._window.learn(now, now - sent, failed=passing)
            self._wake()


def _never() -> bool:
    return False


def send(
    connection: CqlConnection,
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
        connection: the connection.
        requests: bound statements.
        profile: the execution profile.
        doing: what is done, for people.
        answered: called with each request's place and rows, on the driver's thread.
        refused: called with the place of each request that the server will never accept, and the reason. Without it
            such a request is an error.
        suspect: gives the reason why healthy replicas might fail at a place; empty if none is known.

    Raises:
        StoreUnavailable: some were not answered, after retries.
        SchemaError: the server refused one, and ``refused`` is None; or the table is gone.
    """
    window = Window(
        connection.settings.concurrency, connection.window, latencies=connection.latencies if profile == WRITE else None
    )
    deadline = time.monotonic() + connection.patience.total_seconds()
    places: Sequence[int] = range(len(requests))
    failures: dict[int, int] = {}
    acknowledged = attempt = 0
    while places:
        turn = _Round(connection, window, profile, answered)
        turn.run(requests, places)
        acknowledged += turn.acknowledged
        connection.window = window.size
        if turn.fatal is not None:
            raise connection.failed(turn.fatal, doing) from turn.fatal
        for place, error in turn.refused.items():
            if refused is None or driver_errors.is_absent(error):
                raise connection.failed(error, doing) from error
            refused(place, driver_errors.refusal(error))
        places = []
        for place, error in turn.again.items():
            failed = isinstance(error, CoordinationFailure)
            failures[place] = failures.get(place, 0) + failed
            if refused is not None and failed and suspect(place):
                refused(place, suspect(place))
            elif refused is not None and acknowledged and failures[place] >= FAILURES:
                refused(place, f"the replicas fail at it, and at no other row ({driver_errors.server_words(error)})")
            else:
                places.append(place)
        if places:
            last = turn.again[places[-1]]
            pause = random.uniform(0, min(5.0, 0.1 * 2**attempt))
            if time.monotonic() + pause > deadline:
                reason = driver_errors.server_words(last)
                raise StoreUnavailable(
                    f"{doing}: {len(places)} of {len(requests)} requests unanswered ({reason})",
                    hint="run again; completed work is not repeated",
                ) from last
            time.sleep(pause)
            attempt += 1
