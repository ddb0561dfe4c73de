"""One command for schedulers: twice at once, outside its window, interrupted, and stopped by a hook."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedshift.catalog.lease import owned
from embedshift.catalog.migration import migrations
from embedshift.cli.app import main
from embedshift.times import Window
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


def states(world: World) -> list[str]:
    return [each.state for each in migrations(world.store, "articles")]


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


def test_outside_its_window_and_beside_another_migration_nothing_is_done(loaded, new_model, capsys):
    cron = Scheduler(loaded, new_model, capsys)

    code, result, errors = cron.run("--revision", "another")
    assert (code, result["outcome"]) == (4, "refused")
    assert "migration articles-to-articles_v2 to" in errors[0]

    code, result, _ = cron.run("--when", closed_window())
    assert (code, result["outcome"], loaded.migration.state) == (0, "waiting", "synced")
    assert datetime.fromisoformat(result["opens"]) > datetime.now()

    with owned(loaded.store, loaded.migration, "sync", timedelta(seconds=30)) as lease:
        lease.change(state="rolled_back")
    code, result, errors = cron.run()
    assert (code, result["outcome"]) == (4, "refused")
    assert "the migration is rolled back" in errors[0]


def test_a_hook_that_says_no_stops_the_cutover_before_the_alias_moves(loaded, capsys):
    loaded.with_settings(validation={"probes": 5, "reembed_sample": 5, "latency_searches": 0})
    loaded.step("validate")
    loaded.with_settings(hooks={"before_cutover": ["/bin/sh", "-c", "echo not on a Friday; exit 1"]})

    assert main(["cutover", "--config", str(loaded.config)]) == 1
    out, err = capsys.readouterr()
    assert "1. ask hooks.before_cutover (/bin/sh …), and stop if it fails" in out
    (line,) = err.splitlines()
    assert line.startswith("embedshift: hooks.before_cutover stopped the cutover (exit code 1: not on a Friday)")
    assert (loaded.migration.state, loaded.moves) == ("validated", [("created", "articles")])


def test_an_upgrade_that_its_window_has_ended_is_gone_on_with_by_exactly_one_of_two(
    new_world, new_model, spark, capsys, monkeypatch
):
    world = new_world(
        load={"ranges": 1, "precision": "float32"},
        validation={"probes": 5, "reembed_sample": 5, "latency_searches": 0},
    )
    notes = world.folder / "notes"
    note = [sys.executable, "-c", NOTE, str(notes)]
    world.with_settings(
        hooks={"on_state_change": note, "on_failure": note, "before_cutover": note, "after_cutover": note},
        retire={"keep": 0},
    )
    world.create_source(world.embedded(world.old_model(), *some_articles(12)))
    cron = Scheduler(world, new_model, capsys)

    with monkeypatch.context() as clock:
        clock.setattr(Window, "is_open", lambda *_: "loaded" not in states(world))
        code, result, _ = cron.run("--when", "22:00-06:00")
    assert (code, result["outcome"], result["table"]) == (0, "waiting", "articles")
    assert (world.migration.state, world.migration.owner) == ("loaded", "")

    started = [world.start("upgrade", "--json", "--to-model", str(new_model)) for _ in range(2)]
    ended = [(*process.communicate(timeout=900), process.returncode) for process in started]
    done, refused = sorted(ended, key=lambda each: each[2])
    assert (done[2], refused[2]) == (0, 4), ended
    assert json.loads(refused[0])["outcome"] == "refused"
    (line,) = [each for each in refused[1].splitlines() if each.startswith("embedshift: ")]
    assert re.search(r"migration articles-to-articles_v2 (is owned|was just taken) by \S+@\S+", line)
    assert "Traceback" not in done[1] + refused[1]
    result = json.loads(done[0])
    assert (result["outcome"], result["table"], result["retired"]) == ("resumed", "articles_v2", ["articles"])
    assert world.moves == [("created", "articles"), ("cutover", "articles_v2")]
    world.assert_embedded("articles_v2", world.alias.target.model)

    for more in ([], ["--when", closed_window()]):
        assert cron.run(*more)[1]["outcome"] == "already"
    told = [tuple(line.split(",", 4)[:4]) for line in notes.read_text().splitlines()]
    assert told == [
        ("on_state_change", "preparing", "prepared", "upgrade"),
        ("on_state_change", "prepared", "loaded", "upgrade"),
        ("on_state_change", "loaded", "caught_up", "upgrade"),
        ("on_state_change", "caught_up", "indexed", "upgrade"),
        ("on_state_change", "indexed", "synced", "upgrade"),
        ("on_state_change", "synced", "validated", "upgrade"),
        ("before_cutover", "", "validated", "upgrade"),
        ("on_state_change", "validated", "switching", "upgrade"),
        ("on_state_change", "switching", "switched", "upgrade"),
        ("after_cutover", "switching", "switched", "upgrade"),
        ("on_state_change", "switched", "retiring", "upgrade"),
        ("on_state_change", "retiring", "retired", "upgrade"),
    ]
