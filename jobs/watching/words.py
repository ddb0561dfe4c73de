"""A standing in words: the same lines on a terminal, in a log and on the page."""

from __future__ import annotations

from datetime import UTC, datetime

from jobs.reporting.figures import moment, number, percent, seconds
from jobs.watching.speed import Speed
from jobs.watching.standing import Standing, Work

#: Marks of a step: done, running, to come.
MARKS = {"done": "✓", "running": "▶", "to come": "·"}

Row = tuple[str, str]


def headline(standing: Standing) -> str:
    """What runs, or that nothing does."""
    if standing.migration is None:
        return "no migration yet"
    state = (standing.state or "").replace("_", " ")
    return f"{standing.running} is running" if standing.running else f"{state}; nothing is running"


def rows(standing: Standing) -> list[Row]:
    """Label and text of everything but the steps and the slowest ranges."""
    table = f"{standing.table}, version {standing.version}" if standing.table else "none yet"
    found = [("alias", f"{standing.alias} → {table}")]
    if standing.migration is not None:
        found += [("migration", f"{standing.migration}, model {standing.model}")]
    if standing.owner:
        found += [("run", f"{standing.owner}, since {moment(standing.since_us)}")]
    if standing.slowed:
        found += [("held up", standing.slowed)]
    if standing.work is not None:
        found += _work(standing.work)
    if standing.migration is not None:
        found += [("dead letters", number(standing.dead_letters))]
    return [*found, ("next", standing.next)] if standing.next else found


def _work(work: Work) -> list[Row]:
    speed = work.speed
    found = [
        ("ranges", f"{number(work.done)} of {number(work.ranges)} done ({percent(work.share)}), {work.failed} failed"),
        (
            "rows",
            f"{number(work.rows)} read: {number(work.written)} written, {number(work.unchanged)} unchanged, "
            f"{number(work.dead)} dead; {number(work.deleted)} deleted",
        ),
    ]
    if speed.rows_per_s_mean is not None:
        found += [("rate", _rate(speed)), ("time left", time_left(work))]
    if speed.quiet_s is not None:
        found += [("last range", f"ended {_span(speed.quiet_s)} ago")]
    return [*found, ("tries again", f"{_many(work.retries, 'retry', 'retries')}, {_many(work.splits, 'split')}")]


def _many(count: int, one: str, several: str = "") -> str:
    return f"{number(count)} {one if count == 1 else several or one + 's'}"


def _rate(speed: Speed) -> str:
    mean = f"{speed.rows_per_s_mean:,.0f} rows/s on average"
    return mean if speed.rows_per_s is None else f"{speed.rows_per_s:,.0f} rows/s now, {mean}"


def time_left(work: Work) -> str:
    """How long the step will take, with its 95 % interval."""
    speed = work.speed
    if work.done == work.ranges:
        return "none"
    if speed.left_s is None:
        return "too early to say"
    if speed.left_s_low is None:
        return f"about {_span(speed.left_s)}, by few ranges"
    if speed.left_s_high is None:
        return f"about {_span(speed.left_s)}, {_span(speed.left_s_low)} at least"
    return f"about {_span(speed.left_s)}, {_span(speed.left_s_low)} to {_span(speed.left_s_high)}"


def _span(value: float) -> str:
    return f"{round(value)} s" if value < 90 else seconds(value)


def slowest(standing: Standing) -> list[tuple[str, ...]]:
    """The slowest ranges, as cells under ``SLOWEST_HEAD``."""
    ranges = standing.work.slowest if standing.work else ()
    return [
        (f"({each.start}, {each.end}]", seconds(each.seconds), number(each.rows), str(each.attempts), each.state)
        for each in ranges
    ]


SLOWEST_HEAD = ("token range", "time", "rows", "tries", "state")


def line(standing: Standing) -> str:
    """Everything that changes, in one line of a log."""
    clock = datetime.fromtimestamp(standing.at_us / 1e6, UTC).strftime("%H:%M:%S")
    parts = [headline(standing)]
    work = standing.work
    if standing.running and work is not None:
        parts = [work.step, f"{work.done}/{work.ranges} ranges", f"{number(work.rows)} rows"]
        if work.speed.rows_per_s_mean is not None:
            parts += [_rate(work.speed), f"time left {time_left(work)}"]
        parts += [_many(work.retries, "retry", "retries"), _many(work.splits, "split"), f"{work.failed} failed"]
    if standing.migration is not None:
        parts += [_many(standing.dead_letters, "dead letter")]
    if standing.slowed:
        parts += [standing.slowed]
    return f"{clock}  {'; '.join(parts)}"
