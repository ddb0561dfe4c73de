"""``embedshift articles …`` and ``schema add-soft-delete``: the same verbs as the library's."""

from __future__ import annotations

import json

import pytest

from embedshift.cli.app import main
from tests.articles.conftest import RIVER, SALT, STONE


@pytest.fixture
def run(world, capsys):
    """Runs a command in this process: exit code, standard output, standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--config", str(world.config)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_the_life_of_an_article(run, world, tmp_path):
    assert run("schema", "add-soft-delete")[:2] == (0, "added deactivated_at to articles\n")
    assert run("schema", "add-soft-delete", "--json")[:2] == (0, '{"tables": []}\n')
    assert run("articles", "add", json.dumps(SALT))[0] == 0
    file = tmp_path / "more.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in (RIVER, STONE)))
    assert run("articles", "add", str(file), "--json")[1] == '{"written": 2, "failures": []}\n'
    assert run("articles", "update", "salt", '{"title": "Sea salt", "views": 3}')[0] == 0
    code, out, _ = run("articles", "get", "salt")
    assert (code, json.loads(out)["title"], json.loads(out)["views"]) == (0, "Sea salt", 3)
    code, out, _ = run("articles", "search", "salt keeps bread", "-k", "2", "--columns", "title", "--json")
    assert next(each["id"] for each in json.loads(out)) == "salt"
    assert json.loads(out)[0]["values"] == {"title": "Sea salt"}
    assert run("articles", "search", "salt keeps bread")[1].startswith("  1  ")
    assert run("articles", "deactivate", "salt")[0] == 0
    assert "salt" not in [each["id"] for each in json.loads(run("articles", "search", "salt", "--json")[1])]
    assert run("articles", "restore", "salt")[0] == 0
    like = json.loads(run("articles", "search", "--like", "salt", "--json")[1])
    assert {each["id"] for each in like} == {"river", "stone"}
    vector = json.dumps(world.encode(world.old_model().name, ["A river. Water runs to the sea."])[0].tolist())
    assert json.loads(run("articles", "search", "--vector", vector, "-k", "1", "--json")[1])[0]["id"] == "river"
    assert run("articles", "delete", "stone")[1] == "deleted stone\n"
    assert run("articles", "delete", "stone")[:2] == (0, "stone was not there\n")
    code, out, _ = run("articles", "erase", "river")
    assert code == 0
    assert out.splitlines()[0] == "live table articles: 1 removed, nothing left"
    assert run("articles", "deactivate", "salt")[0] == 0
    assert "would delete 1 of 1" in run("articles", "purge", "--inactive-for", "0s", "--dry-run")[1]
    archive = tmp_path / "gone.jsonl"
    assert "deleted 1 of 1" in run("articles", "purge", "--inactive-for", "0s", "--archive", str(archive))[1]
    assert json.loads(archive.read_text())["id"] == "salt"
    assert run("articles", "drop", "--yes")[0] == 0
    assert not world.store.exists("articles")


def test_failures_are_lines_with_their_exit_codes(run, tmp_path):
    faulty = tmp_path / "faulty.jsonl"
    faulty.write_text('{"id": "a"}\n{broken\n{"id": 5}\n')
    code, out, err = run("articles", "add", str(faulty))
    assert code == 1
    assert "article 2 (None): an article is a mapping" in out
    assert "article 3 (5): id: 5 is not a text" in out
    assert "2 articles were not written" in err
    ids = tmp_path / "ids.jsonl"
    ids.write_text('"b"\n')
    for arguments, code, reason in (
        (("get", "nobody"), 2, "there is no article nobody"),
        (("update", "nobody", '{"title": "x"}'), 2, "there is no article"),
        (("update", "a", "title"), 2, "is not JSON"),
        (("add", "[1]"), 2, "cannot read"),
        (("search", ""), 2, "the question is empty"),
        (("search",), 2, "one of QUESTION, --like and --vector"),
        (("search", "x", "-k", "0"), 2, "1 to 1000"),
        (("search", "--vector", "[NaN]"), 2, "the vector"),
        (("deactivate", "a"), 2, "schema add-soft-delete"),
        (("purge",), 2, "purge needs one rule"),
        (("purge", "--inactive-for", "soon"), 2, "not a duration"),
        (("purge", "--not-in", str(ids), "--max-share", "much"), 2, "is not a share"),
        (("purge", "--not-in", str(ids)), 4, "more than 10%"),
        (("drop",), 2, "add --yes"),
    ):
        found, _, err = run("articles", *arguments)
        assert (found, err.count("\n")) == (code, 1), (arguments, err)
        assert reason in err
