"""Worlds that are migrated in this process, without Spark, and the validation of them by the very same code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedshift.steps.validate import case_of, more_of
from embedshift.stores.model import Column
from embedshift.tokens import WHOLE_RING
from embedshift.validation.questions import Question
from embedshift.validation.survey import Look, survey_range
from embedshift.validation.truncation import cut_by
from embedshift.validation.validation import NEIGHBOURS, examine
from tests.small_models import POISON, words
from tests.world import ARTICLE, HOUR_US, Row, World, now_us

#: Small samples, and no searches timed: what is measured here is told by the tests.
QUICK = {"probes": 50, "sample": 200, "reembed_sample": 500, "latency_searches": 0}


def invented(count: int) -> list[Row]:
    """Articles of real words in no order, each text another one."""
    chance, at_us = random.Random(1), now_us() - HOUR_US
    known = [word for word in words() if word.isalpha() and word != POISON]
    return [
        {
            "id": f"a{number:05}",
            "title": (" ".join(chance.sample(known, 4)), at_us),
            "content": (" ".join(chance.sample(known, chance.randint(5, 40))), at_us),
            "views": (number, at_us),
        }
        for number in range(count)
    ]


def migrate(world: World, rows: list[Row]) -> None:
    """Fill the source, and do by hand what prepare, load and index do."""
    world.create_source(world.embedded(world.old_model(), *rows))
    world.step("prepare")
    world.carry("sync/1")
    world.store.create_index(world.migration.target.index)


@contextmanager
def world_in(folder: Path, models: tuple[Any, Any], **validation: Any) -> Iterator[World]:
    """A world whose store lies in a folder, perhaps a migrated one already."""
    columns = (*ARTICLE, Column("views", "int"))
    world = World(folder, models, columns=columns, validation={**QUICK, **validation})
    try:
        yield world
    finally:
        world.close()


def validated(world: World, questions: list[Question] | None = None) -> dict[str, Any]:
    """The record of a validation; its survey is made in this process."""
    asked = questions or []
    case = case_of(world.settings, world.store, world.migration, asked)

    def surveyed(probes: Any) -> Any:
        cut = cut_by(case.new.model())
        look = Look(probes=probes, k=NEIGHBOURS, cut=cut, again_after_s=0)
        return survey_range(world.store, case.subject, WHOLE_RING, look)

    return examine(case, surveyed, more_of(world.settings, world.migration, asked))


def failed(report: dict[str, Any]) -> set[str]:
    """The names of the checks that did not pass."""
    return {check["name"] for check in report["checks"] if check["passed"] is False}
