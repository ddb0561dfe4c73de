"""Applications that go on while a migration goes there and back: no call fails, nothing is lost, nothing comes back."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

from jobs.catalog.alias import move_alias
from jobs.errors import NotFoundError
from tests.world import eventually, now_us

WORDS = ("bread", "river", "stone", "glass", "new", "changed", "application")
SKEW_US = 10_000


class Application:
    """Changes articles of its own, knows what they must be, and looks whether searches agree."""

    def __init__(self, articles: Any, number: int) -> None:
        self._thread = threading.Thread(target=self._run, name=f"application-{number}")
        self._articles = articles
        self._number = number
        self._chance = random.Random(number)
        self._stopped = threading.Event()
        self.truth: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                verb = self._chance.choice(
                    ("add", "add", "update", "update", "deactivate", "restore", "delete", "find")
                )
                getattr(self, f"_{verb}")(f"n{self._number}-{self._chance.randrange(15)}")
                self.calls[verb] += 1
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self.error = error

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(120)
        if self.error is not None:
            raise self.error

    def _text(self) -> str:
        return " ".join(self._chance.choices(WORDS, k=4))

    def _add(self, id_: str) -> None:
        article = {"title": self._text(), "content": self._text(), "deactivated_at": None}
        self._articles.add({"id": id_, **article})
        self.truth[id_] = {"active": True, **article}

    def _update(self, id_: str) -> None:
        changes = self._chance.choice(({"title": self._text()}, {"content": self._text()}, {"views": 7}))
        try:
            self._articles.update(id_, **changes)
        except NotFoundError:
            assert id_ not in self.truth
            return
        self.truth[id_] |= changes

    def _mark(self, id_: str, active: bool) -> None:
        try:
            (self._articles.restore if active else self._articles.deactivate)(id_)
        except NotFoundError:
            assert id_ not in self.truth
            return
        self.truth[id_]["active"] = active

    def _deactivate(self, id_: str) -> None:
        self._mark(id_, False)

    def _restore(self, id_: str) -> None:
        self._mark(id_, True)

    def _delete(self, id_: str) -> None:
        assert self._articles.delete(id_) == (id_ in self.truth)
        self.truth.pop(id_, None)

    def _find(self, id_: str) -> None:
        found = {each.id for each in self._articles.search(self._text(), 60)}
        mine = {each for each in found if each.startswith(f"n{self._number}-")}
        assert mine <= {each for each, known in self.truth.items() if known["active"]}
        got = self._articles.get(id_)
        assert (got is None) == (id_ not in self.truth)


def test_a_migration_there_and_back_beside_applications(new_world, opened):
    world = new_world(soft_delete=True, cutover={"client_cache": "200ms"})
    clients = [opened(world), opened(world)]
    applications = [Application(clients[number % 2], number) for number in range(4)]
    for each in applications:
        each.start()

    def grow(by: int = 150) -> None:
        """Wait until the applications have got further, or one of them has failed."""
        goal = sum(sum(each.calls.values()) for each in applications) + by
        eventually(
            lambda: (
                any(each.error for each in applications)
                or sum(sum(each.calls.values()) for each in applications) >= goal
            ),
            deadline_s=120,
        )

    try:
        grow()
        world.step("prepare")
        grow()
        world.carry("sync/1")
        world.store.create_index(world.migration.target.index)
        grow()
        world.carry("sync/2", read_back=True)
        switched_us = now_us()
        move_alias(world.store, world.alias, world.migration.target, migration=world.migration.id, reason="cutover")
        time.sleep(0.2)  # what a cutover does: it waits for the clients' caches
        limit = {"read_back": True, "orphans_before_us": switched_us - SKEW_US}
        world.carry("sync/3", **limit)
        grow()
        world.carry("back/1", backwards=True, **limit)
        move_alias(world.store, world.alias, world.migration.source, migration=world.migration.id, reason="rollback")
        time.sleep(0.2)
        world.carry("back/2", backwards=True, **limit)
        grow()
    finally:
        for each in applications:
            each.stop()
    truth = {id_: known for each in applications for id_, known in each.truth.items()}
    for table in ("articles", "articles_v2"):
        contents = world.read(table)
        assert {key[0] for key in contents} == truth.keys()
        for (id_,), cells in contents.items():
            assert {name: cells[name][0] for name in ("title", "content")} == {
                name: truth[id_][name] for name in ("title", "content")
            }
            assert ("deactivated_at" in cells) != truth[id_]["active"]
    world.assert_same()
    world.assert_embedded("articles", world.old_model())
    world.assert_embedded("articles_v2", world.migration.target.model)
    assert sum((each.calls for each in applications), Counter()).keys() >= {"add", "update", "delete", "find"}
