"""What random histories have found, each as short as it can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.errors import CheckFailed
from tests.histories.faults import Fault, Killed
from tests.histories.histories import History
from tests.histories.truth import Cell

WAY = ("prepare", "load", "sync", "index", "sync", "validate", "cutover")
Begin = Callable[..., History]


@pytest.fixture
def begin(old_model: Path, new_model: Path) -> Iterator[Begin]:
    """Begins a history with some articles, by key, and takes it through some steps."""
    made: list[History] = []

    def start(*steps: str, **rows: tuple[str, str]) -> History:
        made.append(History((old_model, new_model), rows))
        done(made[-1], *steps)
        return made[-1]

    yield start
    for history in made:
        history.close()


def done(history: History, *steps: str) -> None:
    for step in steps:
        result = history.step(step)
        assert isinstance(result, dict), (step, result)


def test_a_table_of_one_article_can_be_validated(begin: Begin) -> None:
    """Beside itself, which proves nothing, it has no neighbour to find."""
    history = begin("prepare", "load", "sync", "index", "sync", a=("bread", "stone"))
    done(history, "validate", "cutover")
    assert history.live.table == "articles_v2"


def test_a_letter_of_a_client_that_nothing_can_settle_does_not_keep_sync_from_ending(begin: Begin) -> None:
    """The row came back without a value that tells a time, below the deletion that sync had made of it."""
    history = begin("prepare", "load", "sync", "index", "sync", a=("bread", "stone"), b=("river", "cloud"))
    history.delete("articles", "a")
    done(history, "sync")
    history.put_article("a", {"views": 1}, existing=False, lost=True)
    history.write("articles", "a", {"views": None})
    assert history.migration is not None
    assert len(list(read_dead_letters(history.store, history.migration.id))) == 1
    done(history, "sync")
    result = history.step("validate")
    assert isinstance(result, CheckFailed)
    assert "missing" in str(result)


def test_after_the_switch_sync_leaves_a_vector_alone_whose_text_the_new_table_has_of_its_own(begin: Begin) -> None:
    """A part of the text that only the new table has, and a part that is newer there, beside a late one."""
    history = begin(*WAY, a=(None, "stone"), b=("river", "cloud"), d=("dough", "stone"), e=("bread", "cloud"))
    history.write("articles_v2", "a", {"title": "bread"})
    history.write("articles_v2", "b", {"content": "stone"})
    history.write("articles_v2", "d", {"content": "plant"})
    history.write("articles", "b", {"title": "dough"})
    history.write("articles", "e", {"title": None})
    done(history, "sync")
    found = {
        key: tuple(cells[name][0] if name in cells else None for name in ("title", "content"))
        for (key,), cells in history.read("articles_v2").items()
    }
    assert found == {
        "a": ("bread", "stone"),
        "b": ("dough", "stone"),
        "d": ("dough", "plant"),
        "e": (None, "cloud"),
    }
    for key, (title, content) in found.items():
        for name, value in (("title", title), ("content", content)):
            history.truth("articles_v2").row(key).cells[name] = Cell(value, 1)
    history.check_vectors("articles_v2")


def test_a_load_that_is_taken_up_again_leaves_to_sync_what_a_client_could_not_write(begin: Begin) -> None:
    """The letter is of a row in a range that is done, at which no load looks again."""
    rows = {f"k{number}": ("bread", "stone") for number in range(6)}
    history = begin("prepare", **rows)
    assert isinstance(history.step("load", Fault(90, "kill", applied=False)), Killed)
    for key in rows:
        history.put_article(key, {"title": "river", "views": 1}, existing=True, lost=True)
    done(history, "load", "sync", "index", "sync", "validate")
