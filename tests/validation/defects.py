"""Defects that are planted in a migrated table, and the checks that must name them.

``python -m tests.validation.defects`` writes the table of them into docs/validation.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.settings import IndexSettings
from embedshift.stores.contract import Store
from embedshift.stores.model import Hit, Index
from tests.world import DIGEST, Cells, World, now_us

ROWS = 1000
DOCS = Path(__file__).resolve().parents[2] / "docs" / "validation.md"
BEGIN, END = "<!-- planted defects: made by tests/validation/defects.py -->\n", "<!-- end of planted defects -->\n"
#: Limits that are off by default, set for the defects that only they can show.
#: Few questions are asked, of an index that several threads build: the limits leave room for some that miss.
UNLABELLED = {"self_retrieval": 0.8, "titles_drop": 0.2}


@dataclass(frozen=True)
class Defect:
    """What is done to the table, which checks must fail, which others may, and under which settings."""

    name: str
    plant: Callable[[World], Any]
    checks: frozenset[str]
    settings: dict[str, Any] = field(default_factory=dict)
    besides: frozenset[str] = frozenset()


def rewrite(world: World, ids: list[str], change: Callable[[int, Cells], dict[str, Any]]) -> None:
    """Write vector and digest of some rows of the target again, both at one moment, with some of them changed."""
    contents, moment = world.read("articles_v2"), now_us()
    rows = []
    for at, id_ in enumerate(ids):
        cells = contents[id_,]
        values = {name: cells[name][0] for name in ("embedding", DIGEST)} | change(at, cells)
        rows.append({"id": id_, **{name: (value, moment) for name, value in values.items()}})
    world.write("articles_v2", *rows)


def some(count: int) -> list[str]:
    """Ids of articles that are there."""
    return [f"a{number:05}" for number in range(7, 7 + count)]


def lose_one_in_a_thousand(world: World) -> None:
    world.delete("articles_v2", *({"id": id_} for id_ in some(ROWS // 1000)))


def leave_orphans(world: World) -> None:
    world.delete("articles", {"id": "a00003"}, {"id": "a00005"})


def swap_two_rows(world: World) -> None:
    two = some(2)
    contents = world.read("articles_v2")
    other = [{name: contents[id_,][name][0] for name in ("embedding", DIGEST)} for id_ in reversed(two)]
    rewrite(world, two, lambda at, _: other[at])


def shift_vectors(world: World, ids: list[str]) -> None:
    """Give each row the vector of the next one, and leave it its own digest."""
    contents = world.read("articles_v2")
    vectors = [contents[id_,]["embedding"][0] for id_ in ids]
    rewrite(world, ids, lambda at, _: {"embedding": vectors[(at + 1) % len(ids)]})


def other_model(world: World, ids: list[str]) -> None:
    """Vectors of unit length from somewhere else, with the digest of the right model."""
    drawn = np.random.default_rng(3).standard_normal((len(ids), world.migration.target.model.dimension))
    units = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    rewrite(world, ids, lambda at, _: {"embedding": units[at].tolist()})


def other_fingerprint(world: World, ids: list[str]) -> None:
    """The same, written by a worker that says which model it had."""
    contents = world.read("articles_v2")
    texts = [world.text((id_,), contents[id_,]) for id_ in ids]
    vectors = [contents[id_,]["embedding"][0] for id_ in ids]
    rewrite(world, ids, lambda at, _: {DIGEST: world.digest("another model", texts[at], vectors[at])})


def longer(world: World) -> None:
    rewrite(world, some(1), lambda _, cells: {"embedding": [1.01 * each for each in cells["embedding"][0]]})


def not_a_number(world: World) -> None:
    rewrite(world, some(1), lambda _, cells: {"embedding": [float("nan"), *cells["embedding"][0][1:]]})


def constant(world: World) -> None:
    first = world.read("articles_v2")["a00001",]["embedding"][0]
    rewrite(world, some(2 * ROWS // 100), lambda *_: {"embedding": first})


def other_number(world: World) -> None:
    """A cell that is no text has another value than at the source, and the same write time."""
    (id_,) = some(1)
    written_us = world.read("articles")[id_,]["views"][1]
    world.write("articles_v2", {"id": id_, "views": (2_000_000_000, written_us)})


def poor_index(world: World) -> None:
    index = world.migration.target.index
    world.store.drop_index(index)
    options = IndexSettings(connections=2, expansion_search=4)
    world.store.create_index(Index(index.name, index.table, index.column, index.dimension, options))


def gappy_index(world: World) -> None:
    """Remove one vector in fifty from the index's file, as an index does that was built from an incomplete scan."""
    indexes: Any = world.store._indexes  # type: ignore[attr-defined]  # only the embedded store's own index can be spoilt
    replica = indexes._replica(world.migration.target.index)
    replica.forget(sorted(replica.graph.keys)[::50])
    indexes._save(replica)


