"""Another application on the same servers: what its writes take while a load runs, and while none does."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from embedshift.catalog.ranges import progress
from embedshift.operations.throttle import throttle
from embedshift.settings import load_settings
from embedshift.spark.throttle import percentile_99
from embedshift.stores import open_store
from embedshift.stores.model import Column, Table
from tests.world import World, batch_of, eventually, now_us, some_articles

#: Seconds between two of its writes, that a load has for its first range, and that its writers have to find their rate.
EVERY_S, FIRST_RANGE_S, SETTLING_S = 0.02, 60.0, 3.0
TABLE = Table("neighbour", (Column("id", "text", "partition"), Column("title", "text")))

#: The seconds that each write took, of those that began in a span of time (monotonic seconds).
Took = Callable[[float, float], list[float]]


@contextmanager
def neighbour(world: World) -> Iterator[Took]:
    """An application that writes fifty rows a second, into a table of its own and from a process of its own."""
    world.store.create(TABLE)
    context = multiprocessing.get_context("spawn")
    ended, written = context.Event(), context.Queue()
    process = context.Process(target=_write, args=(str(world.config), ended, written))
    process.start()
    seen: list[tuple[float, float]] = [written.get(timeout=120)]

    def took(since: float, until: float) -> list[float]:
        while not written.empty():
            seen.append(written.get())
        return [seconds for at, seconds in seen if since <= at <= until]

    try:
        yield took
    finally:
        ended.set()
        process.join(60)


def _write(config: str, ended: Event, written: Any) -> None:
    store = open_store(load_settings(Path(config)).store)
    number = 0
    while not ended.wait(EVERY_S):
        row = batch_of(TABLE, [{"id": f"n{number}", "title": ("write", now_us())}])
        began = time.monotonic()
        store.write(TABLE, row)
        if number >= 10:  # the first ones open connections
            written.put((began, time.monotonic() - began))
        number += 1
    store.close()


def p99_alone(took: Took, seconds: float) -> float:
    """The 99th percentile of the application's writes, in seconds, while nothing else runs."""
    began = time.monotonic()
    time.sleep(seconds)
    return percentile_99(took(began, time.monotonic()))


def p99_beside_a_load(world: World, took: Took, seconds: float) -> tuple[float, int]:
    """The same beside a load, for at most this many seconds of it; what limits the load is lifted afterwards.

    Returns:
        The 99th percentile, and the rows that the load had carried by then: none where the limit let nothing through.
    """
    span: list[float] = []
    rows: list[int] = []
    loaded = threading.Event()

    def carried() -> int:
        return progress(world.store, world.migration.id, "load").counts.read

    def lift() -> None:
        try:
            until = time.monotonic() + FIRST_RANGE_S
            eventually(lambda: carried() or loaded.is_set() or time.monotonic() > until, every_s=0.5)
            span.append(time.monotonic() + SETTLING_S)
            loaded.wait(SETTLING_S + seconds)
            span.append(time.monotonic())
            rows.append(carried())
        finally:  # a load that is still limited may never end
            world.run(throttle, off=True)

    operator = threading.Thread(target=lift)
    operator.start()
    try:
        world.step("load")
    finally:
        loaded.set()
        operator.join(SETTLING_S + seconds + 60)
    world.run(throttle, as_settings=True)
    return percentile_99(took(*span)), rows[0]


def fill(world: World, rows: int, dimension: int) -> None:
    """A source table with this many rows and vectors: real articles, each many times under ids of its own."""
    articles = some_articles(min(rows, 200))
    many = [{**row, "id": f"{row['id']}-{copy}"} for copy in range(rows // len(articles)) for row in articles]
    world.create_source(dimension=dimension)
    model = world.old_model()
    for start in range(0, len(many), 1000):
        world.write("articles", *world.embedded(model, *many[start : start + 1000]))
