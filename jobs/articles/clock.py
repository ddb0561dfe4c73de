"""Write times of one client: microseconds, each greater than the one before."""

from __future__ import annotations

from threading import Lock

from jobs.catalog.tables import now_us


class Clock:
    """A clock that never stands still and never goes back, so that of two writes the later one wins."""

    def __init__(self) -> None:
        self._last_us = 0
        self._lock = Lock()

    def next(self) -> int:
        """The present in microseconds since the epoch, or one more than the last answer."""
        with self._lock:
            self._last_us = max(self._last_us + 1, now_us())
            return self._last_us
