"""What a step says: lines for people, JSON for machines, progress as a bar or as a line every few seconds."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime

import pytest

from embedshift.catalog.ranges import Counts, Progress
from embedshift.telemetry.console import Console


def test_lines_for_people_go_to_standard_error_beside_json(capsys):
    console = Console(as_json=True)
    console.title("load")
    console.say("a line with [brackets]")
    console.finish({"rows": 3, "word": "é", "next": "embedshift load"})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"rows": 3, "word": "é", "next": "embedshift load"}
    assert out.count("\n") == 1
    assert err == "load\na line with [brackets]\n"


def test_people_are_told_the_next_command(capsys):
    Console().finish({"rows": 3, "next": "embedshift load"})
    assert capsys.readouterr().out == "next: embedshift load\n"


def test_nothing_is_said_where_nothing_follows(capsys):
    Console().finish({"rows": 3})
    assert capsys.readouterr().out == ""


def test_a_long_line_is_not_broken(capsys):
    Console().say("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_a_quiet_console_says_nothing(capsys):
    Console(quiet=True).say("anything")
    assert capsys.readouterr() == ("", "")


def test_in_a_log_progress_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("embedshift.telemetry.console.LINE_S", 0.0)
    with Console().watching("load", 1000) as watch:
        watch.show(Progress(10, 0, 0, Counts(), doing="loading the model"))
        watch.show(Progress(10, 4, 1, Counts(400, 398, dead=2), 50, "embedding"))
    first, second = capsys.readouterr().out.splitlines()
    moment, said = first.split(" ", 1)
    assert datetime.strptime(moment, "%H:%M:%S")
    assert said == "load: 0 of about 1,000 rows  0/10 ranges  0 dead  loading the model"
    figures = r"450 of about 1,000 rows  [\d,]+ rows/s  4/10 ranges  2 dead  1 failed  embedding  about [\d,]+ s left"
    assert re.fullmatch(rf"\S+ load: {figures}", second)


def test_what_takes_time_before_the_first_row_is_said(capsys, monkeypatch):
    with Console().busy("starting Spark"):
        assert re.fullmatch(r"\d\d:\d\d:\d\d starting Spark\n", capsys.readouterr().out)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with Console().busy("starting Spark"):
        pass
    assert re.search(r"starting Spark.*\d:\d\d:\d\d", capsys.readouterr().out)


def test_rows_of_an_earlier_run_do_not_count_as_speed(capsys, monkeypatch):
    monkeypatch.setattr("embedshift.telemetry.console.LINE_S", 0.0)
    with Console().watching("load", 1000) as watch:
        watch.show(Progress(10, 9, 0, Counts(900, 900)))
        watch.show(Progress(10, 9, 0, Counts(900, 900)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "900 of about 1,000 rows  9/10 ranges" in line
        assert "left" not in line


def test_in_a_log_progress_is_no_flood(capsys):
    with Console().watching("load", 1000) as watch:
        for _ in range(50):
            watch.show(Progress(10, 4, 0, Counts(400, 400)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("total", [0, 1000])
def test_on_a_terminal_progress_is_a_bar(capsys, monkeypatch, total):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Console().watching("load", total) as watch:
        watch.show(Progress(10, 10, 0, Counts(1000, 1000)))
    assert "10/10 ranges  0 dead" in capsys.readouterr().out


def test_a_bar_leaves_standard_error_to_whoever_has_it(monkeypatch, capsys):
    """Rich would print on the terminal what libraries write there meanwhile."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    console, before = Console(), sys.stderr
    assert console.is_terminal
    with console.busy("starting Spark"):
        assert sys.stderr is before
    with console.watching("load", 10):
        assert sys.stderr is before
    capsys.readouterr()
