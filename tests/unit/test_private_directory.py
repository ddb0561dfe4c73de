"""A run's own directory: nobody else can enter it, and it is swept when its run is dead, and not before."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedshift.spark.private_directory import PREFIX, fits_sockets, is_private, private_directory

_HOLDER = """
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from embedshift.spark.private_directory import private_directory
with private_directory(Path(sys.argv[1])) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def _holder(base):
    """A process that has a directory until its input ends."""
    command = [sys.executable, "-c", _HOLDER, str(base)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return started, Path(started.stdout.readline().strip())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_this_user_can_enter_it_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with private_directory(tmp_path) as path:
            assert stat.S_IMODE(path.lstat().st_mode) == 0o700
            assert is_private(path)
    finally:
        os.umask(before)
    assert not path.exists()


def test_it_is_removed_after_an_error(tmp_path):
    def fail():
        with private_directory(tmp_path) as path:
            (path / "deep").mkdir()
            (path / "deep" / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_start_sweeps_what_a_killed_run_has_left_and_nothing_of_a_living_one(tmp_path):
    dead, left = _holder(tmp_path)
    living, kept = _holder(tmp_path)
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait(30)
        assert left.is_dir()
        with private_directory(tmp_path) as own:
            assert sorted(tmp_path.iterdir()) == sorted([own, kept])
        assert kept.is_dir()
        living.communicate(timeout=30)
        assert list(tmp_path.iterdir()) == []
    finally:
        for each in (dead, living):
            each.kill()
            each.communicate()


def test_the_lock_of_a_stopped_run_is_still_held(tmp_path):
    sleeping, kept = _holder(tmp_path)
    try:
        sleeping.send_signal(signal.SIGSTOP)
        with private_directory(tmp_path):
            assert kept.is_dir()
    finally:
        sleeping.kill()
        sleeping.communicate()


def test_what_only_looks_like_one_is_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    with private_directory(tmp_path):
        pass
    assert (elsewhere / "lock").exists()


def test_what_was_left_between_two_steps_of_making_or_removing_it_is_swept(tmp_path):
    (tmp_path / f"{PREFIX}unlocked" / "deep").mkdir(parents=True)
    with private_directory(tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]


def test_starts_at_once_take_nothing_from_each_other(tmp_path):
    """Each sweeps while the others are between making a directory and locking it."""

    def started(_: int) -> bool:
        with private_directory(tmp_path) as path:
            return (path / "lock").exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(started, range(200)))
    assert list(tmp_path.iterdir()) == []


def test_a_comma_which_spark_takes_for_the_end_of_a_path_is_avoided(tmp_path, monkeypatch):
    base = tmp_path / "a,b"
    base.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    with private_directory() as path:
        assert "," not in str(path)


def test_a_forked_child_that_leaves_the_block_does_not_remove_it(tmp_path):
    entered = private_directory(tmp_path)
    path = entered.__enter__()
    if (child := os.fork()) == 0:
        try:
            entered.__exit__(None, None, None)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert path.is_dir()
    entered.__exit__(None, None, None)
    assert not path.exists()


def test_a_socket_of_pyspark_must_fit(tmp_path):
    assert fits_sockets(Path("/tmp/embedshift-run-abcdefgh"))
    long = Path("/" + "x" * 63)
    assert fits_sockets(long)
    assert not fits_sockets(Path(f"{long}x"))
