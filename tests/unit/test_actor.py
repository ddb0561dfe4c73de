"""Who acts, and when a process is proved gone: a living run must never look dead, whatever its number and host."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from embedshift.catalog.actor import is_dead, new_run, shown, whoami
from tests.world import ROOT

_SAY = "from embedshift.catalog.actor import new_run; print(new_run(), flush=True); import sys; sys.stdin.read()"


@pytest.fixture
def other():
    """A living process, and what it calls its run."""
    started = subprocess.Popen(
        [sys.executable, "-c", _SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert started.stdout is not None
    yield started, started.stdout.readline().strip()
    started.kill()
    started.communicate()


def test_a_living_process_is_not_dead_and_a_killed_one_is(other):
    started, run = other
    assert not is_dead(run)
    started.kill()
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(run), "it has ended, and its parent has not waited for it"
    started.wait()
    assert is_dead(run)


def test_a_number_that_was_given_to_another_process_proves_nothing_of_that_one(other):
    """The process of that number lives, but began at another time: the run is gone."""
    _, run = other
    before, start, rest = run.rsplit("-", 2)
    assert is_dead(f"{before}-{int(start) - 1}-{rest}")


@pytest.mark.parametrize("place", ["00000000", "ffffffff"])
def test_another_boot_or_another_namespace_is_no_business_of_ours(other, place):
    """As in another container of the same host name: there the number means another process."""
    started, run = other
    started.kill()
    started.wait()
    name, marks = run.split("/")
    _, start, rest = marks.split("-")
    assert not is_dead(f"{name}/{place}-{start}-{rest}")


def test_without_marks_nothing_is_proved():
    here = whoami()
    for actor in ("", "root@elsewhere:1", here, f"{here}/abcdef", "somebody@elsewhere:7/abcdef"):
        assert not is_dead(actor)


def test_people_are_shown_a_name_without_marks():
    assert shown(new_run()) == whoami()
    assert new_run() != new_run()
    assert shown("somebody@elsewhere:7/abcdef") == "somebody@elsewhere:7"
    assert shown("a thief") == "a thief"
