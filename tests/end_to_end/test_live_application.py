"""An application that goes on writing while its table is migrated. Defends invariants 1, 2 and 3."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from embedshift.errors import CheckFailed
from tests.small_models import articles
from tests.world import HOUR_US, World, eventually, now_us, some_articles

ROWS = 120


class Application(threading.Thread):
    """Writes, changes and deletes articles without a pause, some in the source alone and some in both tables."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(name="application")
        self._world = world
        self._chance = random.Random(seed)
        self._words = sorted({word for article in articles() for word in article["content"].split()})
        self._stopped = threading.Event()
        self.error: BaseException | None = None
        self.writes = 0
        #: What the application believes to be true: the newest text of each article, None for one that it deleted.
        self.truth: dict[str, tuple[str, int] | None] = {}

    def run(self) -> None:
        try:
            while not self._stopped.wait(0.005):
                self._write()
                self.writes += 1
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self.error = error

    def stop(self) -> None:
        self._stopped.set()
        self.join(60)
        if self.error is not None:
            raise self.error

    def _write(self) -> None:
        chance, now = self._chance, now_us()
        id_ = f"a{chance.randrange(ROWS):03}" if chance.random() < 0.8 else f"new{chance.randrange(40):02}"
        # The source first, as every client of two tables does.
        tables = ["articles", "articles_v2"] if chance.random() < 0.4 else ["articles"]
        if chance.random() < 0.25:
            for table in tables:
                self._world.delete(table, {"id": id_}, at_us=now)
            self.truth[id_] = None
            return
        # Of words that the small models know: texts of unknown ones share a vector, and validate says so.
        text = " ".join(chance.choices(self._words, k=9))
        row = {"id": id_, "title": ("new", now), "content": (text, now)}
        for table in tables:
            self._world.write(table, row)
        self.truth[id_] = (text, now)


@contextmanager
def living(world: World, seed: int) -> Iterator[Application]:
    application = Application(world, seed)
    application.start()
    try:
        yield application
    finally:
        application.stop()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_an_application_writes_during_load_and_index_is_in_the_target_after_sync(new_world, spark, seed):
    world = new_world(load={"ranges": 24, "window_rows": 16})
    world.create_source(some_articles(ROWS, now_us() - HOUR_US))
    world.step("prepare")
    # The application never rests, so the sync before the index accepts what it has written in the meantime.
    world.with_settings(sync={"until": ROWS})
    with living(world, seed) as application:
        world.steps("load", "sync", "index")
    assert application.writes > 10
    world.with_settings(sync={"until": 0})
    world.step("sync")
    world.assert_migrated()
    found = world.read("articles_v2")
    for id_, last in application.truth.items():
        if last is None:
            assert (id_,) not in found, f"{id_} was resurrected"
        else:
            assert found[(id_,)]["content"][:2] == last, f"the write to {id_} was lost"
    world.steps("validate", "cutover")
    world.assert_migrated()


def test_sync_beside_an_application_that_never_rests_gives_up_and_says_so(new_world, spark):
    world = new_world(sync={"passes": 2})
    world.create_source(some_articles(ROWS, now_us() - HOUR_US))
    world.steps("prepare", "load", "sync", "index")
    with (
        living(world, 3) as application,
        pytest.raises(CheckFailed, match=r"the tables still differ by \d+ rows after 2 passes.*sync\.until"),
    ):
        world.step("sync")
    assert application.writes > 0
    world.with_settings(sync={"passes": 10})
    world.step("sync")
    world.assert_migrated()


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_application_wins_in_whatever_order_writes_arrive(new_world, spark, order):
    """Invariant 3: a newer write of the application to the target stays, whether the load comes before it or after."""
    world = new_world()
    world.create_source(some_articles(30, now_us() - HOUR_US))
    world.step("prepare")
    now = now_us()
    newer = {"id": "a003", "title": ("newer", now), "content": ("new application", now)}
    model = world.migration.target.model
    if order == "before":
        world.write("articles_v2", *world.embedded(model, newer))
    world.step("load")
    if order == "after":
        world.write("articles_v2", *world.embedded(model, newer))
    written = world.read("articles_v2")[("a003",)]
    assert written["content"][:2] == ("new application", now)
    assert written["title"][:2] == ("newer", now)
    world.assert_embedded("articles_v2", model, only=[("a003",)])
    # The other table gets the same write a moment later; sync finds both agreed.
    world.write("articles", newer)
    world.steps("sync", "index", "sync")
    assert world.read("articles_v2")[("a003",)]["content"][:2] == ("new application", now)
    world.assert_migrated()


def test_a_row_that_expires_at_the_source_expires_in_the_target(new_world, spark):
    """Invariant 1: the remaining TTL is carried, so that no copy outlives its original."""
    world = new_world()
    moment = now_us()
    rows = some_articles(20, moment - HOUR_US)
    ending = {"id": "ending", "title": ("ends", moment, 6), "content": ("soon", moment, 6)}
    world.create_source([*rows, ending])
    world.steps("prepare", "load")
    cells = world.read("articles_v2").get(("ending",))
    if cells is not None:  # on a machine so slow that six seconds have passed it is gone already
        assert all(cell[2] is not None and cell[2] <= 6 for cell in cells.values())
    eventually(lambda: ("ending",) not in world.read("articles"))
    eventually(lambda: ("ending",) not in world.read("articles_v2"), deadline_s=5)
    assert len(world.read("articles_v2")) == 20
