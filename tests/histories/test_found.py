"""What random histories have found, each as short as it can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.histories.histories import History

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
    history = begin("prepare", "load", "index", "sync", a=("bread", "stone"))
    done(history, "validate", "cutover")
    assert history.live.table == "articles_v2"
