"""Every short history of one article around a switch and the way back, judged by what was acknowledged.

The random histories are long, and seldom come to the moments at which a row may be taken for new, or for deleted.
Invariants 1 and 13.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

from tests.histories.acknowledged import Action, Order, Place
from tests.histories.faults import Fault

#: In the short run so many of them, drawn by the seed; with HISTORIES=20 a hundred and twenty.
SOME = round(6 * float(os.environ.get("HISTORIES") or 1))
WAY = ("prepare", "load", "sync", "index", "sync", "validate")
Deed = Callable[[Place], None]


def by(who: str, what: str) -> Deed:
    def deed(place: Place) -> None:
        place.act(Action(who, what, "c", ("title", "content", "views"), "bread", 0))

    deed.__name__ = f"{who} {what}"
    return deed


def failing(what: str, at: int) -> Deed:
    """The store does not answer to one call of a client: that to the second table, perhaps."""

    def deed(place: Place) -> None:
        action = Action("client", what, "c", ("title", "content", "views"), "bread", 0)
        place.act(action, Fault(at, "unavailable", applied=False))

    deed.__name__ = f"client {what}, failing at {at}"
    return deed


def nothing(place: Place) -> None:
    place.clock.pass_by(1)


SWITCHED = (
    nothing,
    by("client", "add"),
    by("client", "delete"),
    by("plain", "add"),
    by("plain", "delete"),
    failing("delete", 4),
    failing("deactivate", 5),
)
#: Before the migration; while the cutover waits for caches; after it, twice; while the rollback waits.
HISTORIES = list(
    product(
        (nothing, by("client", "add")),
        (nothing, by("client", "add"), by("stale", "add"), by("client", "delete")),
        SWITCHED,
        SWITCHED,
        (nothing, by("stale", "add"), by("client", "delete")),
    )
)


def test_a_short_history_of_one_article_ends_as_it_was_acknowledged(old_model: Path, new_model: Path) -> None:
    chosen = random.Random(int(os.environ.get("EMBEDSHIFT_SEED") or 0)).sample(HISTORIES, min(SOME, len(HISTORIES)))
    for deeds in chosen:
        names = ", ".join(deed.__name__ for deed in deeds)
        place = Place((old_model, new_model), Counter())
        try:
            _run(place, deeds)
        except AssertionError as error:
            raise AssertionError(f"{names}: {error}") from error
        finally:
            place.close()


def _run(place: Place, deeds: tuple[Deed, ...]) -> None:
    before, at_switch, *switched, at_return = deeds
    place.act(Action("client", "add", "a", ("title", "content", "views"), "stone", 0))
    before(place)
    for step in WAY:
        place.step(Order(step))
    place.step(Order("cutover"), waiting=[at_switch])
    place.check()
    for deed in switched:
        deed(place)
        place.check()
    place.step(Order("back"), waiting=[at_return])
    place.check()
    for step in ("sync", "validate", "cutover", "sync", "back"):
        place.step(Order(step))
        place.check()