class Slow:
    """The real store, whose searches of one table take ten times as long, and a thirtieth of a second more at least."""

    def __init__(self, store: Store, table: str) -> None:
        self._store = store
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def search(self, table: Any, *arguments: Any, **choices: Any) -> list[Hit]:
        started = time.perf_counter()
        hits: list[Hit] = self._store.search(table, *arguments, **choices)
        if table.name == self._table:
            time.sleep(max(0.03, 9 * (time.perf_counter() - started)))
        return hits


def slow(world: World) -> None:
    world.store = Slow(world.store, "articles_v2")  # type: ignore[assignment]  # all other calls are the real store's


def defect(name: str, plant: Callable[[World], Any], *checks: str, **settings: Any) -> Defect:
    return Defect(name, plant, frozenset(checks), settings)


_RECALL = frozenset({"recall_at_10"})
DEFECTS = [
    defect("one row in a thousand is missing", lose_one_in_a_thousand, "rows", "missing"),
    defect("rows that the source no longer has", leave_orphans, "rows", "orphans"),
    defect("two rows with each other's vector and digest", swap_two_rows, "stale"),
    defect("2 % of the rows with another row's vector below their own digest",
           lambda world: shift_vectors(world, some(ROWS // 50)), "mixed", "reembedding_differs"),
    defect("1 % of the vectors from the wrong model, below the right digest",
           lambda world: other_model(world, some(ROWS // 100)), "mixed", "reembedding_differs"),
    replace(defect("one vector of all from the wrong model, below the right digest",
                   lambda world: other_model(world, some(1)), "mixed"), besides=frozenset({"reembedding_differs"})),
    defect("1 % of the vectors from the wrong model, with its digest",
           lambda world: other_fingerprint(world, some(ROWS // 100)), "stale"),
    defect("a number that differs at one write time", other_number, "older_cells"),
    defect("a vector that is not normalised", longer, "mixed", "unit_norm"),
    defect("a vector with a NaN", not_a_number, "finite", "mixed"),
    # A graph is built by several threads: what one like this costs in recall differs from run to run.
    replace(defect("one vector for 2 % of the texts", constant, "duplicates", "mixed", "reembedding_differs"),
            besides=_RECALL),
    defect("an index of 2 connections and an expansion of 4", poor_index, "recall_at_10"),
    replace(defect("an index that lacks 2 % of the vectors", gappy_index, "index_rows"), besides=_RECALL),
    defect("every vector is another row's, and there are no questions",
           lambda world: shift_vectors(world, sorted(key[0] for key in world.read("articles_v2"))),
           "mixed", "reembedding_differs", "self_retrieval", "titles_ndcg_at_10", **UNLABELLED),
    defect("searches of the new table take ten times as long", slow, "latency_ratio",
           latency_ratio=3.0, latency_searches=4),
]  # fmt: skip
#: Planted by migrating to a worse model; see test_worse_model.
WORSE_MODEL = defect("a worse model: MiniLM to WordLlama", lambda _: None, "relevance_ndcg_at_10")


def table() -> str:
    """The defects and the checks that name them, in Markdown."""
    lines = ["| planted defect | checks that fail |", "|---|---|"]
    for each in [*DEFECTS, WORSE_MODEL]:
        limits = ", ".join(f"{name}: {value}" for name, value in each.settings.items() if name != "latency_searches")
        under = f" (with `{limits}`)" if limits else ""
        lines.append(f"| {each.name}{under} | {', '.join(f'`{name}`' for name in sorted(each.checks))} |")
    return "\n".join(lines) + "\n"


def documented() -> str:
    """The table that docs/validation.md has."""
    return DOCS.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    DOCS.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
