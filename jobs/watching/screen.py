"""A standing on a terminal, drawn anew at each look."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.watching.standing import Standing
from jobs.watching.words import MARKS, SLOWEST_HEAD, headline, rows, slowest

_STYLES = {"done": "green", "running": "bold cyan", "to come": "dim"}


def screen(standing: Standing) -> RenderableType:
    """What a terminal shows. Texts of the store are taken literally."""
    parts: list[RenderableType] = [Text(headline(standing), style="bold")]
    if standing.steps:
        steps = (Text(f"{MARKS[each.state]} {each.name}", style=_STYLES[each.state]) for each in standing.steps)
        parts.append(Text("  ").join(steps))
    if standing.work is not None:
        bar = Table.grid()  # a bar by itself ends without a new line
        bar.add_row(ProgressBar(total=max(standing.work.ranges, 1), completed=standing.work.done, width=60))
        parts.append(bar)
    figures = Table.grid(padding=(0, 2))
    for label, text in rows(standing):
        figures.add_row(Text(label, style="dim"), Text(text))
    parts.append(figures)
    if found := slowest(standing):
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
