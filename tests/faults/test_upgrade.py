"""One command for schedulers: twice at once, outside its window, interrupted, and stopped by a hook."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog.window import Window
from jobs.cli import main
from tests.world import World, some_articles

#: A hook that writes a line of what it is told.
NOTE = (
    "import os, sys; told = os.environ; print(told['EMBEDSHIFT_EVENT'], told['EMBEDSHIFT_PREVIOUS_STATE'], "
    "told['EMBEDSHIFT_STATE'], told['EMBEDSHIFT_STEP'], told['EMBEDSHIFT_ERROR'], sep=',', file=open(sys.argv[1], 'a'))"
)


def closed_window() -> str:
    """A window that is hours away from this moment."""
    begin = datetime.now() + timedelta(hours=6)
    return f"{begin:%H:%M}-{begin + timedelta(hours=6):%H:%M}"


class Scheduler:
    """Runs one line again and again, as cron does."""

    def __init__(self, world: World, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._line = ["upgrade", "--config", str(world.config), "--json", "--to-model", str(model)]
        self._capsys = capsys

    def run(self, *more: str) -> tuple[int, dict[str, Any], list[str]]:
        """Exit code, result, and the lines of errors."""
        self._capsys.readouterr()
        code = main([*self._line, *more])
        out, err = self._capsys.readouterr()
        (line,) = out.splitlines()
        return code, json.loads(line), [each for each in err.splitlines() if each.startswith("embedshift: ")]


def test_a_line_that_is_run_again_and_again_ends_what_was_begun(loaded, new_model, capsys, monkeypatch):
    notes = loaded.folder / "notes"
    note = [sys.executable, "-c", NOTE, str(notes)]
    loaded.with_settings(hooks={"on_state_change": note, "on_failure": note, "after_cutover": note})
    cron = Scheduler(loaded, new_model, capsys)

    code, result, errors = cron.run("--revision", "another")
    assert (code, result["outcome"]) == (4, "refused")
    assert "migration articles-to-articles_v2 to" in errors[0]

    code, result, _ = cron.run("--when", closed_window())
    assert (code, result["outcome"], loaded.migration.state) == (0, "waiting", "synced")

    looks = iter([True, False])
    with monkeypatch.context() as clock:
        clock.setattr(Window, "is_open", lambda *_: next(looks, False))
        code, result, _ = cron.run("--when", "22:00-06:00")
    assert (code, result["outcome"], loaded.migration.state) == (0, "waiting", "synced")
    assert loaded.migration.owner == ""

    loaded.with_settings(hooks={"before_cutover": ["/bin/sh", "-c", "echo not on a Friday; exit 1"]})
    code, result, errors = cron.run()
    assert (code, result["outcome"], loaded.migration.state) == (1, "failed", "validated")
    assert "hooks.before_cutover stopped the cutover (exit code 1: not on a Friday)" in errors[0]
    assert loaded.moves == [("created", "articles")]

    loaded.with_settings(hooks={"before_cutover": ["true"]})
    code, result, _ = cron.run()
    assert (code, result["outcome"], result["table"]) == (0, "resumed", "articles_v2")
    assert loaded.moves == [("created", "articles"), ("cutover", "articles_v2")]

    for more in ([], ["--when", closed_window()]):
        assert cron.run(*more)[:2] == (0, {**cron.run(*more)[1], "outcome": "already"})
    told = [tuple(line.split(",", 4)[:4]) for line in notes.read_text().splitlines()]
    assert told == [
        ("on_failure", "", "synced", "upgrade"),
        ("on_state_change", "synced", "validated", "upgrade"),
        ("on_failure", "", "validated", "upgrade"),
        ("on_state_change", "validated", "switching", "upgrade"),
        ("on_state_change", "switching", "switched", "upgrade"),
        ("after_cutover", "switching", "switched", "upgrade"),
    ]


def test_of_two_upgrades_at_once_exactly_one_does_the_work(new_world, new_model):
    world = new_world(
        load={"ranges": 1, "precision": "float32"},
        validation={"probes": 5, "embedded_again": 5, "latency_searches": 0},
    )
    world.create_source(world.embedded(world.old_model(), *some_articles(12)))

    started = [world.start("upgrade", "--json", "--to-model", str(new_model)) for _ in range(2)]
    ended = [(*process.communicate(timeout=600), process.returncode) for process in started]

    done, refused = sorted(ended, key=lambda each: each[2])
    assert (done[2], refused[2]) == (0, 4), ended
    result = json.loads(done[0])
    assert (result["outcome"], result["table"]) == ("upgraded", "articles_v2")
    assert json.loads(refused[0])["outcome"] == "refused"
    (line,) = [each for each in refused[1].splitlines() if each.startswith("embedshift: ")]
    assert "migration articles-to-articles_v2 " in line
    assert "owned by" in line or "another run" in line
    assert "Traceback" not in done[1] + refused[1]
    assert world.moves == [("created", "articles"), ("cutover", "articles_v2")]
    world.assert_migrated()
