"""The difference of two tables against a simple model of cells: what a pass leaves, and that a second finds nothing.

Defends invariants 1, 2 and 3: whatever was written to either side, and in whatever order, the target ends with the
newest of each cell, without the rows that the source has lost, and with the vector of the text that it then has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedshift.catalog.ranges import Counts
from embedshift.stores.model import Column
from tests.world import ARTICLE, DIGEST, World

COLUMNS = ("title", "content", "views")
WORDS = ("bread", "dough", "glass", "river", "stone", "light", "sugar", "plant", "metal", "cloud")
BASE_US = 1_700_000_000_000_000
KEYS = ("k0", "k1", "k2", "k3")
#: Seconds that may pass between two readings of one TTL.
TTL_SLACK = 2


@dataclass(frozen=True)
class Write:
    """A write of an application at a time: some columns of a row, or its deletion (``columns`` empty)."""

    key: str
    at: int
    columns: tuple[str, ...]
    erases: bool = False

    @property
    def time_us(self) -> int:
        # Deletions at odd times: at an equal time a deletion wins, and the other side does not know of it.
        return BASE_US + 2 * self.at + (1 if self.erases or not self.columns else 0)

    def cell(self, column: str) -> tuple[Any, int, int | None]:
        """Equal times are equal cells: whoever writes at a time writes the same, on either side."""
        if self.erases:
            return None, self.time_us, None
        salt = self.at + len(column) + int(self.key[1:])
        value: Any = self.at if column == "views" else f"{WORDS[salt % 10]} {WORDS[(salt * 7 + 3) % 10]} {self.at % 3}"
        return value, self.time_us, (None, 50_000, 90_000)[(salt + self.at // 30) % 3]


def writes(first: int, last: int) -> st.SearchStrategy[list[Write]]:
    columns = st.lists(st.sampled_from(COLUMNS), unique=True, max_size=3).map(tuple)
    return st.lists(
        st.builds(Write, st.sampled_from(KEYS), st.integers(first, last), columns, st.booleans()), max_size=8
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, old_model: Path, new_model: Path) -> Iterator[World]:
    columns = (*ARTICLE, Column("views", "int"))
    world = World(tmp_path_factory.mktemp("difference"), (old_model, new_model), columns=columns, digests=False)
    world.create_source()
    world.step("prepare")
    yield world
    world.close()


@pytest.fixture(scope="module")
def tables(world: World) -> Callable[[], World]:
    """Both tables, empty: a new pair for each example."""
    source, target = (world.store.describe(name) for name in ("articles", "articles_v2"))

    def fresh() -> World:
        for table in (source, target):
            world.store.drop(table.name)
            world.store.create(table)
        return world

    return fresh


def apply(world: World, table: str, found: list[Write]) -> None:
    for each in found:
        if each.columns:
            world.write(table, {"id": each.key, **{column: each.cell(column) for column in each.columns}})
        else:
            world.delete(table, {"id": each.key}, at_us=each.time_us)


Cell = tuple[Any, int, int | None]


def newest(found: list[Write], key: str, column: str) -> Cell | None:
    """What a cell ends as: a value, or a deletion (value None), or None where it was never written."""
    cells = [
        each.cell(column) if each.columns else (None, each.time_us, None)
        for each in found
        if each.key == key and (column in each.columns or not each.columns)
    ]
    return max(cells, key=lambda cell: cell[1], default=None)


def expected(source: list[Write], target: list[Write], living: set[str]) -> dict[str, dict[str, Cell]]:
    """The carried cells of the target after a pass in which the source is the truth, by key.

    A living cell of the source is taken unless the target has something newer; one that the source has not is not kept.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for key in living:
        rows[key] = {}
        for column in COLUMNS:
            ours, theirs = newest(source, key, column), newest(target, key, column)
            if ours is None or ours[0] is None:
                continue
            winner = theirs if theirs is not None and theirs[1] > ours[1] else ours
            if winner[0] is not None:
                rows[key][column] = winner
    return rows


