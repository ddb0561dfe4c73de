"""The parts of a report, the same for every format: sections with tables and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embedshift.times import utc_text


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Args:
        caption: what it shows.
        headers: one per column.
        rows: each has as many cells as there are headers; the first cell names the row.
        numeric: the columns that contain figures.
        faulty: the rows that did not pass.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    faulty: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Args:
        id: its anchor.
        title: its heading.
        lead: what a reader should know first; may be empty.
        tables: in order.
        picture: the name of its chart in ``charts``; may be empty.
        absent: why there is nothing to show; empty if there is something.
        folded: whether a page shows it only on request.
    """

    id: str
    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    picture: str = ""
    absent: str = ""
    folded: bool = False


NONE = "–"


def number(value: Any, digits: int = 4) -> str:
    """Whole numbers with thousands separators, others with ``digits`` significant digits."""
    if not isinstance(value, int | float):
        return NONE
    if isinstance(value, int) or (float(value).is_integer() and abs(value) >= 10):
        return f"{int(value):,}"
    return f"{value:,.{digits}g}"


def share(value: Any) -> str:
    """A share or a score between 0 and 1, with four decimals."""
    return f"{value:.4f}" if isinstance(value, int | float) else NONE


def percent(value: Any) -> str:
    """A share as a percentage."""
    return f"{value * 100:.1f} %" if isinstance(value, int | float) else NONE


def signed(value: Any) -> str:
    """A difference with its sign."""
    return f"{value:+.4f}" if isinstance(value, int | float) else NONE


def span(interval: Any, form: str = ".4f") -> str:
    """An interval, ``{"low", "high"}``."""
    if not isinstance(interval, dict) or interval.get("low") is None or interval.get("high") is None:
        return NONE
    return f"{interval['low']:{form}} to {interval['high']:{form}}"


def milliseconds(value: Any) -> str:
    """A latency."""
    return f"{value:,.3g} ms" if isinstance(value, int | float) else NONE


def seconds(value: Any) -> str:
    """A duration."""
    if not isinstance(value, int | float):
        return NONE
    if value < 90:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def size(value: Any) -> str:
    """Bytes, in units of 1024."""
    if not isinstance(value, int | float):
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def moment(time_us: Any) -> str:
    """A moment, given in microseconds since the epoch."""
    if not isinstance(time_us, int) or time_us <= 0:
        return NONE
    return utc_text(time_us)
