"""The real commands, each in a process of its own: the console script, ``python -m``, and spark-submit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from tests.small_models import articles
from tests.standalone import QUICK
from tests.world import DEADLINE_S, ROOT, World, some_articles

QUESTIONS = [
    {"id": f"q{number}", "text": articles()[number]["title"], "relevant": {articles()[number]["id"]: 3}}
    for number in range(12)
]


def finished(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_one_command_migrates_a_live_table_and_says_what_it_does(new_world):
    world = new_world()
    corpus = world.folder / "articles.jsonl"
    corpus.write_text("".join(json.dumps(each) + "\n" for each in articles()[:60]))
    questions = world.folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    world.with_settings(validation={"questions": str(questions), "relevance_drop": 1.0})
    script = str(Path(sys.executable).with_name("embedshift"))
    config = ["--config", str(world.config)]
    assert finished(script, "import", str(corpus), *config).returncode == 0

    done = finished(script, "migrate", *config, "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert list(result["steps"]) == ["prepare", "load", "sync_before_index", "index", "sync", "validate", "cutover"]
    assert result["steps"]["load"]["written"] == 60
    report = result["steps"]["validate"]
    assert report["passed"] is True
    assert all(check.keys() >= {"name", "value", "limit", "passed"} for check in report["checks"])
    assert {"ndcg@10", "recall@10"} <= report["relevance"]["old"].keys() & report["relevance"]["new"].keys()
    assert 0.95 <= report["recall@10"] <= 1
    for step in ("prepare", "load", "sync", "index", "sync", "validate", "cutover"):
        assert step in done.stderr
    assert "Traceback" not in done.stderr
    world.assert_migrated()

    status = json.loads(finished(script, "status", *config, "--json").stdout)
    assert status["alias"]["name"] == "articles"
    assert status["alias"]["table"] == "articles_v2"
    assert (status["alias"]["dimension"], status["alias"]["version"]) == (40, 2)
    assert status["alias"]["model"] == world.settings.target_model.name
    assert status["migration"]["state"] == "switched"
    assert status["migration"]["rows_done"] == status["migration"]["rows_total"] == 60
    assert status["next"] == "embedshift retire"


def test_a_corrupt_index_file_is_built_again_and_said(new_world):
    world = new_world()
    rows = some_articles(30)
    world.create_source(world.embedded(world.old_model(), *rows))
    world.step("prepare")
    (file,) = world.folder.glob("*.usearch")
    file.write_bytes(b"not an index" * 100)
    question = str(rows[4]["content"][0])
    done = world.command("search", question, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["id"] == "a004"
    assert "articles_embedding_ann" in done.stderr
    assert "building it again" in done.stderr
    assert "Traceback" not in done.stderr
    (again,) = world.folder.glob("*.usearch")
    assert again.read_bytes()[:12] != b"not an index"


@pytest.fixture
def prepared(new_world) -> World:
    world = new_world()
    world.create_source(some_articles(40))
    world.step("prepare")
    return world


def test_spark_submit_does_what_the_command_does(prepared):
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    quick = ["--conf", f"spark.driver.extraJavaOptions={QUICK}"]
    arguments = [
        str(submit),
        "--master",
        "local[2]",
        *quick,
        "jobs/load.py",
        "--config",
        str(prepared.config),
        "--json",
    ]
    done = finished(*arguments, environment={"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["rows"], result["written"], result["next"]) == (40, 40, "embedshift sync")
    assert prepared.migration.state == "loaded"
    prepared.assert_migrated()


def test_a_step_that_is_refused_ends_with_its_code_and_one_line(prepared):
    done = prepared.command("validate")
    assert done.returncode == 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("embedshift: validate may not run: migration articles-to-articles_v2 is prepared")
    assert line.endswith("run embedshift load")
