"""The benchmark's own arithmetic: ratios in pairs, goals, and what the page says of them."""

from __future__ import annotations

import pytest

from benchmarks.measures import Measure
from benchmarks.page import goal, html, spread
from benchmarks.pairs import Result, in_pairs, in_timed_pairs
from benchmarks.running import run


def result(**changes: object) -> Result:
    usual: dict[str, object] = {"ours": [30.0, 10.0, 44.0], "theirs": [10.0, 10.0, 11.0], "goal": 2.0}
    return Result("reading", "the driver", "rows/s", **(usual | changes))  # type: ignore[arg-type]


def test_a_result_is_the_median_of_the_ratios_of_its_pairs():
    made = result()
    assert made.ratios == [3.0, 1.0, 4.0]
    assert made.ratio == 3.0
    assert (made.tree()["least"], made.tree()["greatest"]) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("wanted", "most", "reached"), [(3.0, False, True), (3.1, False, False), (3.0, True, True), (2.9, True, False)]
)
def test_a_goal_is_the_least_that_is_wanted_or_the_most(wanted, most, reached):
    assert result(goal=wanted, most=most).reached is reached


def test_a_result_without_a_goal_reaches_none():
    assert result(goal=None).reached is None
    assert goal(result(goal=None).tree()) == "no goal"


def test_pairs_change_places_and_the_first_does_not_count():
    order: list[str] = []

    def rate(name: str, value: float) -> float:
        order.append(name)
        return value + len(order)

    ours, theirs = in_pairs(lambda: rate("ours", 0), lambda: rate("theirs", 100), 2)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert (ours, theirs) == ([4, 5], [103, 106])


def test_work_is_rated_by_the_clock_and_by_the_core():
    clock, core = in_timed_pairs(lambda: sum(1 for _ in range(100_000)), lambda: sum(1 for _ in range(50_000)), 2)
    assert [len(each) for each in (*clock, *core)] == [2, 2, 2, 2]
    # No process is on a core for longer than the clock runs.
    assert all(by_core >= 0.5 * by_clock for by_clock, by_core in zip(clock[0], core[0], strict=True))


def test_the_page_says_what_was_reached_what_was_missed_and_what_was_not_measured():
    missed = result(goal=5.0).tree() | {"name": "writing <vectors>"}
    record = {
        "date": "2026-01-01",
        "command": "python -m benchmarks",
        "quick": False,
        "seconds": 3,
        "machine": {"processor": "one", "memory_gib": 1.5},
        "versions": {"embedshift": "1", "python": "3"},
        "measures": [
            {"name": "reading", "title": "Reading", "results": [result().tree(), missed], "left_out": ""},
            {"name": "naive", "title": "Naive", "results": [], "left_out": "no Cassandra: no Java"},
        ],
    }
    page = html(record)
    assert "≥ 2 ×: reached" in page
    assert '<td class="missed">≥ 5 ×: missed</td>' in page
    assert "Naive: no Cassandra: no Java" in page
    assert "writing &lt;vectors&gt;" in page
    assert page.count("<svg") == 1
    assert spread(missed) == "3.00 × (1.00 to 4.00)"


def test_a_measure_without_time_or_module_is_left_out_with_the_reason():
    said: list[str] = []
    gone, late = run(
        [Measure("no_such_module", "Gone"), Measure("pairs", "Late")], quick=True, budget_s=0, say=said.append
    )
    assert (gone["results"], gone["left_out"]) == ([], "there is no such module")
    assert late["left_out"] == "the time was up before it began"
    assert said == ["Gone", "Late"]
