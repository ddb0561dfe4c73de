"""What a report is made of: sections with tables and a picture, the same for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Args:
        caption: what it shows.
        headers: one a column.
        rows: as many cells each as there are headers; the first one names the row.
        numeric: which columns hold figures.
        faulty: which rows did not pass.
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
        lead: what a reader should know before; may be empty.
        tables: in their order.
        picture: the name of its picture in ``pictures``; may be empty.
        absent: why there is nothing to show; empty where there is.
        folded: whether a page shows it only when it is asked for.
    """

    id: str
    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    picture: str = ""
    absent: str = ""
    folded: bool = False
