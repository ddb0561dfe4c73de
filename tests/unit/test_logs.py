"""The log: JSON lines with one run's id, and nothing in them that could quote an article."""

from __future__ import annotations

import json
import logging

import pytest

from embedshift.cli.app import main
from embedshift.errors import StoreUnavailable
from embedshift.settings import LogSettings
from embedshift.telemetry.console import Console
from embedshift.telemetry.logs import WORKER, LogPlan, current_plan, plan_of, start_log, start_worker_log, stop_log

TEXT = "the private text of an article"
LOG = logging.getLogger("embedshift.somewhere")


@pytest.fixture(autouse=True)
def silent():
    yield
    stop_log()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_record_is_one_line_with_all_that_it_was_given(capsys):
    start_log(LogPlan("json", "info", "run-1"))
    LOG.info("a range\nis %s", "done", extra={"rows": 5, "step": "load"})
    LOG.debug("not shown")
    (line,) = lines(capsys)
    assert line.pop("time").endswith("Z")
    assert line.pop("process")
    assert line == {
        "level": "info",
        "logger": "embedshift.somewhere",
        "message": "a range\nis done",
        "run": "run-1",
        "rows": 5,
        "step": "load",
    }


def test_what_libraries_raise_and_say_is_reduced_to_its_kind(capsys):
    start_log(LogPlan("json", "debug", "run-1"))
    for error in (ValueError(TEXT), StoreUnavailable("nothing listens", hint="start it")):
        try:
            raise error
        except Exception:
            LOG.exception("failed")
    logging.getLogger("a.library").warning("could not parse %s", TEXT)
    logging.getLogger("a.library").info(TEXT)
    found = lines(capsys)
    assert [each.get("error") for each in found] == ["ValueError", "nothing listens: start it", None]
    assert found[-1]["message"] == "could not parse %s"
    assert TEXT not in str(found)


def test_on_a_console_warnings_are_the_bare_lines_that_they_were(capsys):
    start_log(plan_of(LogSettings()))
    LOG.warning("building it again")
    LOG.info("not shown")
    assert capsys.readouterr().err == "building it again\n"


def test_the_run_has_the_name_that_a_scheduler_gives_it_or_one_of_its_own(monkeypatch):
    monkeypatch.delenv("EMBEDSHIFT_RUN", raising=False)
    assert plan_of(LogSettings()).run != plan_of(LogSettings()).run
    monkeypatch.setenv("EMBEDSHIFT_RUN", "scheduled__2026-11-26T02:00:00+00:00")
    assert plan_of(LogSettings()).run == "scheduled__2026-11-26T02:00:00+00:00"
    monkeypatch.setenv("EMBEDSHIFT_RUN", "two\nlines")
    assert "\n" not in plan_of(LogSettings()).run


def test_json_is_logged_from_info_on_where_no_level_is_named():
    assert plan_of(LogSettings(format="json")).level == "info"
    assert plan_of(LogSettings(format="json", level="error")).level == "error"


def test_a_worker_logs_as_its_driver_does(capsys, monkeypatch):
    monkeypatch.setenv(WORKER, LogPlan("json", "debug", "run-7").to_json())
    start_worker_log()
    LOG.debug("a range is done")
    assert [each["run"] for each in lines(capsys)] == ["run-7"]


def test_standard_error_belongs_to_the_log(capsys):
    start_log(LogPlan("json", "info", "run-1"))
    console = Console(as_json=True)
    console.title("load")
    console.say("loaded 5 rows")
    console.finish({"rows": 5})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"rows": 5}
    assert [json.loads(line)["message"] for line in err.splitlines()] == ["load", "loaded 5 rows"]


def test_a_command_that_fails_says_so_in_json_and_the_log_ends_with_it(new_world, capsys):
    world = new_world(log={"format": "json"})
    assert main(["load", "--config", str(world.config)]) == 4
    begins, ends, line = lines(capsys)
    assert (begins["message"], begins["command"]) == ("begins", "load")
    assert (ends["level"], line["level"]) == ("warning", "error")
    assert str(ends["error"]).startswith("there is no migration into articles_v2")
    assert line["exit_code"] == 4
    assert len({each["run"] for each in (begins, ends, line)}) == 1
    assert current_plan() is None


def test_on_a_console_a_command_that_fails_says_its_one_line_and_nothing_else(new_world, capsys):
    assert main(["load", "--config", str(new_world().config)]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("embedshift: there is no migration into articles_v2")
