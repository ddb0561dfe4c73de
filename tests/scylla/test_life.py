"""A whole migration on ScyllaDB while applications write: no write is refused, and each index has what its table has.

A write with a time of before the index is refused there, and one that arrives late never reaches the index.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedshift.articles.client import Articles
from embedshift.articles.delete import add_soft_delete
from embedshift.catalog.alias import create_alias
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.setup import ensure_catalog
from embedshift.stores.model import Column
from tests.articles.applications import WORDS, Application, assert_true, calls_of, truth_of
from tests.scylla.servers import Server
from tests.scylla.worlds import assert_indexed, scylla_world
from tests.world import ARTICLE, HOUR_US, World, batch_of, eventually, now_us, some_articles

if TYPE_CHECKING:
    from pyspark import SparkContext

STILL = 60


class PlainWriter:
    """A program that knows the old table and neither alias nor vectors; its clock may be ahead of the server's."""

    def __init__(self, world: World, ahead_us: int) -> None:
        self._world, self._ahead_us = world, ahead_us
        self._chance, self._stopped = random.Random(7), threading.Event()
        self._thread = threading.Thread(target=self._run, name="plain-writer")
        self.truth: dict[str, dict[str, Any]] = {}
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                id_, at = f"p{self._chance.randrange(20)}", now_us() + self._ahead_us
                if id_ in self.truth and self._chance.random() < 0.4:
                    self._world.delete("articles", {"id": id_}, at_us=at)
                    del self.truth[id_]
                else:
                    self._write(id_, at)
                time.sleep(0.2)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self.error = error

    def _write(self, id_: str, at_us: int) -> None:
        text = {name: " ".join(self._chance.choices(WORDS, k=6)) for name in ("title", "content")}
        row = {"id": id_, **{name: (text[name], at_us) for name in text}}
        table = self._world.store.describe("articles")
        if refused := self._world.store.write(table, batch_of(table, [row])):
            # The server takes nothing from more than five seconds ahead, and a program that is told so knows it.
            assert "from the future" in refused[0].reason
            assert self._ahead_us > 5_000_000
        else:
            self.truth[id_] = {"active": True, **text}

    def __enter__(self) -> PlainWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(60)
        # What its clock has written in the future is, until then, newer than anything that the pipeline may write.
        time.sleep(self._ahead_us / 1e6)
        if self.error is not None:
            raise self.error


@pytest.fixture
def world(tmp_path: Path, old_model: Path, new_model: Path, server: Server, spark: SparkContext) -> Iterator[World]:
    columns = (*ARTICLE, Column("views", "int"))
    options: dict[str, Any] = {
        "cutover": {"client_cache": "500ms", "drift": 0.5},
        "sync": {"clock_skew": "10ms", "passes": 20, "until": 8},
        "validation": {"probes": 10, "reembed_sample": 10, "latency_searches": 0, "recall_at_10": 0.3},
        "load": {"ranges": 4},
    }
    with scylla_world(tmp_path / "world", (old_model, new_model), server, columns=columns, **options) as world:
        ensure_catalog(world.store)
        rows = some_articles(STILL, now_us() - HOUR_US)
        world.create_source(world.embedded(world.old_model(), *rows), before_index=True)
        create_alias(
            world.store, "articles", live_vector_table(world.settings, world.store, world.store.describe("articles"))
        )
        add_soft_delete(world.settings, world.store)
        yield world


@pytest.mark.long
@pytest.mark.parametrize("ahead_s", [0, 4, 8])
def test_the_whole_life(world: World, server: Server, ahead_s: int) -> None:
    clients = [Articles.open(world.config) for _ in range(2)]
    applications = [Application(client, number) for number, client in enumerate(clients)]
    for each in applications:
        each.start()

    def grow(by: int = 40) -> None:
        goal = calls_of(applications).total() + by
        eventually(
            lambda: any(each.error for each in applications) or calls_of(applications).total() >= goal, deadline_s=120
        )

    try:
        with PlainWriter(world, ahead_s * 1_000_000) as plain:
            world.steps("prepare", "load", "sync", "index")
            grow()
        world.steps("sync", "validate", "cutover")
        grow()
        world.step("rollback")
        grow()
        world.steps("sync", "validate", "cutover")
        grow()
        world.step("sync")
    finally:
        for each in applications:
            each.stop()
        for client in clients:
            client.close()
    assert not list(read_dead_letters(world.store, world.migration.id))
    world.step("sync")
    assert_true(world, truth_of(applications), ("articles", "articles_v2"))
    assert_true(world, plain.truth, ("articles", "articles_v2"), among="p")
    world.assert_same()
    world.assert_embedded("articles_v2", world.migration.target.model)
    for table in ("articles", "articles_v2"):
        assert_indexed(world, table, server)
    world.step("retire")
    assert_indexed(world, "articles_v2", server)
