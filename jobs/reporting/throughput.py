"""Rows a second over the time of a load, from the catalog's ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.catalog.ranges import read_ranges
from jobs.stores.contract import Store

_BINS = 60


def throughput(store: Store, migration: str) -> dict[str, Any] | None:
    """How fast the load went.

    Each finished range counts evenly over the seconds that it took.

    Returns:
        ``edges_s`` (n + 1 seconds since the load began), ``rows_per_s`` (n), ``rows``, ``ranges``, ``seconds``,
        ``rows_per_s_mean`` and ``from_us``; None where no range that held a row is done.
    """
    done = [
        (each.ended_us, max(each.seconds, 1e-3), each.counts.read)
        for each in read_ranges(store, migration, "load")
        if each.state == "done" and each.counts.read and each.ended_us
    ]
    if not done:
        return None
    ended, took, rows = (np.array(column, np.float64) for column in zip(*done, strict=True))
    from_us = float((ended - took * 1e6).min())
    stop = (ended - from_us) / 1e6
    start = stop - took
    edges = np.linspace(0, stop.max(), min(_BINS, 4 * len(done)) + 1)
    # Rows by a moment: each range has given its share of the time that it took.
    by_then = (np.clip((edges[:, None] - start) / took, 0, 1) * rows).sum(axis=1)
    return {
        "edges_s": edges.tolist(),
        "rows_per_s": (np.diff(by_then) / np.diff(edges)).tolist(),
        "rows": int(rows.sum()),
        "ranges": len(done),
        "seconds": float(stop.max()),
        "rows_per_s_mean": float(rows.sum() / stop.max()),
        "from_us": int(from_us),
    }
