"""The terminal has this program's lines and no others, after a success, an error and Ctrl-C, on a busy machine too."""

from __future__ import annotations

import json
import multiprocessing
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.world import DEADLINE_S, ROOT, World, some_articles

#: What foreign lines look like. Where a terminal must be silent, the tests ask for no line at all.
FOREIGN = re.compile(
    r"WARN|Traceback|Exception|java|jdk|scala|org\.apache|py4j|pyspark|BrokenPipe|nanobind|^\s+at |^\s+File \"|Warning"
)
ROWS = some_articles(40)


def _filled(new_world: Callable[..., World], models: Any = None) -> World:
    world = new_world(models, spark={"master": "local[2]"})
    world.create_source(world.embedded(world.old_model(), *ROWS) if models else ROWS)
    world.step("prepare")
    return world


@contextmanager
def _busy() -> Iterator[None]:
    """As many processes as cores that compute without end, beside whatever the machine does."""
    started = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(os.cpu_count() or 1)]
    for each in started:
        each.start()
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.join()


def _compute() -> None:
    while True:
        sum(range(100_000))


def _assert_own(text: str) -> None:
    assert [line for line in text.splitlines() if FOREIGN.search(line)] == []


def test_a_run_that_succeeds_on_a_busy_machine_says_only_what_is_ours(new_world):
    world = _filled(new_world)
    with _busy():
        done = world.command("load")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "40" in done.stdout
    _assert_own(done.stdout)


def test_a_run_that_fails_says_it_in_one_line(new_world):
    world = _filled(new_world)
    world.with_settings(spark={"conf": {"spark.driver.memory": "much"}})
    done = world.command("load")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("embedshift: Spark does not start (")
    assert "much" in line


@pytest.mark.parametrize("seconds", [0.5, 2.5, 5.0])
def test_ctrl_c_says_one_line_whenever_it_comes(new_world, seconds):
    world = _filled(new_world)
    with _busy():
        running = world.start("load")
        time.sleep(seconds)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=DEADLINE_S)
    _assert_own(out)
    if running.returncode == 0:  # it was quicker
        assert err == ""
    else:
        # Python itself ends a process that has not yet come to the program.
        assert running.returncode in (130, -signal.SIGINT)
        # Before Python has read the program's own modules there is nobody who could say it.
        assert err in ("", "embedshift: interrupted: finished work is kept, run the same command again to continue\n")


def test_what_others_say_is_in_the_log_for_debug(new_world, old_model):
    world = _filled(new_world, (old_model, None))
    done = world.command("load", "--set", "log.level=debug", "--set", "log.format=json", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["written"] == 40
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    (incubator,) = [each for each in lines if "incubator" in each.get("line", "")]
    assert (incubator["level"], incubator["message"]) == ("debug", "a library wrote")
    # Workers are other processes; their lines come through the JVM, and come once.
    finished = [each for each in lines if each["message"] == "a range is done"]
    assert finished
    assert len({(each["range"], each["attempt"]) for each in finished}) == len(finished)
    assert {each["process"] for each in finished}.isdisjoint({incubator["process"]})


def test_a_library_that_writes_in_this_process_does_not_reach_the_terminal():
    program = (
        "import os, sys, warnings, logging\n"
        "from embedshift.telemetry.terminal import own_terminal, stderr\n"
        "with own_terminal():\n"
        "    os.write(2, b'from C\\n'); os.write(1, b'from C, too\\n'); os.system('echo from a child')\n"
        "    warnings.warn('a warning'); print('a trace', file=sys.stderr)\n"
        "    print('the result'); print('a line of ours', file=stderr())\n"
        "os.write(2, b'at the end\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("the result\n", "a line of ours\n")


def _within(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run lines of a program that keeps the terminal to itself."""
    head = "import logging, os, sys\nfrom embedshift.telemetry.terminal import own_terminal, stderr\n"
    program = head + "with own_terminal():\n" + "".join(f"    {line}\n" for line in lines)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)


def test_a_line_of_ours_behind_the_unfinished_one_of_another_arrives():
    done = _within(r"os.write(2, b'\r 50%|##'); os.write(2, b'\x1eour warning\n')")
    assert (done.stdout, done.stderr) == ("", "our warning\n")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_command_bears_a_closed_stream(closed):
    command = f"exec {sys.executable} -m embedshift --version {closed}{'<' if closed == 0 else '>'}&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("embedshift ") or closed == 1


def test_a_full_device_is_an_error_of_ours(new_world):
    world = _filled(new_world)
    command = f"exec {sys.executable} -m embedshift status --config {world.config} >/dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("embedshift: ")
    assert "No space left" in line


def test_a_log_that_cannot_be_written_does_not_hold_up_a_run():
    """Each line of a library is a record for the log, and a record that fails must not become a line itself."""
    program = (
        "import os\n"
        "from embedshift.settings import LogSettings\n"
        "from embedshift.telemetry.logs import plan_of, start_log\n"
        "from embedshift.telemetry.terminal import own_terminal\n"
        "with own_terminal():\n"
        "    start_log(plan_of(LogSettings(level='debug')))\n"
        "    for _ in range(5000): os.write(2, b'a line of a library, which is as long as such lines are\\n')\n"
        "    print('the result')\n"
    )
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device, opened for a child
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, check=True, timeout=60)
    assert done.stdout == b"the result\n"


def test_on_a_real_terminal_there_is_nothing_foreign_either(new_world, old_model):
    world = _filled(new_world, (old_model, None))
    control, terminal = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "embedshift", "load", "--config", str(world.config)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # the other side is closed when the command has ended
        while chunk := os.read(control, 4096):
            shown += chunk
    assert running.wait(DEADLINE_S) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).decode()
    assert "40" in text
    _assert_own(text.replace("\r", "\n"))


def test_the_demo_has_the_terminal_to_itself(tmp_path):
    config = tmp_path / "demo.yaml"
    text = (ROOT / "configs" / "demo.yaml").read_text("utf-8")
    config.write_text(text.replace(".embedshift", str(tmp_path / "demo")))
    command = [sys.executable, "scripts/demo.py", "--config", str(config)]
    running = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line)
        if "load" in line:  # Spark has begun to work: its first words are said before
            break
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=DEADLINE_S)
    _assert_own("".join(said) + out + err)
