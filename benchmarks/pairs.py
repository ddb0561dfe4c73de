"""Two ways to do the same, measured in turns; the result is the ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

#: Does a piece of work and returns its rate: units per second, more is better.
Rate = Callable[[], float]


class LeftOut(Exception):
    """A measure cannot be made on this machine; the error says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the benchmark.

    Args:
        against: what it was measured against.
        unit: of both rates, such as ``documents/s``.
        ours: one rate per pair.
        theirs: the same for the other side, in the same order.
        goal: the minimum for the median of the ratios; if ``most``, the maximum.
        most: whether less is better.
        note: what one must know to read the result.
    """

    name: str
    against: str
    unit: str
    ours: list[float]
    theirs: list[float]
    goal: float | None = None
    most: bool = False
    note: str = ""
    ratios: list[float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)])

    @property
    def ratio(self) -> float:
        """The median of the ratios of the pairs."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.most else self.ratio >= self.goal

    def tree(self) -> dict[str, Any]:
        """The result for the JSON record."""
        return {
            "name": self.name,
            "against": self.against,
            "unit": self.unit,
            "ours": [round(each, 3) for each in self.ours],
            "theirs": [round(each, 3) for each in self.theirs],
            "ratio": round(self.ratio, 3),
            "least": round(min(self.ratios), 3),
            "greatest": round(max(self.ratios), 3),
            "goal": self.goal,
            "most": self.most,
            "reached": self.reached,
            "note": self.note,
        }


def results_of(measures: Iterable[Callable[[], Result]]) -> list[Result]:
    """The results of measures, as far as this machine can make them. Raises LeftOut if it cannot make the first."""
    results: list[Result] = []
    for measure in measures:
        try:
            results.append(measure())
        except LeftOut:
            if not results:
                raise
    return results


def in_pairs(ours: Rate, theirs: Rate, pairs: int) -> tuple[list[float], list[float]]:
    """Measure both in turns; who goes first alternates. A pair before them warms up and does not count."""
    made: list[tuple[float, float]] = []
    for turn in range(pairs + 1):
        if turn % 2:
            second = theirs()
            made.append((ours(), second))
        else:
            first = ours()
            made.append((first, theirs()))
    return [each[0] for each in made[1:]], [each[1] for each in made[1:]]


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Units per second of work that returns how many it did: by the clock, and by this process's own processor time."""
    started, busy = time.perf_counter(), time.process_time()
    done = work()
    return done / (time.perf_counter() - started), done / (time.process_time() - busy)


def in_timed_pairs(
    ours: Callable[[], int], theirs: Callable[[], int], pairs: int
) -> tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]]:
    """Like ``in_pairs``, for work that returns its count: rates by the clock, and rates per core."""
    cores: tuple[list[float], list[float]] = ([], [])

    def rate(work: Callable[[], int], kept: list[float]) -> float:
        clock, core = timed(work)
        kept.append(core)
        return clock

    clocks = in_pairs(lambda: rate(ours, cores[0]), lambda: rate(theirs, cores[1]), pairs)
    return clocks, (cores[0][1:], cores[1][1:])
