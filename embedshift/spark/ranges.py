"""How the ring is cut: by the table's size and the pieces it lies in, never into more ranges than its rows deserve."""

from __future__ import annotations

from itertools import groupby
from math import ceil
from typing import Literal

from embedshift.stores.contract import Store
from embedshift.stores.model import Estimate, Piece
from embedshift.tokens import TokenRange

#: Rows of one range where the table is large: about a minute of a small model on one core.
_ROWS_A_RANGE = 5_000
#: A small table is cut so that every core has some ranges, but none of fewer rows than these.
_RANGES_AT_LEAST, _ROWS_AT_LEAST = 16, 50
#: Most ranges of a step: what the catalog keeps well, and Spark schedules in seconds.
_RANGES_MAX = 100_000
#: A task reads half as much again as ranges hold on average, and at least this, before it leaves the rest to others.
_TASK_SHARE, _TASK_ROWS_AT_LEAST, _TASK_BYTES_AT_LEAST = 1.5, 1_000, 16 * 1024 * 1024
#: A rest is cut into so many parts for each that would be as full as what was read, to leave room in every part; and
#: into so many at most: where it deserves more, the tasks of these leave rests of their own.
_ROOM, _PARTS_MAX = 1.25, 64


def plan_ranges(store: Store, table: str, ranges: int | Literal["auto"]) -> list[TokenRange]:
    """Cut the whole ring for a table.

    Args:
        ranges: how many, about; ``auto`` goes by the store's estimate of the rows.
    """
    wanted = ranges if isinstance(ranges, int) else ranges_for(store.estimate(table).rows)
    return cut(store.ring(table), wanted)


def ranges_for(rows: int) -> int:
    """How many ranges a table of so many rows deserves."""
    small = min(_RANGES_AT_LEAST, rows // _ROWS_AT_LEAST)
    return max(1, min(_RANGES_MAX, max(small, rows // _ROWS_A_RANGE)))


def task_bounds(table: Estimate, ranges: int | Literal["auto"], rows: int | Literal["auto"]) -> Estimate:
    """The most rows and bytes that one task should read, so that none takes much longer than its neighbours.

    Args:
        ranges, rows: ``load.ranges`` and ``load.task_rows``.
    """
    share = _TASK_SHARE / (ranges if isinstance(ranges, int) else ranges_for(table.rows))
    return Estimate(
        max(_TASK_ROWS_AT_LEAST, round(share * table.rows)) if rows == "auto" else rows,
        max(_TASK_BYTES_AT_LEAST, round(share * table.bytes)),
    )


def cut_rest(read: TokenRange, rest: TokenRange) -> list[TokenRange]:
    """Cut what a task has left of its range, as if it were as full as what it has read: with room in every part."""
    return rest.split(min(_PARTS_MAX, ceil(_ROOM * rest.width / read.width)))


def cut(pieces: list[Piece], wanted: int) -> list[TokenRange]:
    """Cut or join the pieces of the ring to about ``wanted`` ranges of like width.

    Pieces are cut within their bounds, so that a range stays with one set of replicas; they are joined only where there
    are more of them than the table deserves.
    """
    whole = pieces[-1].range.end - pieces[0].range.start
    if len(pieces) < wanted:
        return [part for piece in pieces for part in piece.range.split(max(1, -(-wanted * piece.range.width // whole)))]
    first = pieces[0].range.start
    groups = groupby(pieces, key=lambda piece: (piece.range.start - first) * wanted // whole)
    return [_joined([piece.range for piece in group]) for _, group in groups]


def _joined(ranges: list[TokenRange]) -> TokenRange:
    return TokenRange(ranges[0].start, ranges[-1].end)