def same(found: Cell, wanted: Cell) -> bool:
    if found[:2] != wanted[:2] or (found[2] is None) != (wanted[2] is None):
        return False
    return found[2] is None or wanted[2] is None or abs(found[2] - wanted[2]) <= TTL_SLACK


def passes(world: World, **options: Any) -> list[Counts]:
    """Passes until one is clean, as sync makes them; a marker-only row may take a second one."""
    counts = [world.carry("sync/1", read_back=True, **options)]
    while counts[-1].difference and len(counts) < 4:
        counts.append(world.carry("sync/1", read_back=True, **options))
    assert counts[-1].difference == 0
    return counts


@settings(max_examples=80)
@given(before=writes(0, 20), source=writes(21, 40), target=writes(0, 40))
@example(  # the row's newest cell is erased, then the whole row: its marker must go too
    before=[Write("k0", 5, ("title", "content")), Write("k0", 9, ("views",))],
    source=[Write("k0", 21, ())],
    target=[Write("k0", 9, ("views",), True)],
)
@example(  # a cell that only the target's application has deleted
    before=[Write("k0", 5, ("title", "content", "views"))], source=[], target=[Write("k0", 7, ("views",), True)]
)
@example(  # one part of a text is written again: the vector is of the whole text
    before=[Write("k0", 5, ("title", "content"))], source=[Write("k0", 21, ("title",))], target=[]
)
@example(  # the same text written again: to live longer, no longer for ever, and for ever now
    before=[Write("k0", 2, ("title",)), Write("k1", 2, ("title",)), Write("k2", 2, ("title",))],
    source=[Write("k0", 32, ("title",)), Write("k1", 32, ("title",)), Write("k2", 32, ("title",))],
    target=[],
)
@example(  # a row that comes back without a text
    before=[], source=[Write("k0", 30, ("views",))], target=[Write("k0", 5, ())]
)
def test_the_target_ends_with_the_newest_of_each_cell_and_a_second_pass_finds_nothing(tables, before, source, target):
    world = tables()
    apply(world, "articles", before)
    passes(world)
    apply(world, "articles", source)
    apply(world, "articles_v2", target)
    living = {key for (key,) in world.read("articles")}
    passes(world)
    after = world.carried("articles_v2")
    wanted = expected([*before, *source], target, living)
    # A row that lost every cell to deletions of the target's application is not there any more.
    assert {key for (key,) in after} <= living
    for key, cells in wanted.items():
        found = after.get((key,), {})
        assert found.keys() == cells.keys(), key
        assert all(same(found[name], cell) for name, cell in cells.items()), (key, found, cells)
    assert_vectors(world, [*before, *source], target, wanted)


def _deleted(found: list[Write], key: str) -> bool:
    return any(each.key == key and not each.columns for each in found)


def assert_vectors(world: World, source: list[Write], target: list[Write], wanted: dict[str, dict[str, Cell]]) -> None:
    """Where the text is the source's own, the vector is that text's, and lives as long as its longest-lived part."""
    model = world.migration.target.model
    contents = world.read("articles_v2")
    ours = {}
    for (key,), cells in contents.items():
        texts = ("title", "content")
        if not set(cells) - {"embedding", DIGEST} and _deleted(target, key):
            continue  # a row without any cell whose digest is older than the row's deletion in the target
        own = all(
            (newest(target, key, name) or (None, 0))[1] <= (newest(source, key, name) or (None, 0))[1] for name in texts
        )
        if not own:
            continue  # the target's application wrote it, and the vector is its own affair
        ours[(key,)] = None
        parts = [cells[name] for name in texts if name in cells]
        if parts and "embedding" in cells:
            lives = [ttl for _, _, ttl in parts]
            endless = None in lives
            found = cells["embedding"][2]
            assert (found is None) == endless, key
            assert endless or abs(found - max(lives)) <= TTL_SLACK, key
    world.assert_embedded("articles_v2", model, only=ours)
    assert all(DIGEST in contents[key] for key in ours)
