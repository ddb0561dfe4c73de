"""Figures of shadow reading: two tables asked the same questions. Sums and histograms, so that runs can be added up."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from math import floor, log, sqrt
from typing import Any

from embedshift.catalog.setup import check_current
from embedshift.catalog.tables import SHADOW
from embedshift.errors import SchemaError
from embedshift.stores.contract import Store
from embedshift.times import now_us

#: Each bucket of a latency is this many times as wide as the one before, so that a quantile is right to about one
#: percent.
_RATIO = 1.02
_LEAST_MS = 1e-3
_NORMAL_95 = 1.959964


@dataclass(slots=True)
class Mean:
    """The mean of a measure between 0 and 1, from its count, sum and sum of squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def count(self, value: float) -> None:
        """Add one value."""
        self.n, self.total, self.squares = self.n + 1, self.total + value, self.squares + value * value

    def __add__(self, other: Mean) -> Mean:
        return Mean(self.n + other.n, self.total + other.total, self.squares + other.squares)

    def report(self) -> dict[str, float] | None:
        """Mean and 95 % interval by the normal distribution; None if nothing was counted."""
        if self.n == 0:
            return None
        mean = self.total / self.n
        if self.n == 1:
            return {"mean": mean, "low": 0.0, "high": 1.0}
        variance = max(0.0, self.squares - self.n * mean * mean) / (self.n - 1)
        half = _NORMAL_95 * sqrt(variance / self.n)
        return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}


@dataclass(slots=True)
class Latencies:
    """A histogram of latencies; each bucket is two percent wider than the one before."""

    buckets: Counter[int] = field(default_factory=Counter)

    def count(self, seconds: float) -> None:
        """Add one latency."""
        self.buckets[floor(log(max(seconds * 1000, _LEAST_MS)) / log(_RATIO))] += 1

    def __add__(self, other: Latencies) -> Latencies:
        return Latencies(self.buckets + other.buckets)

    def report(self) -> dict[str, Any] | None:
        """Searches, p50, p95, p99 and 101 quantiles in milliseconds; None if nothing was counted."""
        searches = self.buckets.total()
        if not searches:
            return None
        quantiles = [self._quantile(percent / 100 * searches) for percent in range(101)]
        return {
            "searches": searches,
            "p50_ms": quantiles[50],
            "p95_ms": quantiles[95],
            "p99_ms": quantiles[99],
            "quantiles_ms": quantiles,
        }

    def _quantile(self, rank: float) -> float:
        before = 0
        for bucket in sorted(self.buckets):
            held = self.buckets[bucket]
            if before + held >= rank:
                return float(_RATIO ** (bucket + (rank - before) / held))
            before += held
        raise AssertionError("a rank beyond the last bucket")


@dataclass(slots=True)
class ShadowStats:
    """The figures of one run, or the sum of several. They contain no question and no article."""

    searches: int = 0
    dropped: int = 0
    failed: int = 0
    from_us: int = 0
    to_us: int = 0
    overlap: Mean = field(default_factory=Mean)
    rbo: Mean = field(default_factory=Mean)
    old: Latencies = field(default_factory=Latencies)
    new: Latencies = field(default_factory=Latencies)

    def __add__(self, other: ShadowStats) -> ShadowStats:
        starts = [each for each in (self.from_us, other.from_us) if each]
        return ShadowStats(
            self.searches + other.searches,
            self.dropped + other.dropped,
            self.failed + other.failed,
            min(starts, default=0),
            max(self.to_us, other.to_us),
            self.overlap + other.overlap,
            self.rbo + other.rbo,
            self.old + other.old,
            self.new + other.new,
        )

    def report(self) -> dict[str, Any]:
        """The figures for the record of a validation."""
        return {
            "searches": self.searches,
            "dropped": self.dropped,
            "failed": self.failed,
            "overlap@10": self.overlap.report(),
            "rbo": self.rbo.report(),
            "latency": {"old": self.old.report(), "new": self.new.report()},
            "from_us": self.from_us,
            "to_us": self.to_us,
        }

    def to_json(self) -> str:
        """The text that the catalog keeps."""
        means = {
            name: [part.n, part.total, part.squares] for name, part in (("overlap", self.overlap), ("rbo", self.rbo))
        }
        times = {"old": sorted(self.old.buckets.items()), "new": sorted(self.new.buckets.items())}
        counts = {name: getattr(self, name) for name in ("searches", "dropped", "failed", "from_us", "to_us")}
        return json.dumps({**counts, **means, **times})

    @classmethod
    def from_json(cls, text: str) -> ShadowStats:
        """The inverse of ``to_json``."""
        tree = json.loads(text)
        means = {name: Mean(*tree[name]) for name in ("overlap", "rbo")}
        times = {name: Latencies(Counter(dict(tree[name]))) for name in ("old", "new")}
        return cls(**{**tree, **means, **times})


def write_shadow(store: Store, migration: str, run: str, stats: ShadowStats) -> None:
    """Write everything that a run has measured so far, over what it wrote before."""
    row = {"migration": migration, "run": run, "stats": stats.to_json(), "updated_us": now_us()}
    store.records.put(SHADOW, [row])


def read_shadow(store: Store, migration: str) -> dict[str, Any] | None:
    """The sum over all runs, for the record of a validation; None if there was no search."""
    try:
        rows = list(store.records.select(SHADOW, {"migration": migration}))
    except SchemaError:
        if not store.records.has(SHADOW):
            return None  # the catalog of an older version
        check_current(store)
        raise
    stats = sum((ShadowStats.from_json(row["stats"]) for row in rows if row["stats"]), ShadowStats())
    return stats.report() if stats.searches else None
