"""The command line in this process: exit codes, one line for each error, JSON for machines. No Spark is needed here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedshift import __version__
from embedshift.cli.app import main
from tests.small_models import articles

STEPS = ("migrate", "prepare", "load", "index", "sync", "validate", "cutover", "rollback", "retire", "status")


class Outcome:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def line(self) -> str:
        """The one line of an error."""
        lines = self.err.splitlines()
        assert lines, "nothing was said"
        assert lines[-1].startswith("embedshift: ")
        assert "Traceback" not in self.err
        return lines[-1]

    @property
    def json(self) -> Any:
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def tree(tmp_path: Path, old_model: Path, new_model: Path) -> dict[str, Any]:
    return {
        "alias": "articles",
        "store": {"path": str(tmp_path / "store" / "articles.sqlite")},
        "source": {"table": "articles", "model": {"name": str(old_model)}},
        "target": {"table": "articles_v2", "model": {"name": str(new_model)}},
    }


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "articles.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in articles()[:20]))
    return file


@pytest.fixture
def run(tmp_path: Path, tree: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    """Runs a command with the settings file."""
    config = tmp_path / "settings.yaml"

    def call(*arguments: str, config_option: bool = True) -> Outcome:
        config.write_text(yaml.safe_dump(tree))
        capsys.readouterr()
        code = main([*arguments, *(["--config", str(config)] if config_option else [])])
        return Outcome(code, *capsys.readouterr())

    return call


# Use.


def test_the_version_is_printed(run):
    assert run("--version", config_option=False).out.strip() == f"embedshift {__version__}"


def test_every_step_of_the_issue_is_a_command(run):
    text = run("--help", config_option=False).out
    for name in (*STEPS, "import", "search", "reindex", "config"):
        assert f" {name} " in text
    assert "Exit codes: 0 done, 1 a check failed" in text


@pytest.mark.parametrize("step", [*STEPS, "import", "search", "reindex"])
def test_every_command_explains_itself(run, step):
    outcome = run(step, "--help", config_option=False)
    assert outcome.code == 0
    for option in ("--config", "--set", "--json"):
        assert option in outcome.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["laod"], "No such command 'laod'"),
        (["load", "--nothing"], "No such option"),
        (["search"], "Missing argument 'QUESTION'"),
        (["status", "--config"], "requires an argument"),
    ],
    ids=str,
)
def test_wrong_use_is_exit_2_and_one_line(run, arguments, word):
    outcome = run(*arguments, config_option=False)
    assert outcome.code == 2
    assert word in outcome.line


def test_without_a_settings_file_the_option_is_named(run, monkeypatch):
    monkeypatch.delenv("EMBEDSHIFT_CONFIG", raising=False)
    outcome = run("status", config_option=False)
    assert (outcome.code, "--config" in outcome.line) == (2, True)


def test_reindex_wants_to_hear_that_it_works_in_place(run):
    outcome = run("reindex")
    assert outcome.code == 2
    assert "--in-place" in outcome.line


# Settings.


def test_a_misspelt_key_is_exit_2_and_names_the_nearest(run, tree):
    tree["tarqet"] = tree.pop("target")
    outcome = run("status")
    assert outcome.code == 2
    assert "unknown key tarqet; did you mean target?" in outcome.line
    assert "target is missing" in outcome.line


@pytest.mark.parametrize("override", ["target.index.conections=5", "nothing=1", "load.ranges"])
def test_an_unknown_override_is_exit_2(run, override):
    outcome = run("status", "--set", override)
    assert outcome.code == 2
    assert override.partition("=")[0] in outcome.line


def test_a_settings_file_is_explained_key_by_key(run):
    lines = run("config", "check", "--set", "load.ranges=7").out.splitlines()
    assert "load.ranges = 7  # number of token ranges; auto depends on the table's estimated size" in lines
    assert "target.index.metric = cosine  (default)  # dot_product needs unit vectors" in lines
    assert len(lines) > 60


def test_a_settings_file_is_printed_as_json(run, tree):
    assert run("config", "check", "--json").json["source"]["table"] == "articles"


def test_the_schema_is_json_that_knows_the_keys(run):
    schema = json.loads(run("config", "schema", config_option=False).out)
    assert {"alias", "store", "source", "target", "load", "validation"} <= schema["properties"].keys()


@pytest.mark.parametrize("command", [["config", "check"], ["config", "check", "--json"], ["status"]])
def test_a_password_is_never_printed(run, tree, tmp_path, monkeypatch, command):
    """Invariant 11."""
    monkeypatch.setenv("SCYLLA_USERNAME", "ann")
    monkeypatch.setenv("SCYLLA_PASSWORD", "hunter2")
    secret = tmp_path / "credentials"
    secret.write_text("ann\nhunter2\n")
    tree["store"]["credentials_file"] = str(secret)
    outcome = run(*command)
    assert outcome.code == 0
    assert "hunter2" not in outcome.out + outcome.err


# Store, models, tables.


def test_a_store_that_cannot_be_had_is_exit_3(run, tree, tmp_path):
    tree["store"]["path"] = str(tmp_path)
    outcome = run("status")
    assert outcome.code == 3
    assert "is a folder" in outcome.line


def test_a_model_that_cannot_be_had_is_exit_3_and_nothing_is_made(run, tree, corpus):
    tree["source"]["model"]["name"] = "package:nobody"
    outcome = run("import", str(corpus))
    assert outcome.code == 3
    assert "no known package contains the model 'nobody'" in outcome.line
    assert run("status", "--json").json["alias"]["table"] is None


def test_a_table_that_is_not_there_is_exit_2(run):
    outcome = run("prepare")
    assert outcome.code == 2
    assert "articles" in outcome.line


@pytest.mark.parametrize("step", ["load", "index", "sync", "validate", "cutover", "rollback", "retire"])
def test_a_step_before_prepare_is_exit_4_and_says_what_to_run(run, corpus, step):
    run("import", str(corpus))
    outcome = run(step)
    assert outcome.code == 4
    assert "run embedshift prepare first" in outcome.line


def test_a_search_before_there_is_an_alias_is_exit_4(run):
    outcome = run("search", "bread")
    assert outcome.code == 4
    assert "there is no alias articles" in outcome.line


def test_a_defect_of_ours_is_one_line_and_the_way_to_more(run, monkeypatch):
    monkeypatch.setattr("embedshift.operations.status.find_migration", lambda *_: 1 / 0)
    outcome = run("status")
    assert outcome.code == 1
    assert outcome.line == "embedshift: ZeroDivisionError: division by zero (--debug shows where)"
    outcome = run("--debug", "status")
    assert "Traceback" in outcome.err


def test_debug_ends_with_the_command_that_asked_for_it(run, monkeypatch):
    monkeypatch.setattr("embedshift.operations.status.find_migration", lambda *_: 1 / 0)
    run("--debug", "status")
    assert "Traceback" not in run("status").err


# What people and machines read.


def test_imported_articles_are_found_and_the_status_says_where(run, corpus):
    imported = run("import", str(corpus), "--json")
    assert imported.code == 0
    assert imported.json == {"rows": 20, "faults": [], "next": "embedshift migrate"}
    found = run("search", articles()[3]["content"], "-k", "4", "--json").json
    assert len(found) == 4
    assert all(each.keys() == {"id", "title", "score"} for each in found)
    assert found[0]["id"] == articles()[3]["id"]
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    status = run("status", "--json").json
    assert (status["alias"]["table"], status["alias"]["dimension"], status["alias"]["version"]) == ("articles", 24, 1)
    assert status["migration"] is None
    lines = run("search", "bread").out.splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("from articles by ")


@pytest.mark.parametrize(
    ("arguments", "word"), [(["", "-k", "3"], "the question is empty"), (["bread", "-k", "0"], "k is 0")], ids=str
)
def test_a_question_that_makes_no_sense_is_exit_2(run, corpus, arguments, word):
    run("import", str(corpus))
    outcome = run("search", *arguments)
    assert outcome.code == 2
    assert word in outcome.line


def test_prepare_says_what_it_will_do_and_does_not_do_it_dry(run, corpus):
    run("import", str(corpus))
    dry = run("prepare", "--dry-run", "--json")
    told = dry.json
    space = told.pop("space")
    assert told == {"dry_run": True, "source": "articles", "target": "articles_v2", "ranges": 1}
    assert {side: figures["table_bytes"] for side, figures in space.items()} == {
        side: figures["rows"] * figures["dimension"] * 4 for side, figures in space.items()
    }
    assert "target articles_v2: model" in dry.err
    assert run("status", "--json").json["migration"] is None
    first, again = run("prepare", "--json").json, run("prepare", "--json").json
    assert first["migration"] == again["migration"] == {"id": "articles-to-articles_v2", "state": "prepared"}
    assert first["next"] == again["next"] == "embedshift load"


def test_the_status_of_a_migration_has_what_machines_want(run, corpus):
    run("import", str(corpus))
    run("prepare")
    status = run("status", "--json").json
    assert status["alias"].keys() >= {"name", "table", "model", "dimension", "version"}
    assert status["migration"].keys() >= {"id", "state", "rows_done", "rows_total"}
    assert (status["migration"]["rows_done"], status["migration"]["rows_total"]) == (0, 20)
    assert status["next"] == "embedshift load"
    assert "0 of 20 rows" in run("status").out


def test_settings_that_change_the_result_are_exit_4_and_named(run, tree, corpus):
    run("import", str(corpus))
    run("prepare")
    tree["source"]["text"] = "{title}"
    tree["target"]["index"] = {"connections": 8}
    for step in ("prepare", "load"):
        outcome = run(step)
        assert outcome.code == 4
        assert 'source.text (was "{title}. {content}", now "{title}")' in outcome.line
        assert "target.index.connections (was null, now 8)" in outcome.line


def test_a_target_that_exists_with_something_in_it_is_exit_4(run, tree, corpus):
    run("import", str(corpus))
    tree["source"]["table"], tree["target"]["table"], tree["alias"] = "others", "articles", "others"
    run("import", str(corpus))
    outcome = run("prepare")
    assert outcome.code == 4
    assert "the table articles exists, and no open migration fills it" in outcome.line


def test_a_template_other_than_that_of_the_live_vectors_is_exit_2(run, tree, corpus):
    """One template makes the texts of both tables: silently taking the old one would be worse than saying so."""
    run("import", str(corpus))
    outcome = run("prepare", "--set", "source.text={title}!")
    assert outcome.code == 2
    assert "source.text is {title}!, but the alias says" in outcome.line


def test_migrate_knows_its_steps(run, corpus):
    run("import", str(corpus))
    outcome = run("migrate", "--until", "validat")
    assert outcome.code == 2
    assert "--until takes one of prepare, load, sync, index, validate, cutover" in outcome.line
    assert run("status", "--json").json["migration"] is None


def test_the_source_of_a_migration_must_be_the_live_table(run, tree, corpus):
    run("import", str(corpus))
    tree["source"]["table"] = "others"
    run("import", str(corpus), "--set", "alias=others")
    outcome = run("prepare")
    assert outcome.code == 4
    assert "the alias articles points to articles, not to source.table others" in outcome.line


def test_retire_asks_nobody_where_there_is_no_terminal(run, corpus, monkeypatch):
    run("import", str(corpus))
    run("prepare")
    outcome = run("retire")
    assert outcome.code == 4
    assert "retire may not run" in outcome.line
