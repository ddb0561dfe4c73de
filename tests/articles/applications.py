"""Applications for tests: threads that change articles of their own, and know what must be there."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from embedshift.errors import NotFoundError
from tests.small_models import articles as known_articles
from tests.world import World

#: Words that the small models know.
WORDS = sorted({word for article in known_articles() for word in article["content"].split()})


#: Articles of each application.
IDS = 15


class Application:
    """Changes articles of its own, knows what they must be, and looks whether searches agree.

    ``pause_s`` is how long it rests between two calls.
    """

    def __init__(self, articles: Any, number: int, pause_s: float = 0.0) -> None:
        self._pause_s = pause_s
        self._thread = threading.Thread(target=self._run, name=f"application-{number}")
        self._articles = articles
        self.number = number
        self._chance = random.Random(number)
        self._stopped = threading.Event()
        self.truth: dict[str, dict[str, Any]] = {}
        #: Ids whose deletion or deactivation was acknowledged, and that were not brought back since.
        #: The number tells one such time from the next.
        self.gone: dict[str, int] = {}
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
                getattr(self, f"_{verb}")(f"n{self.number}-{self._chance.randrange(IDS)}")
                self.calls[verb] += 1
                self._stopped.wait(self._pause_s)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            self.error = error

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(120)
        if self.error is not None:
            raise self.error

    def _text(self) -> str:
        return " ".join(self._chance.choices(WORDS, k=9))

    def _add(self, id_: str) -> None:
        self.gone.pop(id_, None)
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
        if active:
            self.gone.pop(id_, None)
        try:
            (self._articles.restore if active else self._articles.deactivate)(id_)
        except NotFoundError:
            assert id_ not in self.truth
            return
        self.truth[id_]["active"] = active
        if not active:
            self.gone[id_] = self.calls.total()

    def _deactivate(self, id_: str) -> None:
        self._mark(id_, False)

    def _restore(self, id_: str) -> None:
        self._mark(id_, True)

    def _delete(self, id_: str) -> None:
        assert self._articles.delete(id_) == (id_ in self.truth)
        self.truth.pop(id_, None)
        self.gone[id_] = self.calls.total()

    def _find(self, id_: str) -> None:
        found = {each.id for each in self._articles.search(self._text(), 60)}
        mine = {each for each in found if each.startswith(f"n{self.number}-")}
        assert mine <= {each for each, known in self.truth.items() if known["active"]}
        got = self._articles.get(id_)
        assert (got is None) == (id_ not in self.truth)


def truth_of(applications: Sequence[Application]) -> dict[str, dict[str, Any]]:
    """What must be there, by id: no two applications share an id."""
    return {id_: known for each in applications for id_, known in each.truth.items()}


def calls_of(applications: Sequence[Application]) -> Counter[str]:
    return sum((each.calls for each in applications), Counter())


def assert_true(world: World, truth: dict[str, dict[str, Any]], tables: Sequence[str], among: str = "n") -> None:
    """Of the ids that begin so, the tables hold what must be there and nothing else."""
    for table in tables:
        contents = {key: cells for key, cells in world.read(table).items() if key[0].startswith(among)}
        assert {key[0] for key in contents} == truth.keys()
        for (id_,), cells in contents.items():
            known = truth[id_]
            texts = ("title", "content")
            assert {name: cells[name][0] for name in texts} == {name: known[name] for name in texts}, (table, id_)
            assert ("deactivated_at" in cells) != known["active"], (table, id_)
