"""How fast a step goes and how long it will take, with how sure that is. Nothing here asks a store or a clock."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from jobs.watching.sums import RangeSum, Second

#: The time that is looked back on, and the equal slices that it is cut into.
_LOOK_BACK_S = 1800.0
_SLICES = 10
#: The 97.5 % quantile of Student's t with one degree of freedom less than there are slices.
_T_95 = 2.262
#: Fewer ranges than these tell no rate; fewer than these tell no interval.
_RANGES_AT_LEAST, _RANGES_FOR_INTERVAL = 2, 10


@dataclass(frozen=True, slots=True)
class Speed:
    """Rows a second and seconds left; None is what cannot be told yet.

    ``rows_per_s`` is of the last tenth of the time looked back on, ``rows_per_s_mean`` of the whole run.
    ``left_s_low`` and ``left_s_high`` bound the time left; a bound above that is None has no end in sight.
    ``quiet_s`` is how long ago the last range of this run ended.
    """

    rows_per_s: float | None = None
    rows_per_s_mean: float | None = None
    left_s: float | None = None
    left_s_low: float | None = None
    left_s_high: float | None = None
    quiet_s: float | None = None


def speed_of(total: RangeSum, since_us: int, now_us: int) -> Speed:
    """The speed of the run that began at ``since_us``.

    The time looked back on, at most half an hour, is cut into ten slices. The rows that ended in each are ten samples
    of the rate; the time left is that of their mean, and its interval that of the mean over the time to come, if that
    is like the time looked back on (a prediction interval of 95 %, by Student's t).
    """
    run = {second: what for second, what in total.ended.items() if second >= since_us // 1_000_000}
    if not run:
        return Speed()
    now_s = now_us / 1e6
    quiet_s = max(0.0, now_s - max(run) - 1)
    # What was under way when the first range ended is not in that range's rows: the rate is counted from then on.
    first = min(run)
    rows = sum(what.rows for what in run.values())
    mean = rows / max(now_s - min(what.began_s for what in run.values()), 1.0)
    later = {second: what for second, what in run.items() if second > first}
    if sum(what.ranges for what in later.values()) < _RANGES_AT_LEAST:
        return Speed(rows_per_s_mean=mean, quiet_s=quiet_s)
    back_s = min(now_s - first - 1, _LOOK_BACK_S)
    rates, ranges = _slices(later, now_s, max(back_s, 1.0))
    left = _left(total.rows_left, rates, ranges, max(back_s, 1.0) / _SLICES)
    return Speed(rates[-1], mean, *left, quiet_s)


def _slices(later: dict[int, Second], now_s: float, back_s: float) -> tuple[list[float], int]:
    """The rate in each slice, the oldest first, and the ranges in all of them."""
    slice_s, from_s = back_s / _SLICES, now_s - back_s
    rows, ranges = [0] * _SLICES, 0
    for second, what in later.items():
        place = int((second + 0.5 - from_s) // slice_s)
        if place >= 0:
            rows[min(place, _SLICES - 1)] += what.rows
            ranges += what.ranges
    return [each / slice_s for each in rows], ranges


def _left(
    rows: float | None, rates: list[float], ranges: int, slice_s: float
) -> tuple[float | None, float | None, float | None]:
    mean = sum(rates) / len(rates)
    if rows is None or mean <= 0:
        return None, None, None
    left = rows / mean
    if ranges < _RANGES_FOR_INTERVAL:
        return left, None, None
    spread = sqrt(sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1))
    half = _T_95 * spread * sqrt(1 / len(rates) + slice_s / max(left, slice_s))
    return left, rows / (mean + half), rows / (mean - half) if mean > half else None
