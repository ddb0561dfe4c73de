"""How the ring is cut: by the table's size and its pieces, but never into more ranges than its rows need."""

from __future__ import annotations

from itertools import groupby
from math import ceil
from typing import Literal

from embedshift.stores.contract import Store
from embedshift.stores.model import Estimate, Piece
from embedshift.tokens import TokenRange

#: Rows of one range if the table is large: about a minute for a small model on one core.
_ROWS_A_RANGE = 5_000
#: A small table is cut so that every core has some ranges, but no range has fewer rows than this.
_RANGES_AT_LEAST, _ROWS_AT_LEAST = 16, 50
#: The maximum number of ranges of a step: the catalog can keep them, and Spark schedules them in seconds.
_RANGES_MAX = 100_000
#: A task reads 1.5 times the average rows of a range, and at least this, before it leaves the rest to others.
_TASK_SHARE, _TASK_ROWS_AT_LEAST, _TASK_BYTES_AT_LEAST = 1.5, 1_000, 16 * 1024 * 1024
#: A rest is cut into this many parts for each part that would be as full as what was read, so that no part is too full;
#: and into this many at most: if that is not enough, the tasks of these parts leave rests of their own.
_ROOM, _PARTS_MAX = 1.25, 64


def plan_ranges(store: Store, table: str, ranges: int | Literal["auto"]) -> list[TokenRange]:
    """Cut the whole ring for a table.

    Args:
        ranges: how many, approximately; ``auto`` uses the store's estimate of the rows.
    """
    wanted = ranges if isinstance(ranges, int) else ranges_for(store.estimate(table).rows)
    return cut(store.ring(table), wanted)


def ranges_for(rows: int) -> int:
    """How many ranges a table of this many rows needs."""
    small = min(_RANGES_AT_LEAST, rows // _ROWS_AT_LEAST)
    return max(1, min(_RANGES_MAX, max(small, rows // _ROWS_A_RANGE)))


def task_bounds(table: Estimate, ranges: int | Literal["auto"], rows: int | Literal["auto"]) -> Estimate:
    """The maximum rows and bytes for one task, so that none takes much longer than the others.

    Args:
        ranges, rows: ``load.ranges`` and ``load.task_rows``.
    """
    share = _TASK_SHARE / (ranges if isinstance(ranges, int) else ranges_for(table.rows))
    return Estimate(
        max(_TASK_ROWS_AT_LEAST, round(share * table.rows)) if rows == "auto" else rows,
        max(_TASK_BYTES_AT_LEAST, round(share * table.bytes)),
    )


def cut_rest(read: TokenRange, rest: TokenRange) -> list[TokenRange]:
    """Cut what a task has left of its range, assuming that it is as full as what was read."""
    return rest.split(min(_PARTS_MAX, ceil(_ROOM * rest.width / read.width)))


def cut(pieces: list[Piece], wanted: int) -> list[TokenRange]:
    """Cut or join the pieces of the ring to about ``wanted`` ranges of similar width.

    Pieces are cut within their bounds, so that a range stays on one set of replicas; they are joined only if there are
    more of them than the table needs.
    """
    whole = pieces[-1].range.end - pieces[0].range.start
    if len(pieces) < wanted:
        return [part for piece in pieces for part in piece.range.split(max(1, -(-wanted * piece.range.width // whole)))]
    first = pieces[0].range.start
    groups = groupby(pieces, key=lambda piece: (piece.range.start - first) * wanted // whole)
    return [_joined([piece.range for piece in group]) for _, group in groups]


def _joined(ranges: list[TokenRange]) -> TokenRange:
    return TokenRange(ranges[0].start, ranges[-1].end)
