"""Bad input: one line that says what, where and what to do; the right exit code; nothing lost; never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedshift.catalog.actor import shown
from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.lease import owned
from embedshift.catalog.tables import ALIAS
from embedshift.cli.app import main
from embedshift.stores.model import Column
from tests.small_models import POISON, articles, save_model
from tests.world import ARTICLE, HOUR_US, World, now_us, some_articles

#: Texts that have broken such tools before.
TEXTS = {
    "null": None,
    "empty": "",
    "white": " \t\n ",
    "large": "bread and dough " * 65_536,
    "control": "bread \x00\x01\x1f\x7f dough",
    "emoji": "bread 🍞 👩‍🍳 dough",
    "right_to_left": "خبز וגם לחם bread",
    "combined": "e\u0301" * 50 + " bread",
    "no_word": "…",
}


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process, beside the session that Spark has there: exit code, output, error output."""

    def call(world: World, *arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([*arguments, "--config", str(world.config)])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def line_of(err: str) -> str:
    """The one line of an error."""
    (line,) = [each for each in err.splitlines() if each.startswith("embedshift: ")]
    return line


def write_lines(world: World, *lines: Any) -> Path:
    file = world.folder / "articles.jsonl"
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
    file.write_bytes(b"\n".join(raw) + b"\n")
    return file


# Import.


def test_broken_lines_are_named_and_the_others_imported(run, new_world):
    world = new_world()
    file = write_lines(
        world,
        {"id": "a1", "title": "Bread", "content": "dough"},
        b'{"id": "a2", "title": "cut of',
        {"id": "a1", "title": "Bread again", "content": "dough"},
        b'{"id": "a3", "title": "\xff\xfe"}',
        b'{"id": "a4", "title": "\\ud800 alone", "content": "dough"}',
        {"id": "a5", "title": 7},
        ["a6"],
        {"title": "no id"},
        {"id": "", "title": "empty id"},
        {"id": "a7", "title": "Glass", "content": POISON, "subject": "x"},
        b"",
        b"[" * 5000,
        {"id": "a8", "title": "Stone", "content": "river", "more": 1},
        {"id": "a9", "title": "Stone", "content": "river"},
    )
    code, out, err = run(world, "import", str(file), "--json")
    result = json.loads(out)
    assert code == 1
    assert f"lines of {file} were left out" in line_of(err)
    assert {fault["line"]: fault["reason"].split(" (")[0] for fault in result["faults"]} == {
        2: "is not JSON",
        3: "has the same id as line 1; the first is kept",
        4: "is not UTF-8",
        5: "has a wrong title: '\\ud800 alone' is not a text",
        6: "has a wrong title: 7 is not a text",
        7: "is not a JSON object",
        8: "has no id",
        9: "has no id",
        12: "is nested too deeply",
    }
    found = world.read("articles")
    assert set(found) == {("a1",), ("a7",), ("a8",), ("a9",)}
    assert found[("a1",)]["title"][0] == "Bread"
    assert result["rows"] == 4


def test_a_line_that_the_model_cannot_embed_is_left_out(run, new_world, new_model):
    world = new_world((new_model, None))
    file = write_lines(
        world, {"id": "a1", "title": "Bread", "content": POISON}, {"id": "a2", "title": "Bread", "content": "dough"}
    )
    code, out, _ = run(world, "import", str(file), "--json")
    assert code == 1
    assert json.loads(out)["faults"] == [{"line": 1, "reason": "its vector is not finite"}]
    assert set(world.read("articles")) == {("a2",)}


def test_importing_again_replaces_and_a_column_that_the_table_lacks_is_named(run, new_world):
    world = new_world()
    run(world, "import", str(write_lines(world, {"id": "a1", "title": "Bread", "content": "dough"})))
    file = write_lines(
        world,
        {"id": "a1", "title": "Bread", "content": "river"},
        {"id": "a2", "title": "Bread", "content": "dough", "author": "me"},
    )
    code, out, err = run(world, "import", str(file))
    assert code == 1
    assert f"{file}, line 2 has author, which articles does not have" in out
    assert "1 lines of" in line_of(err)
    assert "--add-columns adds author to the table" in line_of(err)
    assert world.read("articles")[("a1",)]["content"][0] == "river"
    code, _, _ = run(world, "import", str(file), "--add-columns")
    assert code == 0
    assert world.read("articles")[("a2",)]["author"][0] == "me"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot read"),
        (b"", "contains no article with id"),
        (b'{"title": "x"}\n', "contains no article with id"),
        (b"nonsense\n", "contains no article with id"),
    ],
    ids=str,
)
def test_a_file_without_an_article_is_exit_2_and_makes_no_table(run, new_world, content, word):
    world = new_world()
    file = world.folder / "articles.jsonl"
    if content is not None:
        file.write_bytes(content)
    code, _, err = run(world, "import", str(file))
    assert code == 2
    assert word in line_of(err)
    assert str(file) in line_of(err)
    assert not world.store.exists("articles")


