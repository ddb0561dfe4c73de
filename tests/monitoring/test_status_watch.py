"""``status --watch``: lines, JSON or a drawn screen, until nothing runs or somebody has seen enough."""

from __future__ import annotations

import json
import os
import signal
import threading
from datetime import timedelta

import pytest

from embedshift.catalog.lease import owned
from embedshift.cli.app import main
from embedshift.monitoring.poller import Poller
from embedshift.monitoring.progress import ProgressSnapshot
from tests.monitoring.conftest import carry
from tests.world import World


def watched(world: World, *options: str) -> int:
    return main(["status", "--watch", "--every", "20ms", *options, "--config", str(world.config)])


@pytest.fixture(autouse=True)
def run(world, monkeypatch):
    """A run that has carried some ranges, and ends when it was looked at once."""
    world.with_settings(cutover={"lease": "100ms"})
    began, looked = threading.Event(), threading.Event()

    def carrying() -> None:
        with owned(world.store, world.migration, "load", timedelta(minutes=5)):
            carry(world, 12)
            began.set()
            looked.wait(300)

    class Seen(Poller):
        def look(self, max_age_s: float = 0.0) -> ProgressSnapshot:
            snapshot = super().look(max_age_s)
            looked.set()
            return snapshot

    monkeypatch.setattr("embedshift.operations.watch.Poller", Seen)
    thread = threading.Thread(target=carrying)
    thread.start()
    assert began.wait(300)
    yield
    looked.set()
    thread.join(300)


def test_until_done_it_ends_when_nothing_has_run_for_a_lease(world, capsys):
    assert watched(world, "--until-done") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "load; 12/40 ranges; 60 rows" in lines[0]
    assert "prepared; nothing is running" in lines[-2]
    assert lines[-1] == "next: embedshift load"


def test_for_machines_every_look_is_an_object_of_its_own(world, capsys):
    assert watched(world, "--until-done", "--json") == 0
    looks = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert looks[0]["running"] == "load"
    assert looks[0]["work"]["rows"] == 60
    assert looks[-1]["running"] is None


def test_on_a_terminal_it_is_drawn(world, capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert watched(world, "--until-done") == 0
    out = capsys.readouterr().out
    for text in ("▶ load", "12 of 40 done (30.0 %)", "slowest ranges", "dead letters"):
        assert text in out


@pytest.mark.parametrize("options", [["--every", "2s"], ["--until-done"], ["--watch", "--every", "0s"]], ids=str)
def test_wrong_use_is_exit_2(world, capsys, options):
    assert main(["status", *options, "--config", str(world.config)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_ctrl_c_ends_it_with_one_line(world):
    process = world.start("status", "--watch", "--every", "100ms")
    assert process.stdout is not None
    assert "load; 12/40 ranges" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    (line,) = err.splitlines()
    assert line.startswith("embedshift: interrupted")
