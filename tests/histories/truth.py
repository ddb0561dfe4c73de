"""A model of two tables, kept apart from the program: what was written, and what must therefore be there.

It follows docs/timestamps.md: of two writes of a cell the later wins; at equal times a deletion wins over a value, a
value that expires over one that does not, and of two values the greater. What has expired still hides what is older.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tests.world import Cells

CARRIED = ("title", "content", "views")
TEXT = ("title", "content")
#: Seconds that two readings of one TTL may differ by.
TTL_SLACK_S = 2


@dataclass(frozen=True)
class Cell:
    """One write of a cell: None deletes it; ``ends_s`` is when it expires, None never."""

    value: Any
    at_us: int
    ends_s: int | None = None

    @property
    def rank(self) -> tuple[Any, ...]:
        """Of two cells the greater one stays."""
        if self.value is None:
            return self.at_us, 2, 0
        return self.at_us, int(self.ends_s is not None), self.ends_s or 0, self.value

    def lives(self, now_s: int) -> bool:
        return self.value is not None and (self.ends_s is None or self.ends_s > now_s)


@dataclass
class Row:
    """What is known of one key. ``made_us`` is the newest time of its vector; ``newest_us`` that of any write."""

    cells: dict[str, Cell] = field(default_factory=dict)
    deleted_us: int = -1
    made_us: int = -1
    newest_us: int = -1

    def put(self, name: str, cell: Cell) -> None:
        self.newest_us = max(self.newest_us, cell.at_us)
        present = self.cells.get(name)
        if cell.at_us > self.deleted_us and (present is None or cell.rank > present.rank):
            self.cells[name] = cell

    def make(self, at_us: int) -> None:
        """The vector was written."""
        self.newest_us = max(self.newest_us, at_us)
        if at_us > self.deleted_us:
            self.made_us = max(self.made_us, at_us)

    def delete(self, at_us: int) -> None:
        self.deleted_us = max(self.deleted_us, at_us)
        self.cells = {name: cell for name, cell in self.cells.items() if cell.at_us > self.deleted_us}
        if self.made_us <= self.deleted_us:
            self.made_us = -1

    def living(self, now_s: int) -> dict[str, Cell]:
        return {name: cell for name, cell in self.cells.items() if cell.lives(now_s)}

    def text(self, now_s: int) -> tuple[Any, ...]:
        living = self.living(now_s)
        return tuple(living[name].value if name in living else None for name in TEXT)

    def has_text(self, now_s: int) -> bool:
        """Whether there is anything to embed: white space is not."""
        return any(value is not None and value.strip() for value in self.text(now_s))


class Truth:
    """What one table must hold, by key."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        #: Keys whose vector the application has left to the pipeline.
        self.stale: set[str] = set()

    def row(self, key: str) -> Row:
        return self.rows.setdefault(key, Row())

    def texts(self, now_s: int) -> dict[str, tuple[Any, ...]]:
        return {key: row.text(now_s) for key, row in self.rows.items()}


def carry(
    source: Truth,
    target: Truth,
    there: Collection[str],
    now_s: int,
    *,
    limit_us: int | None = None,
) -> None:
    """What must be in the target once a pass from source to target has found nothing.

    Args:
        there: the keys that the source has; one without living cells may still have a row.
        limit_us: what the target got at this time or later is not deleted; None: the source is the only truth.
    """
    for key in {*source.rows, *target.rows}:
        ours, theirs = source.row(key), target.row(key)
        if key in there:
            _carry_row(ours, theirs, now_s, limit_us)
            target.stale.discard(key)
            # docs/timestamps.md, Shadowed repairs: the vector is of the whole text, and a part of it is hidden.
            if any(name not in theirs.living(now_s) for name in ours.living(now_s) if name in TEXT):
                target.stale.add(key)
        else:
            newest = max([theirs.made_us, *(cell.at_us for cell in theirs.living(now_s).values())])
            if newest >= 0 and (limit_us is None or newest < limit_us):
                theirs.delete(newest)


def _carry_row(ours: Row, theirs: Row, now_s: int, limit_us: int | None) -> None:
    before = theirs.text(now_s)
    for name in CARRIED:
        cell, other = ours.cells.get(name), theirs.cells.get(name)
        if cell is not None and cell.lives(now_s):
            theirs.put(name, cell)
        elif other is not None and other.lives(now_s) and (limit_us is None or other.at_us < limit_us):
            theirs.put(name, Cell(None, other.at_us))
    if theirs.text(now_s) != before:
        theirs.make(max([theirs.made_us, *(cell.at_us for cell in theirs.living(now_s).values())]))


def differences(found: dict[tuple[Any, ...], Cells], truth: Truth, now_s: int, keys: Collection[str]) -> list[str]:
    """Where a table is not what it must be: a line each."""
    lines = []
    for key in sorted(keys):
        wanted = truth.row(key).living(now_s)
        cells = found.get((key,), {})
        have = {name: cell for name, cell in cells.items() if name in CARRIED}
        if have.keys() != wanted.keys() or not all(_same(have[name], wanted[name], now_s) for name in wanted):
            lines.append(f"{key} is {have} and must be {wanted}")
    return lines


def _same(found: tuple[Any, int, int | None], wanted: Cell, now_s: int) -> bool:
    value, at_us, left_s = found
    if (value, at_us, left_s is None) != (wanted.value, wanted.at_us, wanted.ends_s is None):
        return False
    return left_s is None or wanted.ends_s is None or abs(now_s + left_s - wanted.ends_s) <= TTL_SLACK_S
