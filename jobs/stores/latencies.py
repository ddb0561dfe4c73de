"""What writes took: kept by a store until somebody asks, and never more than a few thousand of them."""

from __future__ import annotations

from collections import deque

#: Seconds, oldest first. Appended to from any thread.
Latencies = deque[float]
_MOST = 4096


def new_latencies() -> Latencies:
    """None yet."""
    return deque(maxlen=_MOST)


def drained(took: Latencies) -> list[float]:
    """All of them, and none is kept."""
    return [took.popleft() for _ in range(len(took))]
