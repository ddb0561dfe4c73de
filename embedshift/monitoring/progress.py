"""The progress of a migration at one moment: the figures that the terminal, the page and Prometheus show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, Literal

from embedshift.catalog.alias import Alias
from embedshift.catalog.migration import Migration
from embedshift.catalog.service_account import Spent
from embedshift.catalog.states import ORDER, STATES
from embedshift.monitoring.range_totals import RangeTotal, Second

#: How far back the speed is computed, and the number of equal slices of that time.
_LOOK_BACK_S = 1800.0
_SLICES = 10
#: The 97.5 % quantile of Student's t; its degrees of freedom are one fewer than the slices.
_T_95 = 2.262
#: Fewer ranges than these give no rate; fewer than these give no interval.
_RANGES_AT_LEAST, _RANGES_FOR_INTERVAL = 2, 10


@dataclass(frozen=True, slots=True)
class Speed:
    """Rows per second and seconds left; None if that cannot be said yet.

    ``rows_per_s`` is of the last tenth of the time that is used, ``rows_per_s_mean`` of the whole run.
    ``left_s_low`` and ``left_s_high`` are the bounds of the time left; an upper bound of None means no end in sight.
    ``quiet_s`` is how long ago the last range of this run ended.
    """

    rows_per_s: float | None = None
    rows_per_s_mean: float | None = None
    left_s: float | None = None
    left_s_low: float | None = None
    left_s_high: float | None = None
    quiet_s: float | None = None


def speed_of(total: RangeTotal, since_us: int, now_us: int) -> Speed:
    """The speed of the run that began at ``since_us``.

    The last half hour at most is cut into ten slices. The rows that ended in each slice are ten samples of the rate.
    The time left uses their mean, and its interval is the prediction interval of 95 % by Student's t for the mean over
    the coming time, if that is like the past time.
    """
    run = {second: what for second, what in total.ended.items() if second >= since_us // 1_000_000}
    if not run:
        return Speed()
    now_s = now_us / 1e6
    quiet_s = max(0.0, now_s - max(run) - 1)
    # Work that was running when the first range ended is not in that range's rows: the rate counts from then on.
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
    """The rate in each slice, oldest first, and the number of ranges in all of them."""
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


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a migration: done, running, or still to come."""

    name: str
    state: Literal["done", "running", "to come"]


@dataclass(frozen=True, slots=True)
class SlowRange:
    """One of the slowest ranges of the step."""

    start: int
    end: int
    seconds: float
    rows: int
    attempts: int
    state: str


@dataclass(frozen=True, slots=True)
class Work:
    """The ranges of a step and the counts of their rows. ``step`` is ``load``, ``sync/3`` and so on.

    ``rows`` are those of the ranges that are done, ``under_way`` those that tasks have behind them in other ranges.
    ``rows_about`` is about how many there are in all, 0 if that is not known.
    """

    step: str
    done: int
    failed: int
    ranges: int
    rows: int
    rows_about: int
    under_way: int
    rows_left: float | None
    written: int
    unchanged: int
    dead: int
    deleted: int
    retries: int
    splits: int
    speed: Speed
    slowest: tuple[SlowRange, ...]

    @property
    def share(self) -> float:
        """The share of the ranges that is done, from 0 to 1."""
        return self.done / self.ranges if self.ranges else 0.0


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """Everything that is shown. It contains no text of an article, no question and no secret.

    ``running`` is the step of the living run, None if no run owns the migration. ``doing`` is what that run does at
    this moment, and ``slowed`` why it is held up; empty if it is not.
    """

    at_us: int
    alias: str
    table: str | None
    version: int | None
    migration: str | None = None
    source: str | None = None
    target: str | None = None
    model: str | None = None
    state: str | None = None
    steps: tuple[Step, ...] = ()
    running: str | None = None
    owner: str | None = None
    since_us: int | None = None
    work: Work | None = None
    dead_letters: int = 0
    doing: str = ""
    slowed: str = ""
    services: tuple[Spent, ...] = ()
    next: str = ""

    def plain(self) -> dict[str, Any]:
        """The snapshot as JSON values."""
        return asdict(self)


def steps_of(state: str, running: str | None) -> tuple[Step, ...]:
    """Every step in order; ``running`` is added at the end if it is not one of the usual steps."""
    behind = STATES[state].done
    steps = [Step(name, "done" if at < behind else "to come") for at, name in enumerate(ORDER)]
    places = [at for at, each in enumerate(steps) if each.name == running]
    if running is not None and places:
        # Of two steps of one name it is the one that comes next; if both are done, the last one is repeated.
        steps[next((at for at in places if at >= behind), places[-1])] = Step(running, "running")
    return (*steps, Step(running, "running")) if running and running not in ORDER else tuple(steps)


def step_of_ranges(migration: Migration, running: str | None) -> str | None:
    """The name under which the catalog has the ranges of the running step; None if it has none.

    If nothing runs, these are the load's ranges, which are kept.
    """
    if running in (None, "load"):
        return "load"
    if running in ("sync", "cutover", "rollback"):
        backwards = migration.state == "rolling_back"
        if migration.facts.sync_pass_open:
            return f"{'back' if backwards else 'sync'}/{migration.facts.sync_pass}"
        return "sync/since" if running == "sync" else None
    return None


def work_of(step: str, total: RangeTotal, since_us: int, now_us: int, rows_about: int = 0, under_way: int = 0) -> Work:
    """The figures of a step's ranges, when the run began at ``since_us``; the other arguments as in ``Work``."""
    counts = total.counts
    slowest = tuple(
        SlowRange(each.range.start, each.range.end, each.seconds, each.counts.read, each.attempts, each.state)
        for each in total.slowest
    )
    return Work(
        step=step,
        done=total.done,
        failed=total.failed,
        ranges=total.ranges,
        rows=counts.read,
        rows_about=rows_about,
        under_way=under_way,
        rows_left=total.rows_left,
        written=counts.written,
        unchanged=counts.unchanged,
        dead=counts.dead,
        deleted=counts.deleted,
        retries=total.retries,
        splits=round(total.splits),
        speed=speed_of(total, since_us, now_us),
        slowest=slowest,
    )


def bare_snapshot(at_us: int, name: str, alias: Alias | None) -> ProgressSnapshot:
    """The snapshot if there is no migration."""
    table, version = (alias.target.table, alias.version) if alias else (None, None)
    return ProgressSnapshot(at_us, name, table, version, next="embedshift prepare")
