"""A process that sleeps through its lease does nothing when it wakes up. Invariant 12.

Real commands are stopped with SIGSTOP and continued with SIGCONT; in between another operator does something else.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from embedshift.catalog.validations import last_validation
from embedshift.errors import CheckFailed, StateError
from tests.world import DEADLINE_S, ROOT, World, eventually, now_us, some_articles

LEASE_S = 1
#: Runs a command that stops itself just before it calls a function.
SLEEPER = """
import os, pkgutil, signal, sys
module, name, *command = sys.argv[1:]
owner = pkgutil.resolve_name(module)
real = getattr(owner, name)
calls = [int(os.environ["SLEEP_AT"])]
def asleep(*arguments, **options):
    calls[0] -= 1
    if calls[0] == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    return real(*arguments, **options)
setattr(owner, name, asleep)
from embedshift.__main__ import entry
sys.argv = sys.argv[:1]
entry(*command)
"""


@contextmanager
def asleep(world: World, where: str, *command: str, call: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A command that has stopped just before a call of a function, and whose lease has run out."""
    module, _, name = where.rpartition(".")
    running = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, module, name, *command, "--config", str(world.config)],
        cwd=ROOT,
        env={**os.environ, "SLEEP_AT": str(call)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with ended(running):
        eventually(lambda: state_of(running) in ("T", ""))
        assert state_of(running) == "T", running.communicate()
        time.sleep(LEASE_S + 0.5)  # until its lease has run out: time itself is what this is about
        yield running


@contextmanager
def ended(running: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever happens, nothing of a command outlives the block."""
    try:
        yield
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


def state_of(running: subprocess.Popen[str]) -> str:
    """The state of a process as the kernel has it: T is stopped; empty: it has ended."""
    if running.poll() is not None:
        return ""
    return Path(f"/proc/{running.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]


def states_of_group(group: int) -> list[str]:
    """The state of each process of a group: T is stopped, Z is a zombie."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = file.read_text("utf-8").rpartition(")")[2].split()[:3]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if int(of) == group:
            found.append(state)
    return found


def stop_all(running: subprocess.Popen[str], world: World) -> None:
    """Stop a command with its JVM and its workers, at a moment at which none of them has locked the store's file."""
    for _ in range(100):
        if running.poll() is not None:
            return
        os.killpg(running.pid, signal.SIGSTOP)
        # A signal has been sent, not received: until all have stopped, one of them may still lock the file.
        eventually(lambda: all(state in "TZ" for state in states_of_group(running.pid)))
        try:
            with closing(sqlite3.connect(world.settings.store.path, timeout=0.2)) as file:
                file.execute("BEGIN IMMEDIATE")
                file.rollback()
        except sqlite3.OperationalError:
            os.killpg(running.pid, signal.SIGCONT)
            time.sleep(0.01)
        else:
            return
    pytest.fail("the file was always locked")


def woken(running: subprocess.Popen[str]) -> tuple[int, str]:
    """Let it go on to its end. Returns its exit code and what it says."""
    os.killpg(running.pid, signal.SIGCONT)
    _, err = running.communicate(timeout=DEADLINE_S)
    return running.returncode, err


@pytest.fixture(autouse=True)
def _short_lease(request: pytest.FixtureRequest) -> None:
    if "new_world" in request.fixturenames:
        return
    world = request.getfixturevalue("loaded")
    quick = {"probes": 5, "reembed_sample": 5, "latency_searches": 0}
    world.with_settings(cutover={"lease": f"{LEASE_S}s"}, validation=quick)


def test_a_retire_that_slept_does_not_drop_the_table_to_which_another_has_rolled_back(switched):
    before = switched.read("articles")
    with asleep(switched, "embedshift.steps.retire.check_unused", "retire", "--yes", call=2) as running:
        switched.step("rollback")
        code, err = woken(running)
    assert code == 4, err
    assert "articles is live" in err
    assert switched.alias.target.table == "articles"
    assert switched.read("articles") == before
    assert switched.store.index_state(switched.alias.target.index).status == "serving"
    assert switched.migration.state == "rolled_back"


def test_nobody_goes_back_to_a_table_that_a_sleeping_retire_is_about_to_drop(switched):
    with asleep(switched, "embedshift.catalog.guard.mark_dropped", "retire", "--yes") as running:
        with pytest.raises(StateError, match=r"rollback may not run: migration .* is retiring: run embedshift retire"):
            switched.step("rollback")
        code, err = woken(running)
    assert code == 0, err
    assert switched.migration.state == "retired"
    assert switched.alias.target.table == "articles_v2"


@pytest.mark.parametrize("where", ["steps.cutover.move_alias", "catalog.alias.use_table"])
def test_a_cutover_that_slept_before_its_move_does_not_move_onto_a_dropped_table(loaded, where):
    """Also between its last look at the alias and the move itself."""
    loaded.step("validate")
    with asleep(loaded, f"embedshift.{where}", "cutover") as running:
        assert loaded.migration.state == "switching"
        loaded.step("rollback")
        loaded.step("abort")
        code, err = woken(running)
    assert code == 4, err
    assert loaded.alias.target.table == "articles"
    assert not loaded.store.exists("articles_v2")
    assert loaded.moves == [("created", "articles")]


def test_a_cutover_that_slept_does_not_move_after_a_validation_of_another_has_failed(loaded):
    loaded.step("validate")
    with asleep(loaded, "embedshift.catalog.alias.use_table", "cutover") as running:
        loaded.step("rollback")  # the alias has not moved yet: this only takes the state back
        loaded.delete("articles_v2", {"id": "a003"})
        with pytest.raises(CheckFailed, match="missing"):
            loaded.step("validate")
        code, err = woken(running)
    assert code == 4, err
    assert loaded.alias.target.table == "articles"


def test_a_validation_that_slept_is_no_later_proof_than_that_of_another(loaded):
    """It passed, and sleeps before it is recorded; another one fails meanwhile."""
    with asleep(loaded, "embedshift.steps.validate.write_validation", "validate") as running:
        loaded.delete("articles_v2", {"id": "a003"})
        with pytest.raises(CheckFailed, match="missing"):
            loaded.step("validate")
        code, err = woken(running)
    assert code == 4, err
    proof = last_validation(loaded.store, loaded.migration.id)
    assert proof is not None
    assert proof.passed is False
    assert loaded.migration.state == "synced"


def test_a_prepare_that_slept_leaves_no_table_under_the_name_of_one_that_was_dropped(new_world):
    world = new_world()
    quick = {"probes": 5, "reembed_sample": 5, "latency_searches": 0}
    world.with_settings(cutover={"lease": f"{LEASE_S}s"}, validation=quick)
    world.create_source(some_articles(20))
    with asleep(world, "embedshift.stores.embedded.schema.Schema.create", "prepare") as running:
        world.step("abort")
        code, err = woken(running)
    assert code == 4, err
    assert not world.store.exists("articles_v2")
    assert world.migration.state == "aborted"


def test_an_abort_that_slept_does_not_drop_a_table_that_has_become_live(loaded):
    loaded.step("validate")
    with asleep(loaded, "embedshift.steps.abort.drop_table", "abort", "--yes") as running:
        assert loaded.migration.state == "aborting"
        with pytest.raises(StateError, match="cutover may not run"):
            loaded.step("cutover")
        code, err = woken(running)
    assert code == 0, err
    assert loaded.alias.target.table == "articles"
    assert loaded.migration.state == "aborted"


@pytest.mark.parametrize("pause_s", [0.0, 0.3, 0.8])
def test_tasks_of_a_rollback_that_slept_take_no_row_from_the_table_that_is_live_again(switched, pause_s):
    """The whole group sleeps: driver, JVM and workers. Meanwhile another run ends the rollback, and the target goes."""
    for number in range(10):
        switched.delete("articles_v2", {"id": f"a{number:03}"}, at_us=now_us())
    running = switched.start("rollback")
    with ended(running):
        eventually(lambda: switched.migration.state == "rolling_back")
        time.sleep(pause_s)
        stop_all(running, switched)
        if running.poll() is None:
            time.sleep(LEASE_S + 0.5)
            switched.step("rollback")
            row = {"id": "later", "title": ("Salt", now_us()), "content": ("keeps bread", now_us())}
            switched.write("articles", *switched.embedded(switched.old_model(), row))
            before = switched.read("articles")
            assert len(before) == 21
            switched.step("abort")
        code, err = woken(running)
    assert switched.alias.target.table == "articles"
    assert code in (0, 1, 3, 4), err
    assert "Traceback" not in err
    if switched.migration.state == "aborted":
        assert switched.read("articles") == before


def test_a_sync_that_slept_writes_and_deletes_nothing_in_a_table_that_has_become_live(loaded):
    for number in range(10):
        loaded.delete("articles", {"id": f"a{number:03}"}, at_us=now_us())
    running = loaded.start("sync")
    with ended(running):
        eventually(lambda: loaded.migration.facts.sync_pass_open)
        stop_all(running, loaded)
        time.sleep(LEASE_S + 0.5)
        loaded.steps("sync", "validate", "cutover")
        # In the live table, by somebody who knows no alias.
        loaded.delete("articles_v2", {"id": "a020"}, at_us=now_us())
        row = {"id": "later", "title": ("Salt", now_us()), "content": ("keeps bread", now_us())}
        loaded.write("articles_v2", *loaded.embedded(loaded.migration.target.model, row))
        before = loaded.read("articles_v2")
        code, err = woken(running)
    assert code == 4, err
    assert loaded.read("articles_v2") == before
