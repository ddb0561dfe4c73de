"""A world whose migration is prepared, and ranges written as a run writes them."""

from __future__ import annotations

import pytest

from embedshift.catalog.ranges import Counts, RangeRecord, read_ranges, write_ranges
from tests.world import World, some_articles


@pytest.fixture
def world(new_world) -> World:
    world = new_world(load={"ranges": 40}, cutover={"lease": "5s"})
    world.create_source(some_articles(40))
    world.step("prepare")
    return world


def carry(world: World, count: int, step: str = "load", *, state: str = "done", attempts: int = 1) -> None:
    """Record this outcome for a number of further ranges."""
    planned = [each for each in read_ranges(world.store, world.migration.id, step) if each.state == "planned"]
    records = [RangeRecord(each.range, state, Counts(5, 4, 0, 1), attempts, seconds=0.5) for each in planned[:count]]
    write_ranges(world.store, world.migration.id, step, records)
