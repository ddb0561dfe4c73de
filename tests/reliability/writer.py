"""An application that writes its table by itself, and people who ask questions: both know what must come of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile

from embedshift import Articles
from embedshift.errors import StoreUnavailable
from scripts.run_cassandra import CassandraCluster
from tests.articles.applications import WORDS
from tests.world import DEADLINE_S, Row, World, now_us

#: Articles that the application makes, beside those of the table that it takes for its own.
NEW = 15


class Writer:
    """Inserts, updates and deletes articles of its own by plain CQL, with its own clock, at a quorum.

    A write that is not acknowledged is sent again with the same write time until it is, so that ``truth`` is certain:
    by id the title and content that were acknowledged last, None where the last thing was a deletion.

    Args:
        ids: articles of the table that are the application's from now on, with title and content.
        ahead_us: how far its clock is ahead of that of the rest of the world.
        name: what the ids of its new articles begin with.
    """

    def __init__(
        self,
        world: World,
        cluster: CassandraCluster,
        ids: Mapping[str, tuple[str, str] | None],
        ahead_us: int = 0,
        *,
        name: str = "w",
    ) -> None:
        self.truth: dict[str, tuple[str, str] | None] = {**{f"{name}{number:03}": None for number in range(NEW)}, **ids}
        self.writes = 0
        self._table = f"{world.settings.store.keyspace}.{world.settings.source.table}"
        self._ahead_us = ahead_us
        self._chance = random.Random(len(ids) + ahead_us)
        self._last_us = 0
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="application")
        profile = ExecutionProfile(consistency_level=ConsistencyLevel.QUORUM, request_timeout=5)
        profiles = {EXEC_PROFILE_DEFAULT: profile}
        self._cluster = Cluster(cluster.hosts, port=cluster.port, execution_profiles=profiles, protocol_version=4)
        self._session = self._cluster.connect()

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Leave off after the write that is under way."""
        self._stopped.set()
        self._thread.join(DEADLINE_S)

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._cluster.shutdown()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopped.wait(0.03):
                self._one(self._chance.choice(sorted(self.truth)))
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self._error = error

    def _one(self, id_: str) -> None:
        known, at_us = self.truth[id_], self._now_us()
        if known is not None and self._chance.random() < 0.4:
            self._send(f"DELETE FROM {self._table} USING TIMESTAMP %s WHERE id = %s", at_us, id_)
            self.truth[id_] = None
        elif known is not None and self._chance.random() < 0.5:
            content = self._text()
            self._send(f"UPDATE {self._table} USING TIMESTAMP %s SET content = %s WHERE id = %s", at_us, content, id_)
            self.truth[id_] = known[0], content
        else:
            title, content = self._text(), self._text()
            query = f"INSERT INTO {self._table} (id, title, content) VALUES (%s, %s, %s) USING TIMESTAMP %s"
            self._send(query, id_, title, content, at_us)
            self.truth[id_] = title, content
        self.writes += 1

    def _send(self, query: str, *values: Any) -> None:
        deadline = time.monotonic() + DEADLINE_S / 2
        while True:
            try:
                self._session.execute(query, values)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def _now_us(self) -> int:
        self._last_us = max(self._last_us + 1, now_us() + self._ahead_us)
        return self._last_us

    def _text(self) -> str:
        return " ".join(self._chance.choices(WORDS, k=6))


class Asker:
    """Asks without a pause, and looks whether each answer is one model's alone, by vectors made apart from the program.

    Args:
        still: articles that nobody changes.
    """

    def __init__(self, world: World, still: list[Row], number: int) -> None:
        self.answers = self.mixed = 0
        #: The tables that have answered.
        self.models: set[str] = set()
        self._world = world
        self._chance = random.Random(number)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._articles = Articles.open(world.config)
        texts = [f"{row['title'][0]}. {row['content'][0]}" for row in still]
        names = (world.tree["source"]["model"]["name"], world.tree["target"]["model"]["name"])
        ids = [row["id"] for row in still]
        self._ids = set(ids)
        self._known = {name: dict(zip(ids, world.encode(name, texts), strict=True)) for name in names}
        self._thread = threading.Thread(target=self._run, name=f"asker-{number}")

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join(DEADLINE_S)
        self._articles.close()
        if self._error is not None:
            raise self._error
        assert self.answers or error[0] is not None, "nobody was answered"

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._ask(" ".join(self._chance.choices(WORDS, k=5)))
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self._error = error

    def _ask(self, question: str) -> None:
        try:
            found = {match.id: match.score for match in self._articles.search(question, 20)}
        except StoreUnavailable:  # every node that has the rows is paused for longer than a request may take
            return
        if not found.keys() & self._ids:
            return  # of articles that are being changed, nobody can say which vector was the right one
        fitting = [name for name in self._known if self._fits(name, question, found)]
        self.answers += 1
        self.mixed += not fitting
        self.models |= set(fitting) if len(fitting) == 1 else set()

    def _fits(self, model: str, question: str, found: Mapping[str, float]) -> bool:
        asked, known = self._world.encode(model, [question])[0], self._known[model]
        both = [(float(known[id_] @ asked), score) for id_, score in found.items() if id_ in known]
        # A model may run in half precision; of another model hardly one score in fifty would be so near.
        near = np.abs(np.subtract(*np.array(both).T)) < 0.03
        return bool(near.all())


def wrong(truth: Mapping[str, tuple[str, str] | None], rows: Mapping[str, tuple[Any, Any]]) -> tuple[int, int, int]:
    """How many of an application's articles a table has lost, brought back, or with other words than it last wrote."""
    there = {id_: known for id_, known in truth.items() if known is not None}
    lost = sum(id_ not in rows for id_ in there)
    back = sum(id_ in rows for id_, known in truth.items() if known is None)
    other = sum(id_ in rows and rows[id_] != known for id_, known in there.items())
    return lost, back, other
