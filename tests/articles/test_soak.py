"""A minute of an application's life on Cassandra, with a whole migration, its cutover and its rollback in it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from embedshift import Articles
from embedshift.articles.delete import add_soft_delete
from embedshift.catalog.alias import create_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.stores.model import Column
from scripts.run_cassandra import CassandraCluster
from tests.articles.applications import WORDS, Application, assert_true, calls_of, truth_of
from tests.cluster.worlds import cluster_world
from tests.world import ARTICLE, World, eventually, some_articles

#: Seconds that the application lives at least, and articles that nobody changes.
LIFE_S, STILL = 10, 100
#: So that the steps, which run in the same process, get on.
PAUSE_S = 0.1


class Reader:
    """Searches all the time, and counts the tables that answer."""

    def __init__(self, articles: Articles, writers: Sequence[Application], number: int) -> None:
        self._articles = articles
        self._writers = writers
        self._chance = random.Random(number)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"reader-{number}")
        self.searches: Counter[str] = Counter()
        self.error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(120)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                gone = {each for writer in self._writers for each in writer.gone.copy().items()}
                found = {each.id for each in self._articles.search(" ".join(self._chance.choices(WORDS, k=5)), 20)}
                assert found, "a search found nothing"
                # Gone before the search began, and still gone after it: it must not have been found.
                still = {each for writer in self._writers for each in writer.gone.copy().items()}
                assert not found & {id_ for id_, _ in gone & still}
                self.searches[self._articles.live_table().name] += 1
                self._stopped.wait(PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self.error = error


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, cassandra: CassandraCluster, spark: Any) -> Any:
    columns = (*ARTICLE, Column("views", "int"))
    settings = {
        "cutover": {"client_cache": "1s", "drift": 0.9},
        "sync": {"clock_skew": "10ms", "passes": 20, "until": 5},
        # The table changes between the survey and the searches that are compared with it.
        "validation": {"recall_at_10": 0.3},
        "load": {"ranges": 8},
    }
    with cluster_world(tmp_path, (old_model, new_model), cassandra, columns=columns, **settings) as world:
        ensure_catalog(world.store)
        world.create_source(world.embedded(world.old_model(), *some_articles(STILL)))
        create_alias(
            world.store, "articles", live_vector_table(world.settings, world.store, world.store.describe("articles"))
        )
        add_soft_delete(world.settings, world.store)
        yield world


def test_an_application_lives_through_a_migration_a_cutover_and_a_rollback(world: World) -> None:
    clients = [Articles.open(world.config) for _ in range(3)]
    writers = [Application(clients[number % 2], number, PAUSE_S) for number in range(2)]
    readers = [Reader(clients[2], writers, 0)]
    born = time.monotonic()
    cutovers = []
    try:
        for each in (*writers, *readers):
            each.start()
        eventually(lambda: calls_of(writers).total() > 40 or any(each.error for each in (*writers, *readers)))
        for name in ("prepare", "load", "sync", "index", "sync", "validate", "cutover"):
            world.step(name)
        cutovers.append(world.alias.target.table)
        seen = calls_of(writers).total()
        eventually(lambda: calls_of(writers).total() > seen + 40 or any(e.error for e in (*writers, *readers)))
        world.step("rollback")
        cutovers.append(world.alias.target.table)
        while time.monotonic() - born < LIFE_S and not any(each.error for each in (*writers, *readers)):
            time.sleep(0.1)
    finally:
        for each in (*writers, *readers):
            each.stop()
        for client in clients:
            client.close()
    lived = time.monotonic() - born
    searches = sum((each.searches for each in readers), Counter())
    print(f"{lived:.0f} s: {dict(calls_of(writers))}, searches {dict(searches)}, the alias moved to {cutovers}")

    assert cutovers == ["articles_v2", "articles"]
    assert searches.keys() == {"articles", "articles_v2"}
    assert_true(world, truth_of(writers), ("articles", "articles_v2"))
    world.assert_same()
    world.assert_embedded("articles", world.old_model())
    world.assert_embedded("articles_v2", world.migration.target.model)
