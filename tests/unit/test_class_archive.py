"""The archive of Spark's classes: used where there is one, and no reason for a word where it does not fit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embedshift.spark.class_archive import archive, archive_options
from tests.processes import command, descendants


def test_a_local_context_uses_the_archive_of_its_environment(spark) -> None:
    # It belongs to the jars under the very path at which it was made.
    if not archive().is_file() or archive().resolve() != archive():
        pytest.skip("this environment was made without one, or is reached by another path")
    jvm = next(each for each in descendants(os.getpid()) if "SparkSubmit" in command(each))
    assert str(archive()) in Path(f"/proc/{jvm}/maps").read_text("utf-8")


def test_without_an_archive_there_is_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert archive_options() == ()


def test_an_archive_that_does_not_fit_is_ignored_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "an environment"))
    archive().parent.mkdir(parents=True)
    archive().write_bytes(b"of another Java" * 1000)
    java = shutil.which("java")
    assert java is not None
    options = [each.replace('"', "") for each in archive_options()]
    done = subprocess.run([java, *options, "-version"], capture_output=True, text=True, check=True)
    # The last line of the version says "sharing" where an archive is used, Java's own included.
    plain = subprocess.run([java, "-Xshare:off", "-version"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
