"""Dead letters by hand: listed, tried again one by one, forgotten."""

from __future__ import annotations

import json

import pytest

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.cli.app import main
from embedshift.errors import ModelUnavailable
from embedshift.operations.dead_letters import retry
from embedshift.spark import embed
from tests.small_models import POISON
from tests.world import World, now_us, some_articles


@pytest.fixture
def world(new_world) -> World:
    """A world whose load left two dead letters."""
    world = new_world()
    rows = some_articles(20)
    for number in (3, 7):
        rows[number]["content"] = (f"some {POISON} in it", rows[number]["content"][1])
    world.write("articles", *rows)
    world.step("prepare")
    world.carry("by hand")
    assert ids(world) == {"a003", "a007"}
    return world


def ids(world: World) -> set[str]:
    return {json.loads(letter.id)["id"] for letter in read_dead_letters(world.store, world.migration.id)}


def run(world: World, capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main(["dead-letters", *arguments, "--config", str(world.config)])
    return code, *capfd.readouterr()


def test_they_are_listed_with_their_reason_and_without_their_text(world, capfd):
    code, out, _ = run(world, capfd, "list")
    assert code == 0
    assert '{"id": "a003"}' in out
    assert "its vector is not finite" in out
    assert POISON not in out
    letters = json.loads(run(world, capfd, "list", "--json")[1])["letters"]
    assert [json.loads(each["id"])["id"] for each in letters] == ["a003", "a007"]


def test_repaired_rows_arrive_and_the_others_are_named(world, capfd):
    world.write("articles", {"id": "a003", "content": ("repaired bread", now_us())})
    code, _, err = run(world, capfd, "retry")
    assert code == 1
    assert "1 rows failed again" in err
    assert ids(world) == {"a007"}
    # A row that was deleted is dead no more.
    world.delete("articles", {"id": "a007"})
    assert run(world, capfd, "retry")[0] == 0
    assert ids(world) == set()
    world.assert_migrated()
    assert world.migration.owner == ""


def test_a_model_that_is_missing_is_named_and_every_letter_stays(world, capfd, monkeypatch):
    def missing(*_: object) -> None:
        raise ModelUnavailable("the model small cannot be loaded", hint="install it")

    monkeypatch.setattr(embed, "model_of_worker", missing)
    code, _, err = run(world, capfd, "retry")
    assert code == 1
    assert "the rows could not be tried again: the model small cannot be loaded: install it" in err
    assert ids(world) == {"a003", "a007"}


def test_a_forgotten_letter_leaves_its_row_missing(world, capfd):
    assert run(world, capfd, "drop")[0] == 2
    code, _, err = run(world, capfd, "drop", '{"id": "nobody"}')
    assert code == 2
    assert 'there is no dead letter {"id": "nobody"}' in err
    assert run(world, capfd, "drop", '{"id": "a003"}')[0] == 0
    assert ids(world) == {"a007"}
    assert run(world, capfd, "drop", "--all")[0] == 0
    assert ids(world) == set()
    assert world.read_one("articles_v2", "a003") is None
    with pytest.raises(AssertionError):
        world.assert_migrated()


def test_nothing_to_try_is_no_error(world):
    for id_ in ("a003", "a007"):
        world.write("articles", {"id": id_, "content": ("repaired bread", now_us())})
    world.carry("sync/1")
    assert world.run(retry)["dead"] == 0
    assert world.run(retry)["arrived"] == 0
