"""Reading a table into Arrow, compared with the bare driver, which makes an object of every cell."""

from __future__ import annotations

from benchmarks.bare_driver import paged, session_of
from benchmarks.corpus import log_normal
from benchmarks.pairs import Result, in_timed_pairs
from benchmarks.scenes import fill, scene
from embedshift.tokens import WHOLE_RING

_DRIVER = "the bare driver paging the same columns"


def measure(*, quick: bool) -> list[Result]:
    """Text with write times and TTLs, as a load reads it; then vectors."""
    rows, pairs = (3000, 2) if quick else (20_000, 5)
    results = []
    with scene("Cassandra") as world, session_of(world) as session:
        table = fill(world, log_normal(rows))
        for what, values, goals in (
            ("text", ("title", "content"), (None, 1.0)),
            ("vectors", ("embedding",), (None, 5.0)),
        ):
            times = [name for name in values if name != "embedding"]
            cells = [
                "token(id)",
                "id",
                *values,
                *(f"{form}({name})" for name in times for form in ("writetime", "ttl")),
            ]

            def ours(values: tuple[str, ...] = values, times: list[str] = times) -> int:
                found = world.store.scan(table, WHOLE_RING, values=list(values), times=times)
                return sum(batch.num_rows for batch in found)

            def theirs(cells: list[str] = cells) -> int:
                return paged(session, "articles", cells)

            clock, core = in_timed_pairs(ours, theirs, pairs)
            for name, unit, rates, goal in (
                (f"reading {what}, a core of the client", "rows/s of processor time", core, goals[1]),
                (f"reading {what}, by the clock", "rows/s, the server beside it", clock, goals[0]),
            ):
                results.append(Result(name, _DRIVER, unit, *rates, goal, note=f"{rows:,} rows"))
    return results
