"""An operator falls asleep before each call of a step in turn, loses its lease to another one, and wakes up.

The model of what was acknowledged judges, as in the random histories, which meet few of these moments.
Invariants 1, 12 and 13.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.histories.acknowledged import Action, Order, Place
from tests.histories.faults import Fault

HISTORIES = float(os.environ.get("HISTORIES") or 1)
#: Calls of a step that are tried: in the short run one, drawn by the seed; else every n-th.
CALLS_MOST, EVERY = 400, max(1, round(80 / HISTORIES))
TO_VALIDATED = ("prepare", "load", "index", "sync", "validate")
TO_SWITCHED = (*TO_VALIDATED, "cutover")
Deed = Action | Order | Callable[[Place], None]


def article(what: str, key: str, by: str = "client") -> Action:
    return Action(by, what, key, ("title", "content", "views"), "bread", 0)


def lose_a_row(place: Place) -> None:
    """Somebody deletes in the target what nobody has deleted."""
    place.world.delete(place.prepared[-1].target.table, {"id": "a"})


@pytest.fixture
def begin(old_model: Path, new_model: Path) -> Iterator[Callable[..., Place]]:
    """Begins a history with two articles, and takes it through some steps."""
    made: list[Place] = []

    def start(*steps: str) -> Place:
        place = Place((old_model, new_model), Counter())
        made.append(place)
        place.do_all([article("add", "a"), article("add", "b")])
        for step in steps:
            result = place.step(Order(step))
            assert isinstance(result, dict), (step, result)
        return place

    yield start
    for place in made:
        place.close()


@pytest.mark.parametrize(
    ("way", "step", "during"),
    [
        pytest.param(TO_VALIDATED, "cutover", (Order("back"), Order("abort")), id="cutover, rolled back and aborted"),
        pytest.param(
            TO_VALIDATED, "cutover", (Order("back"), lose_a_row, Order("validate")), id="cutover, refused by another"
        ),
        pytest.param(TO_SWITCHED, "back", (Order("back"), Order("abort")), id="rollback, ended and aborted"),
        pytest.param(
            TO_SWITCHED,
            "back",
            (Order("back"), Order("abort"), Order("prepare"), Order("load")),
            id="rollback, and a target of the same name",
        ),
        pytest.param(TO_SWITCHED, "retire", (Order("back"), article("add", "c")), id="retire, rolled back"),
        pytest.param(
            TO_VALIDATED,
            "sync",
            (Order("sync"), Order("validate"), Order("cutover"), article("delete", "a")),
            id="sync, cut over",
        ),
        pytest.param(TO_VALIDATED, "abort", (Order("cutover"), article("add", "c")), id="abort, cut over"),
        pytest.param(
            ("prepare",),
            "load",
            (Order("abort"), Order("prepare"), article("delete", "a"), Order("load")),
            id="load, begun anew",
        ),
    ],
)
def test_a_run_that_sleeps_before_any_call_costs_nothing(
    begin: Callable[..., Place], way: Sequence[str], step: str, during: Sequence[Deed], request: pytest.FixtureRequest
) -> None:
    seed = int(os.environ.get("EMBEDSHIFT_SEED") or 0)
    drawn = [random.Random(f"{seed} {request.node.name}").randint(1, 60)]
    for at in drawn if HISTORIES <= 1 else range(1 + seed % EVERY, CALLS_MOST, EVERY):
        place = begin(*way)
        place.step(Order(step), Fault(at, "act", applied=False), during)
        struck = place.struck
        place.check()
        place.clock.pass_by(60)
        for following in ("next", "sync", "back", "back"):
            place.step(Order(following))
            place.check()
        place.close()
        if not struck:
            break
