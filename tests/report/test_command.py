"""``embedshift report`` on a world whose migration has been validated twice."""

from __future__ import annotations

import json
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from embedshift import Articles
from embedshift.catalog.ranges import Counts, RangeRecord, write_ranges
from embedshift.catalog.shadow import ShadowStats, write_shadow
from embedshift.catalog.validations import validations, write_validation
from embedshift.cli.app import main
from embedshift.reporting.data import material
from embedshift.reporting.files import write_pages
from embedshift.tokens import WHOLE_RING
from tests.report.records import failed_record, full_record
from tests.world import DEADLINE_S, ROOT, World, some_articles


@pytest.fixture
def world(new_world) -> World:
    world = new_world()
    world.create_source(some_articles(12))
    world.step("prepare")
    return world


@pytest.fixture
def validated(world: World) -> World:
    """A first validation that failed, and a second that passed and speaks of the article a001."""
    ours = world.migration.id
    record = {key: value for key, value in full_record(name="a001").items() if key not in ("shadow", "throughput")}
    for report in (failed_record("missing"), {**record, "migration": ours, "titles": None, "tables": None}):
        write_validation(world.store, ours, passed=report["passed"], content="5f0c", report=report)
    stats = ShadowStats(searches=3, from_us=1, to_us=2)
    stats.old.count(0.003)
    stats.new.count(0.004)
    write_shadow(world.store, ours, "me/1", stats)
    halves = WHOLE_RING.split(2)
    write_ranges(world.store, ours, "load", [RangeRecord(each, "done", Counts(6, 6), seconds=0.5) for each in halves])
    return world


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the command; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(world: World, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return main(["report", *arguments, "--config", str(world.config)]), *capsys.readouterr()

    return call


def test_the_newest_report_is_written_beside_the_record_with_its_verdict(validated, run):
    code, out, _ = run(validated, "--json")
    result = json.loads(out)
    page = validated.folder / "validation.html"
    assert code == 0
    assert (result["number"], result["passed"], result["report"]) == (2, True, str(page))
    assert result["verdict"].startswith("articles_v2 is ready for cutover: 6 of 6 checks passed; nDCG@10 rose")
    text = page.read_text()
    assert result["verdict"] in text
    assert validated.migration.target.model.fingerprint in text


def test_what_the_catalog_knows_is_in_it(validated, run):
    _, out, _ = run(validated, "--format", "json", "--output", "-")
    tree = json.loads(out)
    assert tree["shadow"]["searches"] == 3
    assert (tree["throughput"]["rows"], tree["throughput"]["ranges"]) == (12, 2)
    rows = sum(
        rate * (high - low)
        for rate, low, high in zip(
            tree["throughput"]["rows_per_s"],
            tree["throughput"]["edges_s"],
            tree["throughput"]["edges_s"][1:],
            strict=False,
        )
    )
    assert rows == pytest.approx(12)
    assert tree["tables"]["new"]["dimension"] == 40


def test_articles_are_named_by_their_titles(validated, run):
    title = validated.read_one("articles", "a001")["title"][0]
    _, out, _ = run(validated, "--format", "markdown", "--output", "-")
    assert f"| {title} (a001) |" in out


def test_an_older_report_gets_a_name_of_its_own(validated, run):
    code, out, _ = run(validated, "--number", "1", "--format", "markdown")
    page = validated.folder / f"validation-{validated.migration.id}-1.md"
    assert code == 0
    assert str(page) in out.replace("\n", "")
    assert "is not ready for cutover" in page.read_text()
    assert not (validated.folder / "validation.md").exists()


def test_a_file_may_be_named(validated, run, tmp_path):
    assert run(validated, "--output", str(tmp_path / "deep" / "page.html"))[0] == 0
    assert (tmp_path / "deep" / "page.html").read_text().startswith("<!doctype html>")
    (tmp_path / "file").write_text("")
    code, _, err = run(validated, "--output", str(tmp_path / "file" / "page.html"))
    assert code == 3
    assert "cannot write the report" in err


def test_the_history_lists_every_validation(validated, run):
    code, out, _ = run(validated, "--list", "--json")
    rows = json.loads(out)["validations"]
    assert code == 0
    assert [(row["number"], row["passed"]) for row in rows] == [(1, False), (2, True)]
    assert {row["migration"] for row in rows} == {validated.migration.id}
    lines = run(validated, "--list", "--migration", validated.migration.id)[1].splitlines()
    assert len(lines) == 2
    assert not (validated.folder / "validation.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--migration", "nobody"], 2, "there is no migration nobody of the alias articles: there are articles-to-art"),
        (["--list", "--migration", "nobody"], 2, "there is no migration nobody"),
        (["--number", "3"], 2, "has no validation 3: it has 1 to 2: see --list"),
        (["--number", "0"], 2, "has no validation 0"),
        (["--output", "-", "--json"], 2, "with --output - there is no file"),
        (["--format", "pdf"], 2, "pdf"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(validated, run, arguments, code, said):
    found, out, err = run(validated, *arguments)
    assert (found, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_other_commands_do_not_wait_for_the_libraries_of_the_report():
    heavy = "{'matplotlib', 'jinja2', 'pyspark', 'torch'}"
    code = f"import sys, embedshift.cli.migration; sys.exit(bool({heavy} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=DEADLINE_S, check=False).returncode == 0


def test_before_a_validation_the_next_step_is_named(world, run):
    code, _, err = run(world)
    assert code == 4
    assert "has not been validated: run embedshift validate" in err
    assert run(world, "--list")[:2] == (0, "nothing has been validated yet\n")


def test_looking_makes_no_catalog(new_world, run):
    world = new_world()
    code, _, err = run(world)
    assert code == 4
    assert "there is no migration into articles_v2: run embedshift prepare first" in err
    assert run(world, "--list")[0] == 0
    from embedshift.catalog.tables import ALL

    assert not any(world.store.records.has(table) for table in ALL)


@pytest.mark.parametrize("there", [True, False])
def test_it_opens_the_browser_where_there_is_one(validated, run, monkeypatch, there):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or there)
    code, out, _ = run(validated, "--open")
    assert code == 0
    assert opened == [(validated.folder / "validation.html").as_uri()]
    assert ("no browser was found" in out) is not there


def test_pages_that_name_an_erased_article_go_and_can_be_made_again(validated, run):
    ours = validated.migration
    pages = write_pages(
        material(validated.store, ours, validations(validated.store, ours.id)[1].report),
        Path(validated.settings.validation.report),
    )
    old = validated.folder / f"validation-{ours.id}-1.html"
    assert run(validated, "--number", "1")[0] == 0
    assert all("a001" in page.read_text() for page in pages)
    with Articles.open(validated.config) as articles:
        found = {each.place: each.found for each in articles.erase("a001")}
    assert [found[f"report {page}"] for page in (*pages, old)] == [1, 1, 0]
    assert [page.exists() for page in (*pages, old)] == [False, False, True]
    assert run(validated)[0] == 0
    assert "a001" not in pages[0].read_text()
    assert "(erased)" in pages[0].read_text()
