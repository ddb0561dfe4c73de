"""Sockets and files of a run: no other user of the machine reaches them, and nothing of them is left."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from embedshift.spark.private_directory import PREFIX
from tests.processes import alive, descendants
from tests.world import DEADLINE_S, ROOT, some_articles

ROWS = some_articles(1000)
#: As root of a container does it: another user, but of this user's group.
_CONNECT = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(65534)
socket.socket(socket.AF_UNIX).connect(sys.argv[1])
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for temporary files that everybody may enter, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def world(new_world, old_model):
    """Its migration copies vectors: what a run leaves behind does not depend on a model."""
    made = new_world((old_model, None), spark={"master": "local[2]"})
    made.create_source(made.embedded(made.old_model(), *ROWS))
    made.step("prepare")
    return made


def _started(world, temporary, *options):
    """A load that runs without a umask, with a directory for temporary files of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "embedshift", "load", *options, "--config", str(world.config)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        umask=0,
        start_new_session=True,
    )


def _sockets_of(process: int) -> set[str]:
    """The paths of the Unix sockets of a process and its descendants."""
    links = set()
    for each in {process, *descendants(process)}:
        with suppress(OSError):
            for file in Path(f"/proc/{each}/fd").iterdir():
                with suppress(OSError):
                    links.add(str(file.readlink()))
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {parts[7] for parts in lines if len(parts) > 7 and parts[7][0] == "/" and f"socket:[{parts[6]}]" in links}


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="only Linux lists its sockets there")
def test_no_other_user_reaches_a_socket_or_a_file_and_nothing_is_left(world, temporary):
    running = _started(world, temporary)
    sockets: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    try:
        while running.poll() is None and len(sockets) < 2:  # the accumulators', and the daemon's
            assert time.monotonic() < deadline
            sockets = _sockets_of(running.pid)
            time.sleep(0.02)
        assert len(sockets) >= 2
        for each in sockets:
            directory = Path(each).parent
            assert directory.parent == temporary
            assert directory.name.startswith(PREFIX)
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            _assert_unreachable(each)
        # Spark's own files are in there too.
        assert [path.name for path in temporary.iterdir()] == [directory.name]
        out, err = running.communicate(timeout=DEADLINE_S)
        assert (running.returncode, err) == (0, ""), out
    finally:
        running.kill()
        running.communicate()
    assert list(temporary.iterdir()) == []


def _assert_unreachable(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(path)  # for us it is there
    if os.getuid() != 0:
        return  # nobody can become another user
    command = [sys.executable, "-c", _CONNECT, path, str(os.getgid())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "PermissionError" in done.stderr


def test_a_killed_run_leaves_a_directory_that_the_next_one_removes(world, temporary):
    running = _started(world, temporary)
    deadline = time.monotonic() + DEADLINE_S
    while not list(temporary.glob(f"{PREFIX}*/*.sock")) and not list(temporary.glob(f"{PREFIX}*/.*.sock")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = descendants(running.pid)
    running.kill()
    running.communicate()
    left = list(temporary.iterdir())
    assert len(left) == 1
    while alive(children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = _started(world, temporary)
    _, err = again.communicate(timeout=DEADLINE_S)
    assert (again.returncode, err) == (0, "")
    assert list(temporary.iterdir()) == []


def test_where_a_path_is_too_long_for_a_socket_the_loopback_interface_is_used(world, temporary):
    deep = temporary / ("x" * 100)
    deep.mkdir()
    running = _started(world, deep)
    seen: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    while running.poll() is None:
        assert time.monotonic() < deadline
        seen |= _sockets_of(running.pid)
        time.sleep(0.02)
    _, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    assert seen == set()