# Tables, templates, models.


def wrong_id(world: World) -> None:
    world.with_settings(source={"id": "uuid"})


def wrong_template(world: World) -> None:
    world.with_settings(source={"text": "{titel}"})


def wrong_vector(world: World) -> None:
    world.with_settings(source={"vector": "vectors"})


def no_text_column(world: World) -> None:
    world.with_settings(source={"text": "{picture}"})


def absent_model(world: World) -> None:
    world.with_settings(target={"model": {"name": "/no/such/model"}})


def wrong_model(world: World) -> None:
    folder = save_model(world.folder / "wide", 99, seed=3)
    world.with_settings(source={"model": {"name": str(folder)}})


def wrong_option(world: World) -> None:
    world.with_settings(target={"index": {"oversampling": 2.0}})


def broken_template(world: World) -> None:
    world.with_settings(source={"text": "{title"})


@pytest.mark.parametrize(
    ("break_it", "code", "words"),
    [
        (wrong_id, 2, ["articles has no column uuid", "set source.id to one of id, title"]),
        (wrong_template, 2, ["the text template names titel, which articles does not have", "did you mean title?"]),
        (broken_template, 2, ["the text template '{title' cannot be read"]),
        (wrong_vector, 2, ["articles has no vector column vectors", "source.vector"]),
        (no_text_column, 2, ["articles.picture, which contains no text"]),
        (absent_model, 3, ["the model folder /no/such/model does not exist"]),
        (wrong_model, 3, ["makes 99 dimensions, articles.embedding holds 24", "source.model"]),
        (wrong_option, 2, ["no oversampling", "target.index.oversampling"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_fit_is_refused_by_prepare_before_anything_is_made(run, new_world, break_it, code, words):
    world = new_world(columns=(*ARTICLE, Column("picture", "blob")))
    world.create_source(some_articles(5))
    break_it(world)
    found, _, err = run(world, "prepare")
    assert found == code
    assert all(word in line_of(err) for word in words), line_of(err)
    assert not world.store.exists("articles_v2")
    assert json.loads(run(world, "status", "--json")[1])["migration"] is None
    assert len(world.read("articles")) == 5


def test_another_source_model_than_the_alias_names_is_refused(run, new_world, new_model):
    world = new_world()
    world.create_source(some_articles(5))
    world.step("prepare")
    world.with_settings(source={"model": {"name": str(new_model)}}, target={"table": "articles_v3"})
    code, _, err = run(world, "prepare")
    assert code == 2
    assert "but the alias says that" in line_of(err)


# Rows.


def test_strange_texts_are_imported_and_migrated_without_loss(run, new_world, spark):
    world = new_world(load={"window_rows": 16})
    lines = [{"id": name, "title": "Bread", "content": text} for name, text in TEXTS.items()]
    lines += [{"id": f"bare_{name}", "title": None, "content": text} for name, text in TEXTS.items()]
    code, out, _ = run(world, "import", str(write_lines(world, *lines)), "--json")
    assert (code, json.loads(out)["rows"]) == (0, len(lines))
    contents = world.read("articles")
    assert {key[0]: cells.get("content", (None,))[0] for key, cells in contents.items()} == {
        **TEXTS,
        **{f"bare_{name}": text for name, text in TEXTS.items()},
    }
    # No further than sync: to a model of so few words several of these texts are one, and validate would say so.
    code, _, err = run(world, "migrate", "--json", "--until", "sync")
    assert code == 0, err
    world.assert_migrated()
    assert sum("embedding" not in cells for cells in world.read("articles_v2").values()) == 3
    code, out, _ = run(world, "search", "bread and dough", "--json")
    assert code == 0
    assert len(json.loads(out)) == 10


# Catalog and owners.


def test_a_second_driver_is_exit_4_and_told_who_owns_the_migration(run, new_world):
    world = new_world()
    world.create_source(some_articles(5))
    world.step("prepare")
    with owned(world.store, world.migration, "load", world.settings.cutover.lease) as first:
        code, _, err = run(world, "load")
        assert code == 4
        assert f"is owned by {shown(first.owner)} since" in line_of(err)
        assert "a dead run loses it in" in line_of(err)
        status = json.loads(run(world, "status", "--json")[1])
        assert status["migration"]["owner"] == shown(first.owner)
    assert json.loads(run(world, "status", "--json")[1])["migration"]["owner"] is None


@pytest.mark.parametrize("place", ["/proc/nowhere/articles.sqlite", "/dev/null/articles.sqlite"])
def test_a_folder_that_cannot_be_written_is_exit_3(run, new_world, place):
    world = new_world()
    world.with_settings(store={"path": place})
    code, _, err = run(world, "status")
    assert code == 3
    assert place.rpartition("/")[0] in line_of(err)
    assert "check store.path" in line_of(err)


def test_migrate_goes_no_further_than_it_is_told(run, new_world, spark):
    world = new_world()
    world.create_source(some_articles(10))
    for until, state in (("prepare", "prepared"), ("load", "loaded"), ("load", "loaded"), ("validate", "validated")):
        code, _, err = run(world, "migrate", "--until", until)
        assert (code, world.migration.state) == (0, state), err
    assert run(world, "migrate", "--until", "index")[0] == 0
    assert world.alias.target.table == "articles"
    assert run(world, "migrate")[0] == 0
    assert world.alias.target.table == "articles_v2"
    code, out, _ = run(world, "migrate")
    assert (code, "the alias already points to the new table" in out) == (0, True)


def test_a_report_that_cannot_be_written_is_named_and_the_catalog_has_it(run, new_world, spark):
    world = new_world(validation={"report": "/proc/nowhere/report.json"})
    world.create_source(some_articles(10))
    world.steps("prepare", "load", "sync", "index", "sync")
    code, _, err = run(world, "validate")
    assert code == 3
    assert "cannot write the report /proc/nowhere/report.json" in line_of(err)
    assert world.migration.state == "validated"
    assert run(world, "cutover")[0] == 0


# Dead letters.


def poisoned(count: int, *bad: int) -> Sequence[dict[str, Any]]:
    rows = some_articles(count, now_us() - HOUR_US)
    for number in bad:
        rows[number]["content"] = (f"some {POISON} in it", rows[number]["content"][1])
    return rows


def test_a_bad_row_affects_only_itself(run, new_world, spark):
    """Invariant 9: it is a dead letter with its reason and without its text; the others arrive; the run ends failed."""
    world = new_world()
    world.create_source(poisoned(40, 3, 17))
    world.step("prepare")
    code, out, err = run(world, "load")
    assert code == 1
    line = line_of(err)
    assert "2 of 40 rows are dead letters, such as" in line
    assert "its vector is not finite" in line
    assert "load.tolerate_dead" in line
    assert POISON not in out + err
    letters = list(read_dead_letters(world.store, world.migration.id))
    assert {letter.id for letter in letters} == {'{"id": "a003"}', '{"id": "a017"}'}
    assert {letter.reason for letter in letters} == {"its vector is not finite"}
    assert len(world.read("articles_v2")) == 38
    assert world.migration.state == "prepared"
    assert json.loads(run(world, "status", "--json")[1])["migration"]["dead_letters"] == 2
    # The index is not built on a load that failed.
    code, _, err = run(world, "index")
    assert (code, "run embedshift load" in line_of(err)) == (4, True)

    # A repaired row is tried again, and its letter forgotten.
    world.write("articles", {"id": "a003", "content": ("repaired bread", now_us())})
    code, _, err = run(world, "load")
    assert (code, "1 of 40 rows are dead letters" in line_of(err)) == (1, True)
    assert len(world.read("articles_v2")) == 39
    # So is one whose row was deleted.
    world.delete("articles", {"id": "a017"})
    assert run(world, "load")[0] == 0
    assert list(read_dead_letters(world.store, world.migration.id)) == []
    world.assert_migrated()


def test_dead_letters_within_the_tolerance_pass_all_steps_and_stay_known(run, new_world, spark):
    """Invariant 9; and the way back deletes no row because it never arrived."""
    world = new_world(load={"tolerate_dead": 0.1})
    world.create_source(poisoned(40, 3, 17))
    code, _, err = run(world, "migrate")
    assert code == 0, err
    assert world.alias.target.table == "articles_v2"
    assert len(world.read("articles_v2")) == 38
    assert len(list(read_dead_letters(world.store, world.migration.id))) == 2
    world.step("rollback")
    assert len(world.read("articles")) == 40


def test_a_row_that_dies_later_keeps_its_former_vector_and_is_counted(run, new_world, spark):
    world = new_world()
    world.create_source(some_articles(20))
    world.steps("prepare", "load", "sync", "index", "sync")
    before = world.read("articles_v2")[("a005",)]["embedding"]
    world.write("articles", {"id": "a005", "content": (f"now {POISON}", now_us())})
    code, _, err = run(world, "sync")
    assert code == 1
    assert '1 of 20 rows are dead letters, such as {"id": "a005"}' in line_of(err)
    assert world.read("articles_v2")[("a005",)]["embedding"] == before
    world.write("articles", {"id": "a005", "content": ("repaired bread", now_us())})
    assert run(world, "sync")[0] == 0
    world.assert_migrated()


# In place.


def test_looking_and_dry_runs_make_nothing(run, new_world):
    world = new_world()
    world.create_source(some_articles(20))
    for command in (["status"], ["search", "bread"], ["prepare", "--dry-run"], ["load", "--dry-run"]):
        run(world, *command)
        assert not world.store.records.has(ALIAS), command
    code, out, _ = run(world, "prepare", "--dry-run")
    assert code == 0
    assert "target articles_v2" in out


def test_an_index_of_another_name_is_the_live_tables_own(run, new_world):
    world = new_world()
    world.create_source(world.embedded(world.old_model(), *some_articles(20)))
    (present,) = [world.store.index_on("articles", "embedding")]
    world.store.drop_index(present)
    world.store.create_index(replace(present, name="made_by_hand"))
    assert run(world, "schema", "apply")[0] == 0
    assert world.alias.target.index_name == "made_by_hand"
    assert json.loads(run(world, "search", "bread", "--json")[1])
    world.with_settings(target={"index": {"connections": 4}})
    assert run(world, "reindex", "--in-place", "--yes")[0] == 0
    assert world.store.index_on("articles", "embedding").options.connections == 4


def test_reindex_in_place_warns_and_gives_the_live_index_other_options(run, new_world):
    world = new_world()
    run(world, "import", str(write_lines(world, *articles()[:30])))
    world.with_settings(target={"index": {"connections": 4, "metric": "euclidean"}})
    code, out, err = run(world, "reindex", "--in-place")
    assert code == 4
    assert "warning: search through the alias fails from the drop until the new index is ready" in out
    assert "add --yes" in line_of(err)
    assert world.alias.target.index_options.connections is None
    code, out, _ = run(world, "reindex", "--in-place", "--yes", "--json")
    assert code == 0
    assert world.alias.target.index_options.connections == 4
    assert world.moves == [("created", "articles"), ("reindex", "articles")]
    hits = json.loads(run(world, "search", articles()[3]["content"], "--json")[1])
    assert hits[0]["id"] == articles()[3]["id"]
    assert all(hit["score"] <= 0 for hit in hits)
    assert np.isclose(hits[0]["score"], -abs(hits[0]["score"]))
