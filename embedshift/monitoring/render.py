"""Progress as text: the same lines on a terminal, in a log and on the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from embedshift.monitoring.progress import ProgressSnapshot, Speed, Work
from embedshift.reporting.section import moment, number, percent, seconds

#: Marks of a step: done, running, to come.
MARKS = {"done": "✓", "running": "▶", "to come": "·"}
Row = tuple[str, str]


def headline(snapshot: ProgressSnapshot) -> str:
    """What is running, or that nothing is running."""
    if snapshot.migration is None:
        return "no migration yet"
    state = (snapshot.state or "").replace("_", " ")
    return f"{snapshot.running} is running" if snapshot.running else f"{state}; nothing is running"


def rows(snapshot: ProgressSnapshot) -> list[Row]:
    """Label and text of everything except the steps and the slowest ranges."""
    table = f"{snapshot.table}, version {snapshot.version}" if snapshot.table else "none yet"
    found = [("alias", f"{snapshot.alias} → {table}")]
    if snapshot.migration is not None:
        found += [("migration", f"{snapshot.migration}, model {snapshot.model}")]
    if snapshot.owner:
        elapsed = _span((snapshot.at_us - (snapshot.since_us or snapshot.at_us)) / 1e6)
        found += [("run", f"{snapshot.owner}, since {moment(snapshot.since_us)}, for {elapsed}")]
    if snapshot.doing:
        found += [("doing", snapshot.doing)]
    if snapshot.slowed:
        found += [("held up", snapshot.slowed)]
    if snapshot.work is not None:
        found += _work(snapshot.work)
    found += [("service", str(spent)) for spent in snapshot.services]
    if snapshot.migration is not None:
        found += [("dead letters", number(snapshot.dead_letters))]
    return [*found, ("next", snapshot.next)] if snapshot.next else found


def _work(work: Work) -> list[Row]:
    speed = work.speed
    found = [
        ("ranges", f"{number(work.done)} of {number(work.ranges)} done ({percent(work.share)}), {work.failed} failed"),
        (
            "rows",
            f"{_of_about(work)} read: {number(work.written)} written, {number(work.unchanged)} unchanged, "
            f"{number(work.dead)} dead; {number(work.deleted)} deleted",
        ),
    ]
    if speed.rows_per_s_mean is not None:
        found += [("rate", _rate(speed)), ("time left", time_left(work))]
    if speed.quiet_s is not None:
        found += [("last range", f"ended {_span(speed.quiet_s)} ago")]
    return [*found, ("retries", f"{number(work.retries)} · splits {number(work.splits)}")]


def _of_about(work: Work) -> str:
    rows = work.rows + work.under_way
    return f"{number(rows)} of about {number(work.rows_about)}" if work.rows_about > rows else number(rows)


def _dead_letters(count: int) -> str:
    return f"{number(count)} dead letter{'' if count == 1 else 's'}"


def _rate(speed: Speed) -> str:
    mean = f"{speed.rows_per_s_mean:,.0f} rows/s on average"
    return mean if speed.rows_per_s is None else f"{speed.rows_per_s:,.0f} rows/s now, {mean}"


def time_left(work: Work) -> str:
    """The time that the step will still take, with its 95 % interval."""
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


def slowest(snapshot: ProgressSnapshot) -> list[tuple[str, ...]]:
    """The slowest ranges, as cells under ``SLOWEST_HEAD``."""
    ranges = snapshot.work.slowest if snapshot.work else ()
    return [
        (f"({each.start}, {each.end}]", seconds(each.seconds), number(each.rows), str(each.attempts), each.state)
        for each in ranges
    ]


SLOWEST_HEAD = ("token range", "time", "rows", "tries", "state")


def line(snapshot: ProgressSnapshot) -> str:
    """Everything that changes, as one line for a log."""
    clock = datetime.fromtimestamp(snapshot.at_us / 1e6, UTC).strftime("%H:%M:%S")
    parts = [headline(snapshot)]
    work = snapshot.work
    if snapshot.running and work is not None:
        parts = [work.step, f"{work.done}/{work.ranges} ranges", f"{_of_about(work)} rows"]
        if work.speed.rows_per_s_mean is not None:
            parts += [_rate(work.speed), f"time left {time_left(work)}"]
        parts += [f"retries {number(work.retries)} · splits {number(work.splits)}", f"{work.failed} failed"]
    parts += [snapshot.doing] if snapshot.doing else []
    if snapshot.migration is not None:
        parts += [_dead_letters(snapshot.dead_letters)]
    if snapshot.slowed:
        parts += [snapshot.slowed]
    return f"{clock}  {'; '.join(parts)}"


_STYLES = {"done": "green", "running": "bold cyan", "to come": "dim"}


def render_terminal(snapshot: ProgressSnapshot) -> RenderableType:
    """What a terminal shows. Texts from the store are shown literally."""
    parts: list[RenderableType] = [Text(headline(snapshot), style="bold")]
    if snapshot.steps:
        steps = (Text(f"{MARKS[each.state]} {each.name}", style=_STYLES[each.state]) for each in snapshot.steps)
        parts.append(Text("  ").join(steps))
    if snapshot.work is not None:
        bar = Table.grid()  # a bar alone ends without a new line
        bar.add_row(ProgressBar(total=max(snapshot.work.ranges, 1), completed=snapshot.work.done, width=60))
        parts.append(bar)
    figures = Table.grid(padding=(0, 2))
    for label, text in rows(snapshot):
        figures.add_row(Text(label, style="dim"), Text(text))
    parts.append(figures)
    if found := slowest(snapshot):
        parts.append(_slowest(found))
    return Group(*parts)


def _slowest(found: list[tuple[str, ...]]) -> Table:
    table = Table(
        title="slowest ranges",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
        header_style="dim",
    )
    for at, head in enumerate(SLOWEST_HEAD):
        table.add_column(head, justify="right" if 1 <= at <= 3 else "left")
    for cells in found:
        table.add_row(*(Text(cell) for cell in cells))
    return table


def render_page(snapshot: ProgressSnapshot) -> dict[str, Any]:
    """The data for ``watch.js``."""
    return {
        "clock": moment(snapshot.at_us),
        "headline": headline(snapshot),
        "steps": [(MARKS[each.state], each.name, each.state) for each in snapshot.steps],
        "share": snapshot.work.share if snapshot.work else None,
        "rows": rows(snapshot),
        "head": SLOWEST_HEAD,
        "slowest": slowest(snapshot),
    }
