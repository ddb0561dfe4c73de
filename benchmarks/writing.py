"""Writing rows with vectors into a table without a live index, compared with the driver's own bulk writing."""

from __future__ import annotations

from cassandra.concurrent import execute_concurrent_with_args

from benchmarks.bare_driver import session_of
from benchmarks.corpus import log_normal
from benchmarks.pairs import Result, in_timed_pairs
from benchmarks.scenes import cells, scene

_WINDOW = 1000
_NAMES = ("id", "title", "content", "embedding", "embedding_digest")
_THEIRS = "execute_concurrent_with_args with the driver's binding"


def measure(*, quick: bool) -> list[Result]:
    """The same rows again and again, by either."""
    rows, pairs = (2000, 2) if quick else (10_000, 5)
    articles = log_normal(rows)
    batches = [cells(articles[at : at + _WINDOW], at) for at in range(0, rows, _WINDOW)]
    marks = ", ".join("?" * len(_NAMES))
    with scene("Cassandra") as world, session_of(world) as session:
        table = world.store.describe("articles")
        insert = session.prepare(f"INSERT INTO articles ({', '.join(_NAMES)}) VALUES ({marks}) USING TIMESTAMP ?")
        parameters = [
            (*row, moment)
            for batch in batches
            for *row, moment in zip(
                *(batch.column(name).to_pylist() for name in (*_NAMES, "writetime(embedding)")), strict=True
            )
        ]

        def ours() -> int:
            for batch in batches:
                world.store.write(table, batch)
            return rows

        def theirs() -> int:
            execute_concurrent_with_args(session, insert, parameters)
            return rows

        clock, core = in_timed_pairs(ours, theirs, pairs)
    note = f"{rows:,} rows with vectors of 384 dimensions"
    return [
        Result("writing vectors, by the clock", _THEIRS, "rows/s, the server beside it", *clock, 1.5, note=note),
        Result("writing vectors, a core of the client", _THEIRS, "rows/s of processor time", *core, note=note),
    ]
