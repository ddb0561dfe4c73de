"""The table of faults and what became of the rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from scripts.check import Found, check
from tests.reliability.writer import wrong
from tests.world import World

_HEADS = (
    "fault", "during", "application", "rows", "tried again", "lost", "resurrected", "overwritten", "mixed", "seconds",
)  # fmt: skip


def table(lines: Iterable[Sequence[str]]) -> str:
    """The lines as Markdown, under their heads."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (_HEADS, ["---"] * len(_HEADS), *lines))


@dataclass
class Outcome:
    """One line. ``mixed`` counts answers that were not one model's alone; None where nobody asked."""

    fault: str
    step: str
    application: str = "none"
    rows: int = 0
    again: int = 0
    lost: int = 0
    resurrected: int = 0
    overwritten: int = 0
    mixed: int | None = None
    seconds: float = 0.0

    def judge(self, world: World, truths: Mapping[str, tuple[str, str] | None], *, back: bool = False) -> Found:
        """Count what is wrong now: by the checker, and by what the application knows to have written."""
        found = check(world.tree, back=back)
        live = world.settings.source.table if back else world.settings.target.table
        words = {key[0]: (cells["title"][0], cells["content"][0]) for key, cells in world.read(live).items()}
        lost, resurrected, overwritten = wrong(truths, words)
        self.rows = found.rows
        self.lost = found.lost + lost
        self.resurrected = found.orphans + resurrected
        self.overwritten = found.columns + overwritten
        return found

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's words."""
        mixed = "–" if self.mixed is None else str(self.mixed)
        counts = (self.rows, self.again, self.lost, self.resurrected, self.overwritten)
        return (self.fault, self.step, self.application, *map(str, counts), mixed, f"{self.seconds:.0f}")


class Matrix:
    """The lines of a run."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    @contextmanager
    def case(self, fault: str, step: str) -> Iterator[Outcome]:
        """A line; it is added however the case ends."""
        outcome, started = Outcome(fault, step), time.monotonic()
        self.outcomes.append(outcome)
        try:
            yield outcome
        finally:
            outcome.seconds = time.monotonic() - started

    @property
    def markdown(self) -> str:
        """The table."""
        return table(each.cells for each in self.outcomes)


def assert_nothing_wrong(outcome: Outcome, found: Found) -> None:
    """Not a row, not a cell, not a time, not a vector, not an answer."""
    assert found.clean, found.table()
    assert (outcome.lost, outcome.resurrected, outcome.overwritten) == (0, 0, 0), outcome
    assert not outcome.mixed, outcome


def tried_again(world: World) -> int:
    """Tries of the load's ranges beyond the first."""
    return sum(record.attempts - 1 for record in world.ranges())
